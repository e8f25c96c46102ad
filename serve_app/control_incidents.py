"""`/v1/incidents`: what analysts do with incidents; of two who decide on one at once, the later is told."""

from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from serve_app.control_calls import MAX_AUTHOR, Call, Committed, failure_of
from serve_app.control_vetting import Page, fields_of, page_of
from serve_app.operations import Number, Operation, one_of
from serve_app.wire import WireError
from verdicts.incidents import DECIDED, KIND, STATES, decision, in_words
from verdicts.names import shown
from verdicts.store import Document

TRIES = 5  # the log writes to an incident at most each five minutes, and when an alert was sent
PAST = 1000  # changes looked back at


class IncidentChange(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of an incident; an absent field stays.

    `expect`: the `epoch` of the incident that the caller saw; refused where somebody decided on it since. What the log
    added to it meanwhile is no decision.
    """

    state: Annotated[str | None, one_of(*STATES, None)] = None
    assignee: str | None = None
    note: str = ""
    expect: Number | None = None


# The fields of `verdicts.incidents.Incident` beside its key and its epoch; one written by an earlier release may lack
# some.
Incident = Annotated[
    dict[str, Any],
    Meta(
        extra_json_schema={
            "$ref": "#/components/schemas/Incident",
            "properties": {"key": {"type": "string"}, "epoch": {"type": "integer"}},
            "required": ["key", "epoch"],
        }
    ),
]


class Incidents(TypedDict):
    """A page; `after` leads to the next, null on the last."""

    incidents: list[Incident]
    after: str | None


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/incidents", "viewer", show_incidents),
        Operation("GET", "/v1/incidents/{key:path}", "viewer", show_incident),
        Operation("POST", "/v1/incidents/{key:path}", "analyst", change_incident),
    ]


async def show_incidents(call: Call, query: Page) -> Incidents:
    """Incidents, opened from the log."""
    found, after = await page_of(call, query, KIND)
    return {"incidents": [_shown(document) for document in found], "after": after}


async def show_incident(call: Call) -> Incident:
    """One incident, with its evidence."""
    return _shown(await _incident(call))


async def change_incident(call: Call, body: IncidentChange) -> Committed:
    """Acknowledge, assign, close; refused when somebody else decided on it since it was seen."""
    if body.state is not None and body.state not in STATES:
        raise WireError("malformed", f"state {shown(body.state)}: expected one of {', '.join(STATES)}")
    if body.assignee is not None and len(body.assignee) > MAX_AUTHOR:
        raise WireError("malformed", f"assignee: {len(body.assignee)} characters, expected at most {MAX_AUTHOR}")
    changes = {name: value for name in DECIDED if (value := getattr(body, name)) is not None}
    if not changes:
        raise WireError("malformed", "body: expected state or assignee")
    document = await _incident(call)
    seen = document.epoch if body.expect is None else body.expect
    for _ in range(TRIES):
        await _check_undecided(call, document, seen)
        changed = Document(KIND, document.key, {**(document.body or {}), **changes})
        try:
            return await call.commit([changed], body.note, expect=document.epoch)
        except Exception as error:
            if failure_of(error).code != "conflict":
                raise
        document = await _incident(call)  # whoever wrote meanwhile, the log or a person
    raise WireError("unavailable", f"incident {shown(document.key)}: gave way to {TRIES} others", retry_after=1)


async def _check_undecided(call: Call, document: Document, seen: int) -> None:
    """Raise the conflict where a person decided on the incident after this epoch."""
    if document.epoch <= seen:
        return
    past = await call.desk.read(lambda store: store.history(KIND, document.key, PAST))
    if past and past[0].epoch < document.epoch:  # a commit just being written, whose history no search finds yet
        past.insert(0, msgspec.structs.replace(document, previous=past[0].body))
    for change in past:
        if change.epoch <= seen:
            return
        said = decision(change.previous, change.body)
        if said is not None:
            when = datetime.fromtimestamp(change.time / 1000, UTC)
            present = document.body or {}
            raise WireError(
                "conflict",
                f"incident {shown(document.key)}: {shown(change.author)} decided at {when:%Y-%m-%d %H:%M:%S} UTC: "
                f"{in_words(said)}; changed at epoch {change.epoch}, expected at most {seen}; now "
                f"{shown(str(present.get('state')))}, assigned to {shown(str(present.get('assignee') or 'nobody'))}",
            )


def _shown(document: Document) -> Incident:
    return {**fields_of(document), "epoch": document.epoch}


async def _incident(call: Call) -> Document:
    key = call.path("key")
    document = await call.desk.read(lambda store: store.get(KIND, key))
    if document is None:
        raise WireError("not-found", f"incident {shown(key)}: no such incident")
    return document
