"""The query log: filtered, counted and paged in the store, live until paused, exported as it is filtered."""

import math
import time
from collections.abc import Iterable
from typing import Any

from dashboard.components import LOADING, Component, Exports, Table
from dashboard.data import Data, Failure
from dashboard.decision import Decision
from dashboard.export import LIMIT
from dashboard.filters import FIELDS, LISTS
from dashboard.inputs import Button, Switch
from dashboard.page import Context, Page, panel, schedule, stack, toolbar
from dashboard.rows import LOG_COLUMNS, log_row
from dashboard.widgets import choice, range_bar, score, text
from verdicts.observations import ACTIONS, LABELS, SOURCES, TIERS
from verdicts.store import Filter

ROWS = 50
COUNT_S = 10.0  # seconds from one count to the next
LOOKED_AT = 1_000  # records, where to count all would be to read all
COLUMNS = [
    *LOG_COLUMNS[:3],
    {"key": "rcode", "label": "Reply", "kind": "word"},
    LOG_COLUMNS[3],
    {"key": "resolver", "label": "Resolver", "kind": "word"},
    LOG_COLUMNS[4],
    {"key": "score", "label": "Score", "kind": "sure"},
    LOG_COLUMNS[5],
    {"key": "source", "label": "Decided by", "kind": "word"},
    LOG_COLUMNS[6],
]
# Filters that links set (a figure of the overview, an address) and that have no input of their own.
HIDDEN = {
    "registered": "Domain",
    "qtype": "Type",
    "rcode": "Reply",
    "model": "Model",
    "reason": "No verdict",
    "enforced": "Enforced",
}
USUAL: dict[str, Any] = {name: [] if name in LISTS else "" for name in HIDDEN}


class Queries(Page):
    """Every record that the filters leave, newest first."""

    path = "/queries"
    title = "Queries"
    beat_seconds = 1
    taken = FIELDS

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.cursors: list[str | None] = [None]  # of the pages up to this one
        self.following: str | None = None
        self._counted: tuple[str, float] = "", 0.0  # the filters whose count is shown, and when it is put again
        self.decision = Decision(self)
        actions = [
            {"id": "allow", "label": "Allow", "style": "good"},
            {"id": "block", "label": "Block", "style": "danger"},
        ]
        self.table = Table(
            columns=COLUMNS,
            caption="query log",
            empty="No query matches these filters.",
            on_message=self._row,
            actions=actions if self.may("analyst") else [],
        )
        self.live = Switch(label="Live", value=True)
        self.live.param.watch(self._live_changed, "value")
        self.newer = Button(label="Newer", icon="chevron_left", variant="outlined", on_click=self._newer, disabled=True)
        self.older = Button(
            label="Older",
            end_icon="chevron_right",
            variant="outlined",
            on_click=self._older,
            disabled=True,
        )
        self.exports = Exports()
        self.narrowed = toolbar(*(self._without(name) for name in HIDDEN), gap=8)

    def view(self) -> Any:
        f = self.filters
        return stack(
            range_bar(f, self.live, self.exports),
            toolbar(
                text(f, "qname", "Name, .suffix or wild*card", width=290),
                text(f, "client", "Client or prefix", width=170),
                choice(f, "tier", "Tier", list(TIERS)),
                choice(f, "label", "Label", list(LABELS)),
                choice(f, "action", "Action", list(ACTIONS)),
                choice(f, "source", "Decided by", list(SOURCES)),
                self._resolvers(),
                score(f, "min_score", "Score from", self.context.tell),
                score(f, "max_score", "Score to", self.context.tell),
                gap=10,
            ),
            self.narrowed,
            self.decision.force.notice,
            panel(self.table),
            toolbar(self.newer, self.older),
            self.decision.place,
        )

    def parts(self) -> Iterable[Component]:
        return (self.table,)

    async def read(self) -> None:
        where = self.filters.where()
        page = await self.context.data.search(where, ROWS, self.cursors[-1])
        self.table.rows = [log_row(record) for record in page.records]
        self.following = page.cursor
        self.newer.disabled = len(self.cursors) == 1
        self.older.disabled = page.cursor is None
        query = self.filters.query()
        files = [[f"/export.{kind}?{query}", kind.upper()] for kind in ("csv", "json")]
        self.exports.param.update(files=files, note=f"newest {LIMIT:,} at most")
        schedule(lambda: self.count(where))

    async def count(self, where: Filter) -> None:
        """Show how many queries the filters leave: the rows do not wait for that, and it is not asked at each beat."""
        filters, again = self.filters.query(), self._counted[1]
        if filters != self._counted[0]:
            self.table.note, again = "", 0.0
        if time.monotonic() < again:
            return
        self._counted = filters, math.inf
        try:
            said = await total(self.context.data, where)
        except Failure:
            said = ""
        if self._counted[0] == filters:  # nobody has asked for others meanwhile
            self.table.note, self._counted = said, (filters, time.monotonic() + COUNT_S)

    async def start(self) -> None:
        await super().start()
        end = self.filters.span()[1]
        try:
            tops = await self.context.data.top(Filter(end - 86_400_000, end), "resolver", 50, keep=60)
        except Failure:
            return  # the table tells
        self._resolver_choice.options = sorted({*(top.key for top in tops), *self.filters.resolver})

    async def beat(self) -> None:
        if self.failed or (self.live.value and len(self.cursors) == 1):
            await super().beat()

    def _resolvers(self) -> Any:
        self._resolver_choice = choice(self.filters, "resolver", "Resolver", list(self.filters.resolver))
        return self._resolver_choice

    def _without(self, name: str) -> Button:
        """Shows a filter that links set and no input does, and takes it away."""
        button = Button(
            label="", end_icon="close", variant="outlined", on_click=lambda _: setattr(self.filters, name, USUAL[name])
        )

        def show(*_: Any) -> None:
            value = getattr(self.filters, name)
            text = ", ".join(value) if isinstance(value, list) else value
            button.param.update(label=f"{HIDDEN[name]}: {text}"[:80], visible=bool(value))

        self.filters.param.watch(show, name)
        show()
        return button

    def _filters_changed(self, *changes: Any) -> None:
        self.cursors = [None]
        super()._filters_changed(*changes)

    def _older(self, _: Any) -> None:
        if self.following is not None:
            self.cursors.append(self.following)
            self.live.value = False
            self._turn()

    def _newer(self, _: Any) -> None:
        if len(self.cursors) > 1:
            self.cursors.pop()
            self._turn()

    def _live_changed(self, event: Any) -> None:
        if event.new and len(self.cursors) > 1:  # what comes now comes on the first page
            self.cursors = [None]
            self._turn()

    def _turn(self) -> None:
        self.show(LOADING)
        schedule(self.reload)

    def _row(self, message: dict[str, Any]) -> None:
        if message.get("action") in ("allow", "block"):
            self.decision.ask([str(message["row"]["qname"])], "benign" if message["action"] == "allow" else "blocklist")


async def total(data: Data, where: Filter) -> str:
    """How many queries match, for a person; of what no roll-up and no index tells, how many at least."""
    many = where.name.startswith(".") or "*" in where.name or "/" in where.client
    if many or where.min_score is not None or where.max_score is not None:
        page = await data.search(where, LOOKED_AT, keep=COUNT_S)
        count, least = sum(record.count for record in page.records), "at least " if page.cursor else ""
    else:
        count, least = sum(cell.count for cell in await data.totals(where, keep=COUNT_S)), ""
    return f"{least}{count:,} {'query' if count == 1 else 'queries'}"
