"""`/v1/lists`: the vetted lists."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from serve_app.control_calls import Call, Committed
from serve_app.operations import Number, Operation, one_of
from serve_app.wire import WireError
from verdicts import list_formats
from verdicts.lists import LIST_KIND, PREVALENCE_KIND, absent_of, entry, ranked, ranking, removal, split_key
from verdicts.names import shown
from verdicts.policy import LIST_NAMES, ListName
from verdicts.store import Document, Store

MAX_ENTRIES = 100_000  # in one commit
MAX_PAGE = 10_000
MAX_PROBLEMS = 100  # rows of an import that are told in its reply
MAX_SCAN = 20_000  # entries looked through for a page; one of few or no entries may lead to another


class Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One entry as a caller names it; `expires` in Unix milliseconds."""

    list: Annotated[str, one_of(*LIST_NAMES)]
    suffix: str
    expires: Number | None = None
    note: str = ""


class ListChange(msgspec.Struct, forbid_unknown_fields=True):
    """Entries to add or to remove in one commit; a single one may stand without `entries`."""

    entries: list[Item] = []
    note: str = ""
    list: Annotated[str, one_of(*LIST_NAMES, "")] = ""
    suffix: str = ""
    expires: Number | None = None

    def items(self) -> Sequence[Item]:
        single = [Item(self.list, self.suffix, self.expires)] if self.list or self.suffix else []
        return [*self.entries, *single]


class Import(msgspec.Struct, forbid_unknown_fields=True):
    """A list as text in one of `list_formats.FORMS`. `list` may be `prevalence`, which is replaced as a whole.

    A text may hold 8 MiB. A longer prevalence list comes in parts, one after the other.
    """

    list: Annotated[str, one_of(*LIST_NAMES, PREVALENCE_KIND)]
    text: str
    form: Annotated[str, one_of("auto", *list_formats.FORMS)] = "auto"
    limit: Number | None = None  # ranks of a top list, or rows
    first: Annotated[int, Meta(ge=1, le=1 << 53)] = 1  # of a part of the prevalence list: the rank of its first name
    more: bool = False  # another part follows
    note: str = ""
    expires: Number | None = None


class Shown(msgspec.Struct):
    """Entries of one list or of all, whose suffix contains a text, from behind the key `after` on."""

    list: Annotated[str, one_of(*LIST_NAMES, "")] = ""
    contains: str = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 200
    after: str = ""


class Which(msgspec.Struct):
    list: Annotated[str, one_of(*LIST_NAMES, PREVALENCE_KIND)]


class Why(msgspec.Struct):
    note: str = ""


class Changed(Committed):
    """`entries`: how many were added or removed."""

    entries: int


class Removed(Changed):
    """`absent`: the suffixes that were on no such list."""

    absent: list[str]


class Problem(TypedDict):
    """A line of an import that was left out."""

    line: int
    reason: str


class Imported(Committed):
    """`left_out`: how many lines were; `problems` tells the first of them."""

    entries: int
    left_out: int
    problems: list[Problem]


class Entry(TypedDict):
    """A vetted entry; `expires` null: never."""

    list: ListName
    suffix: str
    note: str
    expires: int | None
    author: str
    time: int
    epoch: int


class Entries(TypedDict):
    """A page; `after` leads to the next, null on the last."""

    entries: list[Entry]
    after: str | None


class Exported(TypedDict):
    """A list as text, a name a line."""

    list: str
    text: str


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/lists", "viewer", show),
        Operation("POST", "/v1/lists", "analyst", add),
        Operation("DELETE", "/v1/lists", "analyst", remove),
        Operation("DELETE", "/v1/lists/{list}/{suffix}", "analyst", remove_one),
        Operation("POST", "/v1/lists/import", "analyst", import_),
        Operation("GET", "/v1/lists/export", "viewer", export),
    ]


async def show(call: Call, query: Shown) -> Entries:
    """Entries of one list or of all, those that contain a text, page by page in key order."""
    kind, contains, limit = query.list, query.contains.lower(), query.limit
    if kind and kind not in LIST_NAMES:
        raise WireError("malformed", f"list {shown(kind)}: expected one of {', '.join(LIST_NAMES)}")

    def find(store: Store) -> tuple[list[Document], str | None]:
        """The entries of the page, and behind which key the next begins."""
        found: list[Document] = []
        for number, document in enumerate(store.scan(LIST_KIND, f"{kind}/" if kind else "", query.after), 1):
            if contains in document.key.partition("/")[2]:
                if len(found) == limit:
                    return found, found[-1].key
                found.append(document)
            if number == MAX_SCAN:
                return found, document.key
        return found, None

    found, after = await call.search(find)
    return {"entries": [_shown(document) for document in found], "after": after}


async def add(call: Call, body: ListChange) -> Changed:
    """Put entries on lists, in one commit."""
    documents = await _documents(call, body, partial(entry_of, call))
    return await _commit(call, documents, body.note)


async def remove(call: Call, body: ListChange) -> Removed:
    """Take entries off lists, in one commit."""
    documents = await _documents(call, body, lambda item, _: removal(item.list, item.suffix))
    return await _remove(call, documents, body.note)


async def remove_one(call: Call, query: Why) -> Removed:
    """Take one entry off a list."""
    return await _remove(call, [removal(call.path("list"), call.path("suffix"))], query.note)


async def _remove(call: Call, documents: Sequence[Document], note: str) -> Removed:
    absent = await call.desk.read(lambda store: absent_of(store, documents))
    return {**await _commit(call, documents, note), "absent": absent}


async def import_(call: Call, body: Import) -> Imported:
    """Add every name of a text in one commit; rows that are no names are left out and told."""
    documents, parsed = await call.make(MAX_ENTRIES, partial(_imported, call, body))
    committed = await call.commit(documents, body.note)
    problems = [Problem(line=line, reason=reason) for line, reason in parsed.problems[:MAX_PROBLEMS]]
    return {**committed, "entries": len(parsed.rows), "left_out": parsed.left_out, "problems": problems}


def _imported(call: Call, wanted: Import) -> tuple[Sequence[Document], list_formats.Parsed]:
    """The documents of an import and what its text held; for a thread of long changes."""
    lines = wanted.text.splitlines()
    form = list_formats.guess("\n".join(lines[:200])) if wanted.form == "auto" else wanted.form
    try:
        parsed = list_formats.parse(lines, form, wanted.limit, wanted.list == "benign", call.desk.now())
    except ValueError as error:
        raise WireError("malformed", str(error)) from None
    if not parsed.rows:
        first = parsed.problems[0] if parsed.problems else list_formats.Problem(1, "expected at least one name")
        raise WireError("malformed", f"text, line {first.line}: {first.reason}")
    if wanted.list == PREVALENCE_KIND:
        documents = ranking(call.desk.store, parsed.rows, wanted.first, wanted.more)
    else:
        items = (Item(wanted.list, row.name, row.expires or wanted.expires, row.note) for row in _some(parsed.rows))
        documents = [entry_of(call, item, wanted.note) for item in items]
    return documents, parsed


async def export(call: Call, query: Which) -> Exported:
    """Every entry of a list, as text that `import` takes; of the prevalence list, the most popular first."""
    kind = query.list
    if kind != PREVALENCE_KIND and kind not in LIST_NAMES:
        expected = ", ".join((*LIST_NAMES, PREVALENCE_KIND))
        raise WireError("malformed", f"list {shown(kind)}: expected one of {expected}")
    # On a thread as a whole, so that no frame waits meanwhile.
    return {"list": kind, "text": await call.search(partial(_text, kind))}


def _text(kind: str, store: Store) -> str:
    if kind == PREVALENCE_KIND:
        names: Iterable[str] = ranked({d.key: d.body or {} for d in store.scan(PREVALENCE_KIND)})
    else:
        names = (key.partition("/")[2] for key in store.keys(LIST_KIND, f"{kind}/"))
    return "".join(f"{name}\n" for name in names)


async def _documents(call: Call, change: ListChange, document: Callable[[Item, str], Document]) -> list[Document]:
    """The documents of a change."""
    items = _some(change.items())
    return await call.make(len(items), lambda: [document(item, change.note) for item in items])


async def _commit(call: Call, documents: Sequence[Document], note: str) -> Changed:
    return {**await call.commit(documents, note), "entries": len(documents)}


def entry_of(call: Call, item: Item, note: str) -> Document:
    """The document of an entry that a caller names; refused where it would be over already."""
    now = call.desk.now()
    if item.expires is not None and item.expires <= now:
        raise WireError("malformed", f"{shown(item.suffix)}: expires {item.expires}, expected a time after now, {now}")
    return entry(item.list, item.suffix, item.note or note, item.expires, now, call.author)


def _some(found: Sequence[Any]) -> Sequence[Any]:
    if not 0 < len(found) <= MAX_ENTRIES:
        raise WireError("malformed", f"entries: {len(found)} of them, expected 1 to {MAX_ENTRIES}")
    return found


def _shown(document: Document) -> Entry:
    kind, suffix = split_key(document.key)
    body = document.body or {}
    return {
        "list": kind, "suffix": suffix, "note": body.get("note") or document.note, "expires": body.get("expires"),
        "author": body.get("author") or document.author, "time": document.time, "epoch": document.epoch,
    }  # fmt: skip
