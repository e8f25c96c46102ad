"""`/v1/vetting`, `/v1/labels`, `/v1/incidents`: what analysts say of names, and what they do with incidents."""

from typing import Any, Literal

import msgspec
from starlette.routing import BaseRoute

from serve_app.control_calls import Call, Desk, route
from serve_app.wire import WireError
from verdicts.lists import entry
from verdicts.names import normalise, shown
from verdicts.policy import LIST_NAMES
from verdicts.store import Document

Label = Literal["generated", "malicious", "benign", "unsure"]
MAX_DECISIONS = 10_000
STATES = ("open", "acknowledged", "closed")


class Decision(msgspec.Struct, forbid_unknown_fields=True):
    """One name of the queue: put on a list or not, given a label that teaches or not; a decision settles it."""

    name: str
    list: str | None = None
    label: Label | None = None
    expires: int | None = None


class Decisions(msgspec.Struct, forbid_unknown_fields=True):
    decisions: list[Decision]
    note: str = ""


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A label for a name; null takes it back."""

    name: str
    label: Label | None


class Labels(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[Named]
    note: str = ""


class IncidentChange(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of an incident; an absent field stays."""

    state: str | None = None
    assignee: str | None = None
    note: str = ""


def routes(desk: Desk) -> list[BaseRoute]:
    return [
        route(desk, "GET", "/v1/vetting", "viewer", show_vetting),
        route(desk, "POST", "/v1/vetting", "analyst", decide),
        route(desk, "GET", "/v1/labels", "viewer", show_labels),
        route(desk, "POST", "/v1/labels", "analyst", label),
        route(desk, "GET", "/v1/incidents", "viewer", show_incidents),
        route(desk, "GET", "/v1/incidents/{key:path}", "viewer", show_incident),
        route(desk, "POST", "/v1/incidents/{key:path}", "analyst", change_incident),
    ]


async def show_vetting(call: Call) -> Any:
    return {"decisions": await _all(call, "vetting")}


async def show_labels(call: Call) -> Any:
    return {"labels": await _all(call, "label")}


async def show_incidents(call: Call) -> Any:
    return {"incidents": await _all(call, "incident")}


async def show_incident(call: Call) -> Any:
    document = await _incident(call)
    return {"key": document.key, **(document.body or {})}


async def decide(call: Call) -> Any:
    """All decisions in one commit: list entries, labels, and the mark that takes the name off the queue."""
    wanted = call.body(Decisions)
    if not 0 < len(wanted.decisions) <= MAX_DECISIONS:
        raise WireError("malformed", f"decisions: {len(wanted.decisions)} of them, expected 1 to {MAX_DECISIONS}")
    documents = [document for decision in wanted.decisions for document in _documents(call, decision, wanted.note)]
    return await call.commit(documents, wanted.note)


async def label(call: Call) -> Any:
    wanted = call.body(Labels)
    if not 0 < len(wanted.labels) <= MAX_DECISIONS:
        raise WireError("malformed", f"labels: {len(wanted.labels)} of them, expected 1 to {MAX_DECISIONS}")
    return await call.commit([_label(call, normalise(each.name), each.label) for each in wanted.labels], wanted.note)


async def change_incident(call: Call) -> Any:
    """Acknowledge, assign, close; refused when somebody else changed it in between."""
    wanted = call.body(IncidentChange)
    if wanted.state is not None and wanted.state not in STATES:
        raise WireError("malformed", f"state {shown(wanted.state)}: expected one of {', '.join(STATES)}")
    document = await _incident(call)
    changes = {"state": wanted.state, "assignee": wanted.assignee}
    kept = {key: value for key, value in changes.items() if value is not None}
    if not kept:
        raise WireError("malformed", "body: expected state or assignee")
    changed = Document("incident", document.key, {**(document.body or {}), **kept})
    return await call.commit([changed], wanted.note, expect=document.epoch)


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


async def _all(call: Call, kind: str) -> list[dict[str, Any]]:
    limit = call.number("limit", 1000, 1, 100_000)
    prefix = call.text("prefix")

    def find(store: Any) -> list[dict[str, Any]]:
        found = []
        for document in store.scan(kind, prefix):
            found.append({"key": document.key, **document.body})
            if len(found) == limit:
                break
        return found

    return await call.desk.read(find)


async def _incident(call: Call) -> Document:
    key = call.path("key")
    document = await call.desk.read(lambda store: store.get("incident", key))
    if document is None:
        raise WireError("not-found", f"incident {shown(key)}: no such incident")
    return document
