"""The history of a name: how often, from whom, judged how by which model, answered how, and what lies beside it."""

import asyncio
from collections.abc import Iterable
from typing import Any

from dashboard.components import Handler, Table, TimeChart
from dashboard.data import Data
from dashboard.filters import interval_of
from dashboard.page import columns, panel
from dashboard.rows import LOG_COLUMNS, Row, chart_of, counts_of, log_row, share_rows, shown_tier, top_row
from verdicts.records import Record
from verdicts.store import Cell, Filter, Top

LATEST = 20
QUERIES = {"key": "count", "label": "Queries", "kind": "bar"}


class History:
    """Chart, clients, verdicts by model, replies, siblings and latest records; no more than shows them."""

    def __init__(self, on_interval: Handler) -> None:
        self.chart = TimeChart(heading="Queries", empty="No queries in this range.", tall=150, on_message=on_interval)
        self.clients = Table(
            heading="Clients",
            empty="None.",
            caption="clients that asked",
            columns=[
                {"key": "key", "label": "Client", "kind": "client"},
                QUERIES,
                {"key": "last", "label": "Last", "kind": "ago"},
            ],
        )
        self.models = Table(
            heading="Verdicts by model",
            empty="None.",
            caption="verdicts by model version",
            columns=[
                {"key": "key", "label": "Model", "kind": "text"},
                {"key": "tier", "label": "Tier", "kind": "tier"},
                QUERIES,
            ],
        )
        self.replies = Table(
            heading="Replies",
            empty="None.",
            caption="response codes",
            columns=[{"key": "key", "label": "Code", "kind": "text"}, QUERIES],
        )
        self.siblings = Table(
            heading="Siblings",
            empty="None.",
            caption="names under the registered domain",
            columns=[
                {"key": "key", "label": "Name", "kind": "name"},
                {"key": "tier", "label": "Tier", "kind": "tier"},
                QUERIES,
                {"key": "clients", "label": "Clients", "kind": "count"},
            ],
        )
        self.log = Table(
            heading="Latest queries", empty="None in this range.", caption="latest queries", columns=LOG_COLUMNS
        )
        self.parts = self.chart, self.clients, self.models, self.replies, self.siblings, self.log

    def view(self) -> tuple[Any, ...]:
        """Rows of a page."""
        return (
            panel(self.chart),
            columns(
                panel(self.clients),
                panel(self.models, self.replies),
                panel(self.siblings),
                least=330,
            ),
            panel(self.log),
        )

    async def read(self, data: Data, where: Filter, siblings: Filter, name: str) -> Record | None:
        """Read all of it; the latest record. `siblings` says where the others lie: nowhere without a domain."""
        interval = interval_of(where.start, where.end)
        counts, answers, page, clients, beside = await asyncio.gather(
            data.cube(where, interval, ("label", "tier")),
            data.totals(where, "rcode", "model", "label", "tier"),
            data.search(where, LATEST),
            data.top(where, "client", 10),
            data.top(siblings, "qname", 12) if siblings.registered else _none(),
        )
        self.chart.chart = chart_of(where.start, where.end, interval, counts)
        self.log.rows = [log_row(record) for record in page.records]
        self.clients.rows = [top_row(top) for top in clients]
        self.models.rows = by_model(answers)
        self.replies.rows = share_rows(counts_of(answers))
        if siblings.registered:
            self.siblings.param.update(
                rows=[top_row(top) for top in beside if top.key != name], note=f"under {siblings.registered}"
            )
        return page.records[0] if page.records else None


def by_model(answers: Iterable[Cell]) -> list[Row]:
    """Queries by model version and tier as pages show it, most first; from counts by response code, model, label and
    tier."""
    counts: dict[tuple[str, str], int] = {}
    for cell in answers:
        _, model, label, tier = cell.keys
        key = model, shown_tier(label, tier)
        counts[key] = counts.get(key, 0) + cell.count
    rows = [{"key": model or "(no model)", "tier": tier, "count": count} for (model, tier), count in counts.items()]
    return sorted(rows, key=lambda row: -row["count"])


async def _none() -> list[Top]:
    return []
