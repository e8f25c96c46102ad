"""`/v1/vetting`, `/v1/labels`, `/v1/incidents`: what analysts say of names, and what they do with incidents."""

from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from serve_app.control_calls import Call
from serve_app.control_replies import Committed, Incident, Incidents, Label, Labels, Settled, Taught, Vetting
from serve_app.operations import Number, Operation, one_of
from serve_app.wire import WireError
from verdicts.lists import entry
from verdicts.names import normalise, shown
from verdicts.policy import LIST_NAMES
from verdicts.store import Document

MAX_DECISIONS = 10_000
STATES = ("open", "acknowledged", "closed")


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


class IncidentChange(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of an incident; an absent field stays."""

    state: Annotated[str | None, one_of(*STATES, None)] = None
    assignee: str | None = None
    note: str = ""


class Page(msgspec.Struct):
    """Those whose key begins with `prefix`, in key order."""

    limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    prefix: str = ""


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/vetting", "viewer", show_vetting),
        Operation("POST", "/v1/vetting", "analyst", decide),
        Operation("GET", "/v1/labels", "viewer", show_labels),
        Operation("POST", "/v1/labels", "analyst", label),
        Operation("GET", "/v1/incidents", "viewer", show_incidents),
        Operation("GET", "/v1/incidents/{key:path}", "viewer", show_incident),
        Operation("POST", "/v1/incidents/{key:path}", "analyst", change_incident),
    ]


async def show_vetting(call: Call, query: Page) -> Vetting:
    """What was decided on names of the queue."""
    return {"decisions": cast(list[Settled], await _all(call, query, "vetting"))}


async def show_labels(call: Call, query: Page) -> Labels:
    """Labels that teach."""
    return {"labels": cast(list[Taught], await _all(call, query, "label"))}


async def show_incidents(call: Call, query: Page) -> Incidents:
    """Incidents, opened from the log."""
    return {"incidents": await _all(call, query, "incident")}


async def show_incident(call: Call) -> Incident:
    """One incident, with its evidence."""
    document = await _incident(call)
    return {"key": document.key, **(document.body or {})}


async def decide(call: Call, body: Decisions) -> Committed:
    """All decisions in one commit: list entries, labels, and the mark that takes the name off the queue."""
    if not 0 < len(body.decisions) <= MAX_DECISIONS:
        raise WireError("malformed", f"decisions: {len(body.decisions)} of them, expected 1 to {MAX_DECISIONS}")
    documents = [document for decision in body.decisions for document in _documents(call, decision, body.note)]
    return await call.commit(documents, body.note, body.expect)


async def label(call: Call, body: LabelsGiven) -> Committed:
    """Give names labels that teach; null takes one back."""
    if not 0 < len(body.labels) <= MAX_DECISIONS:
        raise WireError("malformed", f"labels: {len(body.labels)} of them, expected 1 to {MAX_DECISIONS}")
    return await call.commit([_label(call, normalise(each.name), each.label) for each in body.labels], body.note)


async def change_incident(call: Call, body: IncidentChange) -> Committed:
    """Acknowledge, assign, close; refused when somebody else changed it in between."""
    if body.state is not None and body.state not in STATES:
        raise WireError("malformed", f"state {shown(body.state)}: expected one of {', '.join(STATES)}")
    document = await _incident(call)
    changes = {"state": body.state, "assignee": body.assignee}
    kept = {key: value for key, value in changes.items() if value is not None}
    if not kept:
        raise WireError("malformed", "body: expected state or assignee")
    changed = Document("incident", document.key, {**(document.body or {}), **kept})
    return await call.commit([changed], body.note, expect=document.epoch)


def _documents(call: Call, decision: Decision, note: str) -> list[Document]:
    name = normalise(decision.name)
    found = []
    if decision.list is not None:
        if decision.list not in LIST_NAMES:
            raise WireError(
                "malformed", f"list {shown(decision.list)}: expected one of {', '.join(LIST_NAMES)}, or null"
            )
        found.append(entry(decision.list, name, note, decision.expires, call.desk.now(), call.author))
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


async def _all(call: Call, query: Page, kind: str) -> list[dict[str, Any]]:
    def find(store: Any) -> list[dict[str, Any]]:
        found = []
        for document in store.scan(kind, query.prefix):
            found.append({"key": document.key, **document.body})
            if len(found) == query.limit:
                break
        return found

    return await call.desk.read(find)


async def _incident(call: Call) -> Document:
    key = call.path("key")
    document = await call.desk.read(lambda store: store.get("incident", key))
    if document is None:
        raise WireError("not-found", f"incident {shown(key)}: no such incident")
    return document
