"""Incidents: clients that look infected, with what shows it; acknowledged, assigned, closed.

Invariant: a button decides on the incident as the person saw it; where somebody else was quicker, nothing is written.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec

from dashboard.client import Refused
from dashboard.components import READY, Choice, Component, Facts, Notice, Table, TimeChart
from dashboard.data import Failure
from dashboard.filters import CUSTOM, interval_of
from dashboard.inputs import Button, TextInput
from dashboard.page import Context, Page, columns, panel, schedule, stack, toolbar
from dashboard.pages.clients import Clients, incident_row
from dashboard.rows import LOG_COLUMNS, chart_of, log_row, top_row
from dashboard.views import person_of
from verdicts.incidents import KEPT_NAMES, STATES, decision, in_words
from verdicts.store import Document

NONE = "No incident. One opens when a client asks for several generated names in an hour that do not exist."
KEEP_S = 0.5  # seconds for which an answer is good
COUNTED_S = 60.0  # after which the log around an incident is counted again, unless its begin or end changed
ROWS = 200  # shown; whoever makes up client addresses may have opened thousands
PAST = 200  # changes of an incident, those by the log among them
MARGIN = 600_000  # milliseconds shown before and after
GONE = {"tier": "", "generated": None, "count": 0, "last": None}  # of a name, from the log
LOOKED_AT = 200  # names, of which an incident keeps fewer
REPLIES = ("NXDOMAIN", "NOERROR")  # a name that had several is told by the last of these: that it exists


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
            empty=NONE,
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
        self.facts = Facts(heading="Incident")
        self.absent = Notice(text="This incident is not in the store.", kind="warn", status=READY, visible=False)
        self.names = Table(
            heading="Names of this incident",
            caption="names of this incident",
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
        self.chart = TimeChart(
            heading="The client's queries around it",
            empty="None in the log any more.",
            tall=140,
            on_message=self._open_interval,
        )
        self.log = Table(
            heading="Evidence",
            caption="records",
            columns=[*LOG_COLUMNS[:3], {"key": "rcode", "label": "Reply", "kind": "word"}, *LOG_COLUMNS[4:]],
            empty="None in the log any more.",
        )
        self.done = Table(
            heading="What was done",
            caption="decisions on this incident",
            empty="Nobody has acknowledged, assigned or closed it yet.",
            columns=[
                {"key": "time", "label": "Time", "kind": "time"},
                {"key": "who", "label": "Who", "kind": "text"},
                {"key": "what", "label": "What", "kind": "text"},
                {"key": "note", "label": "Note", "kind": "text"},
            ],
        )
        self.note = TextInput(label="Note", width=260, max_length=500)
        self.assignee = TextInput(label="Assign to", width=160, value=context.user, max_length=100)
        self.body: dict[str, Any] = {}
        self._seen = 0  # the epoch of the incident that the page shows

    def address(self) -> str:
        return self._address_of(self.id)

    def _address_of(self, id: str) -> str:
        pairs = {"state": self.state} if self.state != "open" else {}
        pairs |= {"id": id} if id else {}
        return self.path + ("?" + urlencode(pairs) if pairs else "")

    def view(self) -> Any:
        states = Choice({state: state for state in (*STATES, "all")}, value=self.state, heading="State")
        states.param.watch(self._state_changed, "value")
        self.detail = stack(
            columns(panel(self.facts, self._buttons()), panel(self.chart, self.done), least=400),
            columns(panel(self.names), panel(self.log), least=600),
            visible=bool(self.id),
        )
        return stack(
            states,
            panel(self.table),
            self.absent,
            self.detail,
        )

    def parts(self) -> Iterable[Component]:
        return (self.table, self.facts, self.names, self.chart, self.log, self.done)

    async def read(self) -> None:
        documents = await self.context.data.incidents(keep=KEEP_S)
        wanted = [
            item
            for item in documents
            if item.key == self.id or self.state in ("all", (item.body or {}).get("state", "open"))
        ]
        wanted.sort(key=lambda item: -int((item.body or {}).get("end") or item.time))
        note = f"the latest {ROWS} of {len(wanted):,}" if len(wanted) > ROWS else ""
        shown = [
            {**incident_row(item.key, item.body or {}, item.time), "href": self._address_of(item.key)}
            for at, item in enumerate(wanted)
            if at < ROWS or item.key == self.id
        ]
        at = next((i for i, row in enumerate(shown) if row["id"] == self.id), -1)
        empty = f"No incident is {self.state}." if documents and self.state != "all" else NONE
        self.table.param.update(rows=shown, selected=at, note=note, empty=empty)
        document = next((item for item in documents if item.key == self.id), None)
        self.absent.visible, self.detail.visible = bool(self.id) and document is None, document is not None
        if document is not None:
            self.body, self._seen = document.body or {}, document.epoch
            await self._read_detail(shown[at])

    async def _read_detail(self, row: dict[str, Any]) -> None:
        data, of = self.context.data, self.id
        start, end = int(row["time"]) - MARGIN, int(row["last"]) + MARGIN
        where = self.filters.where(start=start, end=end, client=row["client"])
        evidence = self.filters.where(start=start, end=end, client=row["client"], label=("malicious",))
        interval = interval_of(start, end)
        answered = (msgspec.structs.replace(evidence, rcode=(rcode,)) for rcode in REPLIES)
        tops, replies, page, cells, past = await asyncio.gather(
            data.top(evidence, "qname", LOOKED_AT, keep=COUNTED_S),
            asyncio.gather(*(data.top(where, "qname", LOOKED_AT, keep=COUNTED_S) for where in answered)),
            data.search(evidence, 60),
            data.cube(where, interval, ("label", "tier"), keep=COUNTED_S),
            data.ask(("done", of, self._seen), lambda store: store.history("incident", of, PAST), COUNTED_S),
        )
        rcodes = {record.qname: record.rcode for record in page.records}
        for rcode, found in zip(REPLIES, replies, strict=True):
            rcodes |= {top.key: rcode for top in found}
        names = self.body.get("names") or []
        asked = {top.key: top_row(top) for top in tops}
        self.names.param.update(
            rows=[{**asked.get(name, GONE | {"key": name}), "rcode": rcodes.get(name, "")} for name in names],
            note=f"the latest {KEPT_NAMES}" if len(names) >= KEPT_NAMES else "",
        )
        self.log.rows = [log_row(record) for record in page.records]
        self.done.rows = done_rows(past)
        self.chart.chart = chart_of(start, end, interval, cells)
        self.facts.facts = [
            {"label": "Client", "value": row["client"], "kind": "client"},
            {"label": "State", "value": row["state"], "kind": "state"},
            {"label": "Assigned to", "value": row["assignee"] or "nobody"},
            {"label": "Begun", "value": row["time"], "kind": "time"},
            {"label": "Last", "value": row["last"], "kind": "time"},
            {"label": "Names", "value": row["distinct"], "kind": "count"},
            {"label": "NXDOMAIN", "value": row["missing"], "kind": "count"},
            *([{"label": "Why", "value": self.body["reason"]}] if self.body.get("reason") else []),
        ]

    def _buttons(self) -> Any:
        make = {"variant": "outlined", "disabled": not self.may("analyst")}
        return toolbar(
            self.note,
            Button(
                label="Acknowledge",
                icon="visibility",
                on_click=lambda _: schedule(lambda: self.update({"state": "acknowledged"})),
                **make,
            ),
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
            self.assignee,
            Button(
                label="Assign",
                icon="person_add",
                on_click=lambda _: schedule(lambda: self.update({"assignee": self.assignee.value.strip()})),
                **make,
            ),
        )

    async def update(self, changes: dict[str, str]) -> None:
        """Change state or assignee of the incident as it is shown."""
        note, seen = self.note.value.strip(), self._seen

        async def refused(error: Refused) -> None:
            if error.code != "conflict":
                self.context.tell(str(error), "error")
                return
            self.context.tell(await self._quicker(seen) or str(error), "warning")
            await self.reload()

        doing = self.context.control.update_incident(self.id, changes, note, seen)
        if await self.act(doing, f"Saved: {in_words(changes)}", refused) is not None:
            self.note.value = ""
            await self.reload()

    async def _quicker(self, seen: int) -> str:
        """Who decided on the incident since it was seen, what, and how long ago."""
        try:
            past = await self.context.data.history("incident", self.id, PAST)
        except Failure:
            return ""
        others = [row for row in done_rows(past) if row["epoch"] > seen]
        if not others:
            return ""
        last, ago = others[0], max(0, int(time.time() * 1000) - others[0]["time"]) // 1000
        spent = f"{ago} s" if ago < 120 else f"{ago // 60} min" if ago < 7200 else f"{ago // 3600} h"
        note = f" ({last['note']})" if last["note"] else ""
        text = f"Not saved: {last['who']} was quicker, {spent} ago: {last['what']}{note}"
        kept = "; your note is kept" if self.note.value.strip() else ""
        return f"{text[:300]}. The page shows the incident as it is now{kept}."

    def _open_interval(self, message: dict[str, Any]) -> None:
        """The client's page of a bar's interval: here the incident says of when things are shown."""
        if message.get("action") == "interval" and self.body.get("client"):
            pairs = {"client": self.body["client"], "range": CUSTOM, "start": message["start"], "end": message["end"]}
            self.context.go(f"{Clients.path}?{urlencode(pairs)}")

    def _choose(self, message: dict[str, Any]) -> None:
        if message.get("action") == "select":
            self.id, self._seen = str(message["row"]["id"]), 0  # until it is read
            self.absent.visible, self.detail.visible = False, True
            self.context.go(self.address())
            schedule(self.reload)

    def _state_changed(self, event: Any) -> None:
        self.state, self.id = event.new, ""
        self.absent.visible = self.detail.visible = False
        self.context.go(self.address())
        schedule(self.reload)


def done_rows(past: Iterable[Document]) -> list[dict[str, Any]]:
    """What people decided on an incident, newest first."""
    return [
        {
            "time": change.time,
            "who": person_of(change.author),
            "what": in_words(said),
            "note": change.note,
            "epoch": change.epoch,
        }
        for change in past
        if (said := decision(change.previous, change.body)) is not None
    ]
