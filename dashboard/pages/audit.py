"""Audit: who changed what, and the way back."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from dashboard.components import LOADING, Choice, Component, Table
from dashboard.decision import InForce
from dashboard.inputs import Button
from dashboard.page import Context, Page, panel, schedule, stack
from verdicts.store import Document

ROWS = 60
KINDS = {
    "all": "",
    "lists": "list",
    "policy": "policy",
    "models": "model",
    "vetting": "vetting",
    "labels": "label",
    "incidents": "incident",
    "tokens": "token",
}
TIMES = frozenset({"time", "start", "end", "first", "last", "expires", "begun", "created"})  # Unix milliseconds
BESIDE = frozenset({"author", "note"})  # columns of their own
MANY = 4  # names of an incident: beyond these their number
NEVER_UNDONE = frozenset({"token"})  # a revoked token stays revoked


class Audit(Page):
    """The history of every document, newest first; `?kind=` shows one kind."""

    path = "/audit"
    title = "Audit"

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.kind = query.get("kind", "") if query.get("kind", "") in KINDS.values() else ""
        self.table = Table(
            caption="changes",
            empty="Nobody has changed anything yet.",
            on_message=self._row,
            actions=[{"id": "undo", "label": "Undo", "when": "undoable"}] if self.may("analyst") else [],
            columns=[
                {"key": "time", "label": "Time", "kind": "time"},
                {"key": "author", "label": "Who", "kind": "text"},
                {"key": "kind", "label": "What", "kind": "word"},
                {"key": "key", "label": "Which", "kind": "text"},
                {"key": "change", "label": "Change", "kind": "text"},
                {"key": "note", "label": "Why", "kind": "text"},
            ],
        )
        self.force = InForce(context)
        self.before: int | None = None
        self.older = Button(label="Older", variant="outlined", on_click=lambda _: schedule(self._older))

    def address(self) -> str:
        return self.path + (f"?kind={self.kind}" if self.kind else "")

    def view(self) -> Any:
        kinds = Choice({kind: shown for shown, kind in KINDS.items()}, value=self.kind, heading="Kind")
        kinds.param.watch(self._kind_changed, "value")
        return stack(
            kinds,
            self.force.notice,
            panel(self.table),
            self.older,
        )

    def parts(self) -> Iterable[Component]:
        return (self.table,)

    async def read(self) -> None:
        changes = await self.context.data.history(self.kind, "", ROWS, self.before)
        self.table.rows = [change_row(change) for change in changes]
        self.older.disabled = len(changes) < ROWS
        self._oldest = changes[-1] if changes else None

    async def _older(self) -> None:
        if self._oldest is not None:
            self.before = self._oldest.time
            await self.reload()

    def _kind_changed(self, event: Any) -> None:
        self.kind, self.before = event.new, None
        self.show(LOADING)
        self.context.go(self.address())
        schedule(self.reload)

    def _row(self, message: dict[str, Any]) -> None:
        if message.get("action") == "undo":
            row = message["row"]
            schedule(lambda: self.undo(row["kind"], row["key"], int(row["epoch"]), int(row["time"])))

    async def undo(self, kind: str, key: str, epoch: int, time: int) -> None:
        """Write back what the change replaced."""
        reply = await self.act(self.context.control.undo(kind, key, epoch, time), f"Undone: {kind} {key}"[:120])
        if reply is not None:
            await self.reload()
            await self.force.follow(int(reply.get("epoch", 0)))


def change_row(change: Document) -> dict[str, Any]:
    """One commit as a row."""
    return {
        "time": change.time,
        "author": change.author,
        "kind": change.kind,
        "key": change.key,
        "note": change.note,
        "change": difference(change.previous, change.body),
        "epoch": change.epoch,
        "undoable": change.kind not in NEVER_UNDONE,
    }


def difference(old: dict[str, Any] | None, new: dict[str, Any] | None) -> str:
    """What a commit changed, in one line."""
    if new is None:
        return "removed"
    if old is None:
        fields = [
            f"{key}: {_brief(key, value)}"
            for key, value in new.items()
            if key not in BESIDE and value not in (None, "", [], {})
        ]
        return "; ".join(["added", *fields])
    changed = [
        f"{key}: {_brief(key, old.get(key))} \u2192 {_brief(key, value)}"
        for key, value in new.items()
        if old.get(key) != value
    ]
    return "; ".join(changed + [f"{key} removed" for key in old if key not in new]) or "no change"


def _brief(key: str, value: Any) -> str:
    if value is None:
        return "none"
    if key in TIMES and isinstance(value, int):
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(value, list) and len(value) > MANY and all(isinstance(item, str) for item in value):
        return f"{len(value)} of them"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else text[:117] + "..."
