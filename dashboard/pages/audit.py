"""Audit: who changed what, and the way back."""

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dashboard.accounts import Role
from dashboard.components import LOADING, Choice, Component, Table
from dashboard.confirm import Confirm
from dashboard.data import without_evidence
from dashboard.decision import InForce
from dashboard.inputs import Button
from dashboard.page import Context, Page, panel, schedule, stack, toolbar
from dashboard.vetted import SHOWN_LIST
from verdicts.store import Document
from verdicts.undo import may_undo

ROWS = 60  # shown at a time, and whole commits
READ = 1000
OF_ONE = 12  # changes of one commit that stand one by one; the others as their number
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
BESIDE = frozenset({"author", "note", "hash"})  # columns of their own, and a token's, which tells a person nothing
NOTHING, NOTHING_OF_IT = "Nobody has changed anything yet.", "No such change."
MANY = 4  # names of an incident: beyond these their number


class Audit(Page):
    """The history of every document, newest first; `?kind=` shows one kind."""

    path = "/audit"
    title = "Audit"

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.kind = query.get("kind", "") if query.get("kind", "") in KINDS.values() else ""
        self.table = Table(
            caption="changes",
            on_message=self._row,
            actions=[
                {"id": "undo", "label": "Undo", "when": "undoable"},
                {"id": "undo_all", "label": "Undo all of it", "when": "whole"},
            ]
            * self.may("analyst"),
            columns=[
                {"key": "time", "label": "Time", "kind": "time"},
                {"key": "author", "label": "Who", "kind": "text"},
                {"key": "kind", "label": "What", "kind": "word"},
                {"key": "which", "label": "Which", "kind": "text"},
                {"key": "change", "label": "Change", "kind": "change"},
                {"key": "note", "label": "Why", "kind": "text"},
            ],
        )
        self.force, self.confirm = InForce(context), Confirm()
        self.before: int | None = None
        self.newest = Button(
            label="Newest", variant="outlined", disabled=True, on_click=lambda _: schedule(self._newest)
        )
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
            toolbar(self.newest, self.older),
            self.confirm.place,
        )

    def parts(self) -> Iterable[Component]:
        return (self.table,)

    async def read(self) -> None:
        changes = await self.context.data.history(self.kind, "", READ, self.before)
        rows, self._oldest = rows_of(changes, self.context.role, len(changes) == READ)
        self.table.param.update(rows=rows, empty=NOTHING_OF_IT if self.kind or self.before else NOTHING)
        self.newest.disabled = self.before is None
        self.older.disabled = self._oldest is None

    async def _older(self) -> None:
        if self._oldest is not None:
            self.before = self._oldest
            await self.reload()

    async def _newest(self) -> None:
        self.before = None
        await self.reload()

    def _kind_changed(self, event: Any) -> None:
        self.kind, self.before = event.new, None
        self.show(LOADING)
        self.context.go(self.address())
        schedule(self.reload)

    def _row(self, message: dict[str, Any]) -> None:
        row = message.get("row", {})
        if message.get("action") == "undo":
            policy = row["kind"] == "policy"
            undo = functools.partial(self.undo, row["kind"], row["key"], int(row["epoch"]), int(row["time"]))
        elif message.get("action") == "undo_all":
            policy, undo = row["policy"], functools.partial(self.undo_all, int(row["epoch"]), int(row["time"]))
        else:
            return
        if policy:  # a mode for everybody may be among it
            self.confirm.ask("Undo", "Every resolver goes by the policy as it was before this change.", undo)
        else:
            schedule(undo)

    async def undo(self, kind: str, key: str, epoch: int, time: int) -> None:
        """Write back what the change replaced."""
        done = f"Undone: {kind} {which(kind, key)}"[:120]
        reply = await self.act(self.context.control.undo(kind, key, epoch, time), done)
        if reply is not None:
            await self.reload()
            await self.force.follow(int(reply.get("epoch", 0)))

    async def undo_all(self, epoch: int, time: int) -> None:
        """Write back all that a commit replaced; of the kind shown, where one is."""
        reply = await self.act(self.context.control.undo_commit(epoch, time, self.kind), "Undone: all of it")
        if reply is not None:
            await self.reload()
            await self.force.follow(int(reply.get("epoch", 0)))


def rows_of(changes: Sequence[Document], role: Role, cut: bool) -> tuple[list[dict[str, Any]], int | None]:
    """Changes, newest first, as rows of whole commits, about ROWS of them; and the time before which the next ones
    lie, None where there are no more. `cut`: the store has more than these."""
    rows: list[dict[str, Any]] = []
    commits = [list(each) for _, each in itertools.groupby(changes, lambda change: (change.epoch, change.time))]
    for at, commit in enumerate(commits):
        cut_short = cut and at == len(commits) - 1  # it begins the next page, whole or as much as is read at once
        if at and (len(rows) >= ROWS or cut_short) and commit[0].time < commits[at - 1][0].time:
            return rows, commits[at - 1][0].time
        shown = [change_row(change, role) for change in commit[:OF_ONE]]
        undoable = all(may_undo(kind, role) for kind in {change.kind for change in commit})
        shown[0]["whole"] = len(commit) > 1 and undoable
        shown[0]["policy"] = any(change.kind == "policy" for change in commit)
        more = len(commit) - OF_ONE
        if more > 0:
            least = "at least " if cut_short else ""
            rest = f"{least}{more:,} more of the same commit"
            shown.append({**shown[-1], "key": rest, "which": rest, "change": [], "undoable": False, "whole": False})
        rows += shown
    return rows, changes[-1].time if cut else None


def change_row(change: Document, role: Role) -> dict[str, Any]:
    """One change as a row. Of an incident without its evidence, which its page shows."""
    old, new = change.previous, change.body
    if change.kind == "incident":
        old, new = (body and without_evidence(body) for body in (old, new))
    return {
        "time": change.time,
        "author": change.author,
        "kind": change.kind,
        "key": change.key,
        "which": which(change.kind, change.key),
        "note": change.note,
        "change": difference(old, new),
        "epoch": change.epoch,
        "undoable": may_undo(change.kind, role),
    }


def which(kind: str, key: str) -> str:
    """A document's key as pages call it: the list `benign` is the allowlist."""
    of, slash, suffix = key.partition("/")
    return f"{SHOWN_LIST.get(of, of)}{slash}{suffix}" if kind == "list" else key


def difference(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[str | int]:
    """What a commit changed, in one line: texts and, between them, times in Unix milliseconds, which the browser shows
    in the viewer's zone."""
    if new is None:
        return ["removed"]
    if old is None:
        fields = {key: value for key, value in new.items() if key not in BESIDE and value not in (None, "", [], {})}
        return _joined([["added"], *([f"{key}: ", _brief(key, value)] for key, value in fields.items())])
    changed: list[list[str | int]] = [
        [f"{key}: ", _brief(key, old.get(key)), " \u2192 ", _brief(key, value)]
        for key, value in new.items()
        if old.get(key) != value
    ]
    return _joined(changed + [[f"{key} removed"] for key in old if key not in new]) or ["no change"]


def _joined(fields: list[list[str | int]]) -> list[str | int]:
    return [part for at, field in enumerate(fields) for part in (["; "] * bool(at) + field)]


def _brief(key: str, value: Any) -> str | int:
    if value in (None, ""):
        return "none"
    if key in TIMES and isinstance(value, int):
        return value
    if isinstance(value, list) and len(value) > MANY and all(isinstance(item, str) for item in value):
        return f"{len(value)} of them"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 120 else text[:117] + "..."
