"""`/v1/audit`: the history of everything that people decided, and undo."""

from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from serve_app.control_calls import Call, Committed
from serve_app.operations import Number, Operation
from serve_app.wire import WireError
from verdicts import tokens
from verdicts.lists import LIST_KIND, PREVALENCE_KIND
from verdicts.names import shown
from verdicts.store import Document, Store
from verdicts.undo import MOST, NEVER, NotUndone, all_former, former, may_undo

FEW = 5  # names of a part of the prevalence list, which has thousands


class Undo(msgspec.Struct, forbid_unknown_fields=True):
    """The change to take back: that of this document at this epoch and time (Unix milliseconds).

    Without `key` all changes of that commit, of one kind or of every one.
    """

    epoch: Number
    time: Number
    kind: str = ""
    key: str = ""


class Past(msgspec.Struct):
    """Changes of one key or of all, those before a time (Unix milliseconds)."""

    key: str = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    before: Number = 1 << 53


class PastOfKind(Past):
    kind: str = ""


class Changes(TypedDict):
    """Who changed what, newest first."""

    changes: list[Document]


class Undone(Committed):
    """`undone`: how many changes were taken back."""

    undone: int


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/lists/history", "viewer", history_of_lists),
        Operation("GET", "/v1/audit", "viewer", history),
        Operation("POST", "/v1/audit/undo", "analyst", undo),
    ]


async def history_of_lists(call: Call, query: Past) -> Changes:
    """Who changed which entry, newest first."""
    return await _history(call, query, LIST_KIND)


async def history(call: Call, query: PastOfKind) -> Changes:
    """Who changed what, newest first; a token's hash is left out, and of the prevalence list's names all but a few."""
    return await _history(call, query, query.kind)


async def undo(call: Call, body: Undo) -> Undone:
    """Write back the bodies that a change replaced, all or none, unless something changed one of them since."""
    _check_kind(call, body.kind)
    changes = await (_one(call, body) if body.key else _all(call, body))
    for change in changes:
        _check_kind(call, change.kind)
    try:
        now = call.desk.now()
        documents = [former(changes[0], now)] if body.key else all_former(changes, now)
    except NotUndone as error:
        raise WireError("conflict", str(error)) from None
    reply = await call.commit(documents, f"undo of epoch {body.epoch}", expect=body.epoch)
    return {**reply, "undone": len(documents)}


def _check_kind(call: Call, kind: str) -> None:
    if kind in NEVER:
        raise WireError("malformed", f"kind {shown(kind)}: cannot be undone")
    if kind and not may_undo(kind, call.role):
        raise WireError("forbidden", f"role {call.role}: expected admin, to undo a change of {shown(kind)}")


async def _one(call: Call, body: Undo) -> list[Document]:
    past = await call.desk.read(lambda store: store.history(body.kind, body.key, limit=100))
    found = [d for d in past if d.epoch == body.epoch and d.time == body.time]
    if not found or not body.kind:
        raise WireError("not-found", f"{shown(body.kind)} {shown(body.key)}: no change at that epoch and time")
    if past[0] is not found[0]:
        raise WireError("conflict", f"{shown(body.kind)} {shown(body.key)}: changed again since, by {past[0].author}")
    return found[:1]


async def _all(call: Call, body: Undo) -> list[Document]:
    past = await call.desk.read(lambda store: store.history(body.kind, "", MOST + 1, body.time + 1))
    found = [d for d in past if d.epoch == body.epoch and d.time == body.time]
    if not found:
        raise WireError("not-found", f"epoch {body.epoch}: no change at that epoch and time")
    if len(found) > MOST:
        raise WireError(
            "malformed", f"epoch {body.epoch}: over {MOST} changes; `verdict lists remove --file` takes a list back"
        )
    return found


async def _history(call: Call, query: Past, kind: str) -> Changes:
    def found(store: Store) -> list[Document]:
        return [_told(document) for document in store.history(kind, query.key, query.limit, query.before)]

    return {"changes": await call.search(found)}


def _told(change: Document) -> Document:
    tell = {tokens.KIND: _without_hash, PREVALENCE_KIND: _few_names}.get(change.kind)
    if tell is None:
        return change
    body, previous = (tell(kept) if kept else kept for kept in (change.body, change.previous))
    return msgspec.structs.replace(change, body=body, previous=previous)


def _without_hash(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "hash"}


def _few_names(body: dict[str, Any]) -> dict[str, Any]:
    names = body["names"]
    return {**body, "names": "\n".join(names.split("\n", FEW)[:FEW]), "count": names.count("\n") + 1}
