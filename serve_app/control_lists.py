"""`/v1/lists`: the vetted lists, and the history of everything that people decided, with undo."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from serve_app.control_calls import Call, Desk, route
from serve_app.wire import WireError
from verdicts import list_formats, tokens
from verdicts.lists import LIST_KIND, PREVALENCE_KIND, Lists, absent_of, entry, ranking, removal, split_key
from verdicts.names import shown
from verdicts.policy import LIST_NAMES
from verdicts.store import Document

MAX_ENTRIES = 100_000  # in one commit
MAX_PAGE = 10_000
MAX_PROBLEMS = 100  # rows of an import that are told in its reply
MAX_SCAN = 1_000_000  # entries looked through for a text
NEVER_UNDONE = (tokens.KIND, "model", "job")  # secrets must not come back, and models have their own roll-back


class Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One entry as a caller names it; `expires` in Unix milliseconds."""

    list: str
    suffix: str
    expires: int | None = None
    note: str = ""


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """Entries to add or to remove in one commit; a single one may stand without `entries`."""

    entries: list[Item] = []
    note: str = ""
    list: str = ""
    suffix: str = ""
    expires: int | None = None

    def items(self) -> Sequence[Item]:
        single = [Item(self.list, self.suffix, self.expires)] if self.list or self.suffix else []
        return [*self.entries, *single]


class Import(msgspec.Struct, forbid_unknown_fields=True):
    """A list as text in one of `list_formats.FORMS`. `list` may be `prevalence`, which is replaced as a whole.

    A text may hold 8 MiB. A longer prevalence list comes in parts, one after the other.
    """

    list: str
    text: str
    form: str = "auto"
    limit: int | None = None  # ranks of a top list, or rows
    first: int = 1  # of a part of the prevalence list: the rank of its first name
    more: bool = False  # another part follows
    note: str = ""
    expires: int | None = None


class Undo(msgspec.Struct, forbid_unknown_fields=True):
    """The change to take back: that of this document at this epoch and time (Unix milliseconds)."""

    kind: str
    key: str
    epoch: int
    time: int


def routes(desk: Desk) -> list[BaseRoute]:
    return [
        route(desk, "GET", "/v1/lists", "viewer", show),
        route(desk, "POST", "/v1/lists", "analyst", add),
        route(desk, "DELETE", "/v1/lists", "analyst", remove),
        route(desk, "DELETE", "/v1/lists/{list}/{suffix}", "analyst", remove_one),
        route(desk, "POST", "/v1/lists/import", "analyst", import_),
        route(desk, "GET", "/v1/lists/export", "viewer", export),
        route(desk, "GET", "/v1/lists/history", "viewer", history_of_lists),
        route(desk, "GET", "/v1/audit", "viewer", history),
        route(desk, "POST", "/v1/audit/undo", "analyst", undo),
    ]


async def show(call: Call) -> Any:
    """Entries of one list or of all, those that contain a text, page by page in key order."""
    kind, contains, after = _list(call), call.text("contains").lower(), call.text("after")
    limit = call.number("limit", 200, 1, MAX_PAGE)

    def find(store: Any) -> list[Document]:
        scanned = itertools.islice(store.scan(LIST_KIND, f"{kind}/" if kind else "", after), MAX_SCAN)
        wanted = (d for d in scanned if contains in d.key.partition("/")[2])
        return list(itertools.islice(wanted, limit + 1))

    found = await call.desk.read(find)
    more = found[limit - 1].key if len(found) > limit else None
    return {"entries": [_shown(d) for d in found[:limit]], "after": more}


async def add(call: Call) -> Any:
    change, documents = await asyncio.to_thread(_changed, call, partial(_entry, call))
    return await _commit(call, documents, change.note)


async def remove(call: Call) -> Any:
    change, documents = await asyncio.to_thread(_changed, call, lambda item, _: removal(item.list, item.suffix))
    absent = await call.desk.read(lambda store: absent_of(store, documents))
    return {**await _commit(call, documents, change.note), "absent": absent}


async def remove_one(call: Call) -> Any:
    return await _commit(call, [removal(call.path("list"), call.path("suffix"))], call.text("note"))


async def import_(call: Call) -> Any:
    """Add every name of a text in one commit; rows that are no names are left out and told."""
    wanted, documents, told = await asyncio.to_thread(_imported, call)
    return {**await call.commit(documents, wanted.note), **told}


def _imported(call: Call) -> tuple[Import, Sequence[Document], dict[str, Any]]:
    """The documents of an import and what its reply tells; for a thread, so that no frame waits meanwhile."""
    wanted = call.body(Import)
    lines = wanted.text.splitlines()
    form = list_formats.guess("\n".join(lines[:200])) if wanted.form == "auto" else wanted.form
    try:
        parsed = list_formats.parse(lines, form, wanted.limit, wanted.list == "benign")
    except ValueError as error:
        raise WireError("malformed", str(error)) from None
    if not parsed.rows:
        first = parsed.problems[0] if parsed.problems else list_formats.Problem(1, "expected at least one name")
        raise WireError("malformed", f"text, line {first.line}: {first.reason}")
    if wanted.list == PREVALENCE_KIND:
        documents = ranking(call.desk.store, parsed.rows, wanted.first, wanted.more)
    else:
        items = (Item(wanted.list, row.name, row.expires or wanted.expires, row.note) for row in _some(parsed.rows))
        documents = [_entry(call, item, wanted.note) for item in items]
    problems = [problem._asdict() for problem in parsed.problems[:MAX_PROBLEMS]]
    return wanted, documents, {"entries": len(parsed.rows), "left_out": parsed.left_out, "problems": problems}


async def export(call: Call) -> Any:
    """Every entry of a list, as text that `import` takes; of the prevalence list, the most popular first."""
    if call.text("list") == PREVALENCE_KIND:
        runs = await call.desk.read(lambda store: {d.key: d.body or {} for d in store.scan(PREVALENCE_KIND)})
        return {"list": PREVALENCE_KIND, "text": "".join(f"{name}\n" for name in Lists(None, runs).ranked())}
    kind = _list(call)
    if not kind:
        raise WireError("malformed", f"list: missing, expected one of {', '.join((*LIST_NAMES, PREVALENCE_KIND))}")
    keys = await call.desk.read(lambda store: list(itertools.islice(store.keys(LIST_KIND, f"{kind}/"), MAX_SCAN)))
    return {"list": kind, "text": "".join(f"{key.partition('/')[2]}\n" for key in keys)}


async def history_of_lists(call: Call) -> Any:
    return await _history(call, LIST_KIND)


async def history(call: Call) -> Any:
    """Who changed what, newest first; a token's hash is left out."""
    return await _history(call, call.text("kind"))


async def undo(call: Call) -> Any:
    """Write back the body that a change replaced, unless something changed it since."""
    wanted = call.body(Undo)
    if wanted.kind in NEVER_UNDONE:
        raise WireError("malformed", f"kind {shown(wanted.kind)}: cannot be undone")
    if wanted.kind not in (LIST_KIND, "label", "vetting", "incident") and call.role != "admin":
        raise WireError("forbidden", f"role {call.role}: expected admin, to undo a change of {shown(wanted.kind)}")
    past = await call.desk.read(lambda store: store.history(wanted.kind, wanted.key, limit=100))
    found = next((d for d in past if d.epoch == wanted.epoch and d.time == wanted.time), None)
    if found is None:
        raise WireError("not-found", f"{shown(wanted.kind)} {shown(wanted.key)}: no change at that epoch and time")
    if past[0] is not found:
        raise WireError(
            "conflict", f"{shown(wanted.kind)} {shown(wanted.key)}: changed again since, by {past[0].author}"
        )
    document = Document(wanted.kind, wanted.key, found.previous)
    return await call.commit([document], f"undo of epoch {wanted.epoch}", expect=found.epoch)


async def _history(call: Call, kind: str) -> Any:
    limit, before = call.number("limit", 100, 1, 1000), call.number("before", (1 << 60), 0, 1 << 60)
    found = await call.desk.read(lambda store: store.history(kind, call.text("key"), limit, before))
    return {"changes": [_change(document) for document in found]}


def _change(document: Document) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(document)
    if document.kind == tokens.KIND:
        for body in (fields["body"], fields["previous"]):
            (body or {}).pop("hash", None)
    return fields


def _changed(call: Call, document: Callable[[Item, str], Document]) -> tuple[Change, list[Document]]:
    """A change and its documents; for a thread, so that no frame waits while a long list is read."""
    change = call.body(Change)
    return change, [document(item, change.note) for item in _some(change.items())]


async def _commit(call: Call, documents: Sequence[Document], note: str) -> Any:
    return {**await call.commit(documents, note), "entries": len(documents)}


def _entry(call: Call, item: Item, note: str) -> Document:
    now = call.desk.now()
    if item.expires is not None and item.expires <= now:
        raise WireError("malformed", f"{shown(item.suffix)}: expires {item.expires}, expected a time after now, {now}")
    return entry(item.list, item.suffix, item.note or note, item.expires, now, call.author)


def _some(found: Sequence[Any]) -> Sequence[Any]:
    if not 0 < len(found) <= MAX_ENTRIES:
        raise WireError("malformed", f"entries: {len(found)} of them, expected 1 to {MAX_ENTRIES}")
    return found


def _list(call: Call) -> str:
    kind = call.text("list")
    if kind and kind not in LIST_NAMES:
        raise WireError("malformed", f"list {shown(kind)}: expected one of {', '.join(LIST_NAMES)}")
    return kind


def _shown(document: Document) -> dict[str, Any]:
    kind, suffix = split_key(document.key)
    body = document.body or {}
    return {
        "list": kind, "suffix": suffix, "note": body.get("note") or document.note, "expires": body.get("expires"),
        "author": body.get("author") or document.author, "time": document.time, "epoch": document.epoch,
    }  # fmt: skip
