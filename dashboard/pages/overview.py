"""Overview: what the resolvers were asked and what became of it, live."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dashboard.components import READY, Component, Since, Table, Tiles, TimeChart
from dashboard.data import Failure
from dashboard.filters import before, interval_of
from dashboard.page import Context, Page, columns, panel, stack
from dashboard.rows import LOG_COLUMNS, chart_of, log_row, top_row
from dashboard.visit import news
from dashboard.widgets import range_bar
from verdicts.store import Cell

LATEST = 14
NAMES = 10
COUNTED = ("label", "tier", "enforced")
TILES = (  # label, tier and link of each of `_Figures`
    ("Queries", "plain", "/queries"),
    ("Judged", "benign", ""),
    ("Blocked", "block", "/queries?enforced=yes&tier=block"),
    ("Would block", "block", "/enforcement"),
    ("Alerted", "alert", "/queries?tier=alert"),
    ("Unknown", "unknown", "/queries?label=unknown"),
    ("Discarded", "none", "/health"),
)


class Overview(Page):
    """Counts over time by tier, the latest records, the malicious names asked most."""

    path = "/"
    title = "Overview"
    beat_seconds = 1

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.tiles = Tiles()
        self.since = Since(since=context.since, visible=bool(context.since))
        self.chart = TimeChart(heading="Queries by tier", empty="No queries in this range.", on_message=self.zoom)
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
            columns(panel(self.latest), panel(self.names), least=460, shares=(9, 2)),
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
        start, end = before(where)
        counts, then, page, names, discarded, discarded_then = await asyncio.gather(
            data.cube(where, interval, COUNTED),
            data.totals(self.filters.where(start=start, end=end), *COUNTED, keep=30),
            data.search(where, LATEST),
            data.top(self.filters.where(label=("malicious",)), "qname", NAMES),
            data.discarded(where.start, where.end),
            data.discarded(start, end, keep=30),
        )
        self.chart.chart = chart_of(where.start, where.end, interval, counts)
        self.latest.rows = [log_row(record) for record in page.records]
        self.names.rows = [top_row(top) for top in names]
        figures = _figures(counts, discarded), _figures(then, discarded_then)
        self.tiles.tiles = _tiles(*figures, self.filters.range_query())


class _Figures(NamedTuple):
    """Queries of a period by what became of them."""

    total: int
    judged: int
    blocked: int
    would_block: int
    alerted: int
    unknown: int
    discarded: int


def _figures(counts: list[Cell], discarded: int) -> _Figures:
    """From counts by label, tier and whether the action reached the client."""

    def queries(wanted: Callable[[str, str, str], bool]) -> int:
        return sum(cell.count for cell in counts if wanted(*cell.keys))

    return _Figures(
        total=queries(lambda label, tier, enforced: True),
        judged=queries(lambda label, tier, enforced: label != "unknown"),
        blocked=queries(lambda label, tier, enforced: tier == "block" and enforced == "true"),
        would_block=queries(lambda label, tier, enforced: tier == "block" and enforced != "true"),
        alerted=queries(lambda label, tier, enforced: tier == "alert"),
        unknown=queries(lambda label, tier, enforced: label == "unknown"),
        discarded=discarded,
    )


def _tiles(now: _Figures, then: _Figures, range_query: str) -> list[dict[str, Any]]:
    def to(href: str) -> str:
        """With the range that was counted, so that the page shows as many."""
        return href and f"{href}{'&' if '?' in href else '?'}{range_query}"

    return [
        {"label": label, "value": value, "before": before, "tier": tier, "href": to(href)}
        for (label, tier, href), value, before in zip(TILES, now, then, strict=True)
    ]
