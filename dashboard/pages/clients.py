"""Clients: the busiest and the riskiest; and the page of one."""

import asyncio
import ipaddress
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from dashboard.components import READY, Component, Notice, Table, Tiles, TimeChart
from dashboard.filters import RANGE_FIELDS, before, interval_of
from dashboard.page import Context, Page, columns, panel, stack
from dashboard.rows import LOG_COLUMNS, chart_of, counts_of, log_row, share_rows, top_row
from dashboard.widgets import range_bar, text

INCIDENTS = 12  # shown
CLIENT = {"key": "key", "label": "Client", "kind": "client"}
QUERIES = {"key": "count", "label": "Queries", "kind": "bar"}
LAST = {"key": "last", "label": "Last", "kind": "ago"}
NAME = {"key": "key", "label": "Name", "kind": "name"}
TIER = {"key": "tier", "label": "Tier", "kind": "tier"}


class Clients(Page):
    """All clients, or the one of `?client=`."""

    path = "/clients"
    title = "Clients"
    beat_seconds = 5
    usual_range = "24h"
    taken = (*RANGE_FIELDS, "client")

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.busiest = Table(
            heading="Busiest",
            caption="busiest clients",
            columns=[CLIENT, {**QUERIES, "tier": "none"}, LAST],  # who asks much is not suspect for it
            empty="No queries in this range.",
        )
        self.riskiest = Table(
            heading="Riskiest",
            note="by malicious queries",
            caption="riskiest clients",
            empty="No malicious names were asked for.",
            columns=[
                CLIENT,
                TIER,
                {**QUERIES, "label": "Malicious"},
                {"key": "score", "label": "Highest score", "kind": "score"},
                LAST,
            ],
        )
        self.tiles = Tiles()
        self.chart = TimeChart(
            heading="Queries by tier", empty="No queries in this range.", tall=150, on_message=self.zoom
        )
        self.malicious = Table(
            heading="Malicious names",
            caption="malicious names of this client",
            columns=[NAME, TIER, QUERIES, {"key": "score", "label": "Score", "kind": "sure"}],
            empty="None.",
        )
        self.missing = Table(
            heading="Names that do not exist",
            note="NXDOMAIN",
            caption="names that do not exist",
            columns=[NAME, TIER, QUERIES],
            empty="None.",
        )
        self.replies = Table(
            heading="Replies",
            caption="response codes",
            columns=[{"key": "key", "label": "Code", "kind": "text"}, QUERIES],
            empty="None.",
        )
        self.incidents = Table(
            heading="Incidents",
            caption="incidents of this client",
            empty="None.",
            columns=[
                {"key": "title", "label": "Incident", "kind": "link"},
                {"key": "state", "label": "State", "kind": "state"},
                {"key": "time", "label": "Begun", "kind": "time"},
            ],
        )
        self.log = Table(
            heading="Latest queries", caption="latest queries", columns=LOG_COLUMNS, empty="None in this range."
        )
        self.everyone = stack(columns(panel(self.busiest), panel(self.riskiest)))
        self.subject = Notice(kind="title", status=READY)
        self.one = stack(
            self.subject,
            self.tiles,
            panel(self.chart),
            columns(panel(self.malicious), panel(self.missing), least=360),
            columns(panel(self.incidents), panel(self.replies), least=360),
            panel(self.log),
        )
        self._choose()

    def view(self) -> Any:
        f = self.filters
        return stack(
            range_bar(f, text(f, "client", "Client or prefix")),
            self.everyone,
            self.one,
        )

    @property
    def _single(self) -> bool:
        return bool(self.filters.client.strip())

    def parts(self) -> Iterable[Component]:
        if self._single:
            return self.tiles, self.chart, self.malicious, self.missing, self.incidents, self.replies, self.log
        return self.busiest, self.riskiest

    async def read(self) -> None:
        await (self._read_one() if self._single else self._read_all())

    async def _read_all(self) -> None:
        top = self.context.data.top
        busiest, riskiest = await asyncio.gather(
            top(self.filters.where(), "client", 20), top(self.filters.where(label=("malicious",)), "client", 20)
        )
        self.busiest.rows = [top_row(row) for row in busiest]
        self.riskiest.rows = [top_row(row) for row in riskiest]

    async def _read_one(self) -> None:
        data, where = self.context.data, self.filters.where()
        interval = interval_of(where.start, where.end)
        start, end = before(where)
        cells, now, then, (malicious, missing), page, incidents = await asyncio.gather(
            data.cube(where, interval, ("label", "tier")),
            data.totals(where, "tier", "rcode"),
            data.totals(self.filters.where(start=start, end=end), "tier", "rcode", keep=30),
            asyncio.gather(
                data.top(self.filters.where(label=("malicious",)), "qname", 12),
                data.top(self.filters.where(rcode=("NXDOMAIN",)), "qname", 12),
            ),
            data.search(where, 25),
            data.incidents(keep=2),
        )
        self.chart.chart = chart_of(where.start, where.end, interval, cells)
        queries = "/queries?" + urlencode({"client": self.filters.client.strip()}) + "&" + self.filters.range_query()
        self.log.more = queries
        self.malicious.rows = [top_row(row) for row in malicious]
        self.missing.rows = [top_row(row) for row in missing]
        self.replies.rows = share_rows(counts_of(now, 1))
        self.log.rows = [log_row(record) for record in page.records]
        rows = [
            incident_row(item.key, item.body or {}, item.time)
            for item in incidents
            if within(str((item.body or {}).get("client", "")), where.client)
        ]
        rows.sort(key=lambda row: -row["last"])
        note = f"the latest {INCIDENTS} of {len(rows):,}" if len(rows) > INCIDENTS else ""
        self.incidents.param.update(rows=rows[:INCIDENTS], note=note)
        tiers, tiers_then = counts_of(now), counts_of(then)
        missed, missed_then = (counts_of(cells, 1).get("NXDOMAIN", 0) for cells in (now, then))
        self.tiles.tiles = [
            {"label": label, "value": value, "before": value_then, "tier": tier, "href": queries + only}
            for label, tier, value, value_then, only in (
                ("Queries", "plain", sum(tiers.values()), sum(tiers_then.values()), ""),
                ("Block tier", "block", tiers.get("block", 0), tiers_then.get("block", 0), "&tier=block"),
                ("Alert tier", "alert", tiers.get("alert", 0), tiers_then.get("alert", 0), "&tier=alert"),
                ("NXDOMAIN", "none", missed, missed_then, "&rcode=NXDOMAIN"),
            )
        ]

    def _choose(self) -> None:
        self.everyone.visible, self.one.visible = not self._single, self._single
        self.subject.text = self.filters.client

    def _filters_changed(self, *changes: Any) -> None:
        self._choose()
        super()._filters_changed(*changes)


def within(client: str, wanted: str) -> bool:
    """True where a client is the wanted one, or an address of the wanted prefix."""
    if "/" not in wanted:
        return client == wanted
    try:
        return ipaddress.ip_address(client) in ipaddress.ip_network(wanted)
    except ValueError:
        return False


def incident_row(key: str, body: dict[str, Any], time: int) -> dict[str, Any]:
    """One incident as a row."""
    generated = body.get("names") or []
    many = f"{len(generated)} generated names" if len(generated) != 1 else "1 generated name"
    return {
        "id": key,
        "href": "/incidents?" + urlencode({"id": key}),
        "client": body.get("client", ""),
        "state": body.get("state", "open"),
        "title": f"reaches {body['domain']}" if body.get("domain") else many,
        "reason": body.get("reason", ""),
        "time": body.get("start") or time,
        "last": body.get("end") or time,
        "count": body.get("count", 0),
        "missing": body.get("nxdomain", 0),
        "assignee": body.get("assignee", ""),
        "distinct": len(generated),
    }
