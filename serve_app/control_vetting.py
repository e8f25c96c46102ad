"""`/v1/vetting`, `/v1/labels`: what analysts say of names."""

import itertools
from typing import Annotated, Any, Literal, TypedDict, cast

import msgspec
from msgspec import Meta

from serve_app.control_calls import Call, Committed
from serve_app.control_lists import Item, entry_of
from serve_app.operations import Number, Operation, one_of
from serve_app.wire import WireError
from verdicts.names import typed
from verdicts.policy import LIST_NAMES, ListName
from verdicts.store import Document

MAX_DECISIONS = 10_000

Label = Literal["generated", "malicious", "benign", "unsure"]  # of an analyst


class Decision(msgspec.Struct, forbid_unknown_fields=True):
    """One name of the queue: put on a list or not, given a label that teaches or not; a decision settles it."""

    name: str
    list: Annotated[str | None, one_of(*LIST_NAMES, None)] = None
    label: Label | None = None
    expires: Number | None = None


class Decisions(msgspec.Struct, forbid_unknown_fields=True):
    """Decisions to take in one commit.

    `expect`: the epoch of the last change that the caller saw; refused where one of the names was decided since.
    """

    decisions: list[Decision]
    note: str = ""
    expect: Number | None = None


class LabelOf(msgspec.Struct, forbid_unknown_fields=True):
    """A label for a name; null takes it back."""

    name: str
    label: Label | None


class LabelsGiven(msgspec.Struct, forbid_unknown_fields=True):
    """Labels to give or take back in one commit."""

    labels: list[LabelOf]
    note: str = ""


class Page(msgspec.Struct):
    """Those whose key begins with `prefix`, in key order, from behind the key `after` on."""

    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    prefix: str = ""
    after: str = ""


class Settled(TypedDict):
    """What was decided on a name of the queue."""

    key: str
    name: str
    list: ListName | None
    label: Label | None
    note: str
    author: str
    time: int
    expires: int | None


class Vetting(TypedDict):
    """A page; `after` leads to the next, null on the last."""

    decisions: list[Settled]
    after: str | None


class Taught(TypedDict):
    """A label that teaches."""

    key: str
    name: str
    label: Label
    author: str
    time: int


class Labels(TypedDict):
    """A page; `after` leads to the next, null on the last."""

    labels: list[Taught]
    after: str | None


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/vetting", "viewer", show_vetting),
        Operation("POST", "/v1/vetting", "analyst", decide),
        Operation("GET", "/v1/labels", "viewer", show_labels),
        Operation("POST", "/v1/labels", "analyst", label),
    ]


async def show_vetting(call: Call, query: Page) -> Vetting:
    """What was decided on names of the queue."""
    found, after = await page_of(call, query, "vetting")
    return {"decisions": cast(list[Settled], [fields_of(document) for document in found]), "after": after}


async def show_labels(call: Call, query: Page) -> Labels:
    """Labels that teach."""
    found, after = await page_of(call, query, "label")
    return {"labels": cast(list[Taught], [fields_of(document) for document in found]), "after": after}


async def decide(call: Call, body: Decisions) -> Committed:
    """All decisions in one commit: list entries, labels, and the mark that takes the name off the queue."""
    if not 0 < len(body.decisions) <= MAX_DECISIONS:
        raise WireError("malformed", f"decisions: {len(body.decisions)} of them, expected 1 to {MAX_DECISIONS}")
    documents = await call.make(
        len(body.decisions),
        lambda: [document for decision in body.decisions for document in _documents(call, decision, body.note)],
    )
    return await call.commit(documents, body.note, body.expect)


async def label(call: Call, body: LabelsGiven) -> Committed:
    """Give names labels that teach; null takes one back."""
    if not 0 < len(body.labels) <= MAX_DECISIONS:
        raise WireError("malformed", f"labels: {len(body.labels)} of them, expected 1 to {MAX_DECISIONS}")
    documents = await call.make(
        len(body.labels), lambda: [_label(call, typed(each.name), each.label) for each in body.labels]
    )
    return await call.commit(documents, body.note)


def _documents(call: Call, decision: Decision, note: str) -> list[Document]:
    name = typed(decision.name)
    found = []
    if decision.list is not None:
        found.append(entry_of(call, Item(decision.list, name, decision.expires), note))
    if decision.label is not None:
        found.append(_label(call, name, decision.label))
    settled = {
        "name": name, "list": decision.list, "label": decision.label, "note": note, "author": call.author,
        "time": call.desk.now(), "expires": decision.expires,
    }  # fmt: skip
    return [*found, Document("vetting", name, settled)]


def _label(call: Call, name: str, label: Label | None) -> Document:
    body = None if label is None else {"name": name, "label": label, "author": call.author, "time": call.desk.now()}
    return Document("label", name, body)


async def page_of(call: Call, query: Page, kind: str) -> tuple[list[Document], str | None]:
    """The present documents of a kind that a query asks for, and behind which key the next page begins."""
    wanted = query.limit + 1
    found = await call.search(lambda store: list(itertools.islice(store.scan(kind, query.prefix, query.after), wanted)))
    page = found[: query.limit]
    return page, page[-1].key if len(found) == wanted else None


def fields_of(document: Document) -> dict[str, Any]:
    """A document as a reply tells it."""
    return {"key": document.key, **(document.body or {})}
