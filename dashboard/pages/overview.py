"""Overview: what the resolvers were asked and what became of it, live."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from dashboard.components import READY, Component, Since, Table, Tiles, TimeChart
from dashboard.data import Failure
from dashboard.filters import before, interval_of
from dashboard.page import Context, Page, columns, panel, stack
from dashboard.rows import LOG_COLUMNS, chart_of, log_row, top_row
from dashboard.visit import news
from dashboard.widgets import range_bar

LATEST = 14
NAMES = 10


class Overview(Page):
    """Counts over time by tier, the latest records, the malicious names asked most."""

    path = "/"
    title = "Overview"
    beat_seconds = 1

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.tiles = Tiles()
        self.since = Since(since=context.since, visible=bool(context.since))
        self.chart = TimeChart(heading="Queries by tier", empty="No queries in this range.", on_message=self._zoom)
        self.latest = Table(
            heading="Latest",
            caption="latest records",
            columns=[column for column in LOG_COLUMNS if column["key"] != "qtype"],
            empty="No queries yet. Point a client at the resolver: what it asks appears here within two seconds.",
        )
        self.names = Table(
            heading="Malicious names",
            caption="malicious names, most asked first",
            empty="No malicious names in this range.",
            columns=[
                {"key": "key", "label": "Name", "kind": "name"},
                {"key": "tier", "label": "Tier", "kind": "tier"},
                {"key": "count", "label": "Queries", "kind": "bar"},
                {"key": "clients", "label": "Clients", "kind": "count"},
                {"key": "score", "label": "Score", "kind": "score"},
            ],
        )

    def view(self) -> Any:
        return stack(
            range_bar(self.filters),
            self.tiles,
            self.since,
            panel(self.chart),
            columns(panel(self.latest), panel(self.names), least=460),
        )

    async def start(self) -> None:
        await asyncio.gather(super().start(), self.read_news())

    async def read_news(self) -> None:
        """Once a visit to the page: what changed since the person was last here."""
        if not self.context.since:
            return
        now = int(time.time() * 1000)
        try:
            items, names = await news(self.context.data, self.context.since, now, self.context.user)
        except Failure:
            return  # the rest of the page tells
        self.since.param.update(items=items, names=names, status=READY)

    def parts(self) -> Iterable[Component]:
        return self.tiles, self.chart, self.latest, self.names

    async def read(self) -> None:
        where = self.filters.where()
        interval = interval_of(where.start, where.end)
        data = self.context.data
        buckets, page, names = await asyncio.gather(
            data.histogram(where, interval),
            data.search(where, LATEST),
            data.top(self.filters.where(label=("malicious",)), "qname", NAMES),
        )
        unknown, tiles = await asyncio.gather(
            data.histogram(self.filters.where(label=("unknown",)), interval), self._figures()
        )
        self.chart.chart = chart_of(where.start, where.end, interval, buckets, unknown)
        self.latest.rows = [log_row(record) for record in page.records]
        self.names.rows = [top_row(top) for top in names]
        self.tiles.tiles = tiles

    async def _figures(self) -> list[dict[str, Any]]:
        where = self.filters.where()
        start, end = before(where)
        data = self.context.data
        now, then, labels, labels_then, enforced, enforced_then = await asyncio.gather(
            data.totals(where),
            data.totals(self.filters.where(start=start, end=end), keep=30),
            data.totals(where, "label"),
            data.totals(self.filters.where(start=start, end=end), "label", keep=30),
            data.totals(self.filters.where(enforced=True)),
            data.totals(self.filters.where(start=start, end=end, enforced=True), keep=30),
        )
        discarded, discarded_then = await asyncio.gather(
            data.discarded(where.start, where.end), data.discarded(start, end, keep=30)
        )
        total, total_then = sum(now.values()), sum(then.values())
        return [
            _tile("Queries", total, total_then, href="/queries"),
            _tile("Judged", total - labels.get("unknown", 0), total_then - labels_then.get("unknown", 0), "benign"),
            _tile(
                "Blocked",
                enforced.get("block", 0),
                enforced_then.get("block", 0),
                "block",
                "/queries?enforced=yes&tier=block",
            ),
            _tile(
                "Would block",
                now.get("block", 0) - enforced.get("block", 0),
                then.get("block", 0) - enforced_then.get("block", 0),
                "block",
                "/enforcement",
            ),
            _tile("Alerted", now.get("alert", 0), then.get("alert", 0), "alert", "/queries?tier=alert"),
            _tile(
                "Unknown", labels.get("unknown", 0), labels_then.get("unknown", 0), "unknown", "/queries?label=unknown"
            ),
            _tile("Discarded", discarded, discarded_then, "none", "/health"),
        ]

    def _zoom(self, message: dict[str, Any]) -> None:
        if message.get("action") == "interval":
            self.filters.param.update(range="custom", start=int(message["start"]), end=int(message["end"]))


def _tile(label: str, value: int, before: int, tier: str = "plain", href: str = "") -> dict[str, Any]:
    return {"label": label, "value": value, "before": before, "tier": tier, "href": href}
