"""Incidents: clients that look infected, with what shows it; acknowledged, assigned, closed."""

import asyncio
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from dashboard.components import Choice, Component, Facts, Table, TimeChart
from dashboard.filters import interval_of
from dashboard.inputs import Button, TextInput
from dashboard.page import Context, Page, columns, panel, schedule, stack, toolbar
from dashboard.pages.clients import incident_row
from dashboard.rows import LOG_COLUMNS, chart_of, log_row, top_row

STATES = ("open", "acknowledged", "closed")
MARGIN = 600_000  # milliseconds shown before and after


class Incidents(Page):
    """All incidents of a state, and the one of `?id=`."""

    path = "/incidents"
    title = "Incidents"
    beat_seconds = 5

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.id = query.get("id", "")
        self.state = query.get("state", "") if query.get("state") in ("all", *STATES) else "open"
        self.table = Table(
            caption="incidents",
            empty="No incident. One opens when a client asks for several generated names in an hour that do not exist.",
            on_message=self._choose,
            selectable=True,
            columns=[
                {"key": "time", "label": "Begun", "kind": "time"},
                {"key": "client", "label": "Client", "kind": "client"},
                {"key": "title", "label": "What", "kind": "link"},
                {"key": "missing", "label": "NXDOMAIN", "kind": "count"},
                {"key": "state", "label": "State", "kind": "state"},
                {"key": "assignee", "label": "Assigned to", "kind": "text"},
                {"key": "last", "label": "Last", "kind": "ago"},
            ],
        )
        self.facts = Facts(heading="Incident", empty="This incident is not in the store.")
        self.names = Table(
            heading="Generated names",
            caption="generated names",
            empty="None in the log any more.",
            columns=[
                {"key": "key", "label": "Name", "kind": "name"},
                {"key": "tier", "label": "Tier", "kind": "tier"},
                {"key": "generated", "label": "Machine-made", "kind": "score"},
                {"key": "rcode", "label": "Reply", "kind": "word"},
                {"key": "count", "label": "Queries", "kind": "count"},
                {"key": "last", "label": "Last", "kind": "time"},
            ],
        )
        self.chart = TimeChart(heading="The client's queries around it", empty="None in the log any more.", tall=140)
        self.log = Table(
            heading="Evidence",
            caption="records",
            columns=[*LOG_COLUMNS[:3], {"key": "rcode", "label": "Reply", "kind": "word"}, *LOG_COLUMNS[4:]],
            empty="None in the log any more.",
        )
        self.note = TextInput(label="Note", width=260, max_length=500)
        self.assignee = TextInput(label="Assign to", width=160, value=context.user, max_length=100)
        self.body: dict[str, Any] = {}

    def address(self) -> str:
        pairs = {"id": self.id} if self.id else {"state": self.state} if self.state != "open" else {}
        return self.path + ("?" + urlencode(pairs) if pairs else "")

    def view(self) -> Any:
        states = Choice({state: state for state in (*STATES, "all")}, value=self.state, heading="State")
        states.param.watch(self._state_changed, "value")
        self.detail = stack(
            columns(panel(self.facts, self._buttons()), panel(self.chart), least=400),
            columns(panel(self.names), panel(self.log), least=440),
            visible=bool(self.id),
        )
        return stack(
            states,
            panel(self.table),
            self.detail,
        )

    def parts(self) -> Iterable[Component]:
        return (self.table, self.facts, self.names, self.chart, self.log)

    async def read(self) -> None:
        documents = await self.context.data.documents("incident", keep=0.5)
        rows = [incident_row(item.key, item.body or {}, item.time) for item in documents]
        shown = [row for row in rows if self.state == "all" or row["state"] == self.state or row["id"] == self.id]
        shown.sort(key=lambda row: -row["last"])
        at = next((i for i, row in enumerate(shown) if row["id"] == self.id), -1)
        self.table.param.update(rows=shown, selected=at)
        body = next((item.body or {} for item in documents if item.key == self.id), None)
        if body is not None:
            self.body = body
            await self._read_detail(next(row for row in rows if row["id"] == self.id))

    async def _read_detail(self, row: dict[str, Any]) -> None:
        data = self.context.data
        start, end = int(row["time"]) - MARGIN, int(row["last"]) + MARGIN
        where = self.filters.where(start=start, end=end, client=row["client"])
        evidence = self.filters.where(start=start, end=end, client=row["client"], label=("malicious",))
        interval = interval_of(start, end)
        tops, page, cells = await asyncio.gather(
            data.top(evidence, "qname", 60),
            data.search(evidence, 60),
            data.cube(where, interval, ("label", "tier")),
        )
        rcodes = {record.qname: record.rcode for record in reversed(page.records)}
        self.names.rows = [{**top_row(top), "rcode": rcodes.get(top.key, "")} for top in tops]
        self.log.rows = [log_row(record) for record in page.records]
        self.chart.chart = chart_of(start, end, interval, cells)
        self.facts.facts = [
            {"label": "Client", "value": row["client"], "kind": "client"},
            {"label": "State", "value": row["state"], "kind": "state"},
            {"label": "Assigned to", "value": row["assignee"] or "nobody"},
            {"label": "Begun", "value": row["time"], "kind": "time"},
            {"label": "Last", "value": row["last"], "kind": "time"},
            {"label": "Generated names", "value": row["distinct"], "kind": "count"},
            {"label": "NXDOMAIN", "value": row["missing"], "kind": "count"},
            *([{"label": "Why", "value": self.body["reason"]}] if self.body.get("reason") else []),
        ]

    def _buttons(self) -> Any:
        make = {"variant": "outlined", "disabled": not self.may("analyst")}
        return toolbar(
            Button(
                label="Acknowledge",
                icon="visibility",
                on_click=lambda _: schedule(lambda: self.update({"state": "acknowledged"})),
                **make,
            ),
            self.assignee,
            Button(
                label="Assign",
                icon="person_add",
                on_click=lambda _: schedule(lambda: self.update({"assignee": self.assignee.value.strip()})),
                **make,
            ),
            self.note,
            Button(
                label="Close",
                icon="done_all",
                color="success",
                on_click=lambda _: schedule(lambda: self.update({"state": "closed"})),
                **make,
            ),
            Button(
                label="Reopen",
                on_click=lambda _: schedule(lambda: self.update({"state": "open"})),
                **{**make, "variant": "text"},
            ),
        )

    async def update(self, changes: dict[str, str]) -> None:
        """Change state or assignee."""
        reply = await self.act(self.context.control.update_incident(self.id, changes, self.note.value.strip()), "Saved")
        if reply is not None:
            self.note.value = ""
            await self.reload()

    def _choose(self, message: dict[str, Any]) -> None:
        if message.get("action") == "select":
            self.id = str(message["row"]["id"])
            self.detail.visible = True
            self.context.go(self.address())
            schedule(self.reload)

    def _state_changed(self, event: Any) -> None:
        self.state, self.id = event.new, ""
        self.detail.visible = False
        self.context.go(self.address())
        schedule(self.reload)
