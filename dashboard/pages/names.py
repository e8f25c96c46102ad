"""Names: the malicious and the benign ones asked most, as bars; the uncertain in red and with a sign."""

import asyncio
from collections.abc import Iterable
from typing import Any

from dashboard.components import Component, Table
from dashboard.filters import RANGE_FIELDS
from dashboard.page import Context, Page, columns, panel, stack
from dashboard.rows import top_row
from dashboard.widgets import range_bar, text

LIMIT = 20
COLUMNS = [
    {"key": "key", "label": "Name", "kind": "name"},
    {"key": "count", "label": "Queries", "kind": "bar"},
    {"key": "clients", "label": "Clients", "kind": "count"},
    {"key": "score", "label": "Score", "kind": "sure"},
    {"key": "last", "label": "Last", "kind": "ago"},
]


class Names(Page):
    """Top malicious and top benign names of a range."""

    path = "/names"
    title = "Names"
    beat_seconds = 5
    usual_range = "24h"
    taken = (*RANGE_FIELDS, "client")

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        benign = [{**column, "tier": "benign"} if column["kind"] == "bar" else column for column in COLUMNS]
        self.malicious = Table(
            heading=f"Top {LIMIT} malicious",
            caption="malicious names",
            columns=COLUMNS,
            empty="No malicious names in this range.",
        )
        self.benign = Table(
            heading=f"Top {LIMIT} benign",
            caption="benign names",
            columns=benign,
            empty="No benign names in this range.",
        )

    def view(self) -> Any:
        f = self.filters
        return stack(
            range_bar(f, text(f, "client", "Client or prefix")),
            columns(panel(self.malicious), panel(self.benign)),
        )

    def parts(self) -> Iterable[Component]:
        return self.malicious, self.benign

    async def read(self) -> None:
        top = self.context.data.top
        malicious, benign = await asyncio.gather(
            top(self.filters.where(label=("malicious",)), "qname", LIMIT),
            top(self.filters.where(label=("benign",)), "qname", LIMIT),
        )
        self.malicious.rows = [top_row(row) for row in malicious]
        self.benign.rows = [top_row(row) for row in benign]
