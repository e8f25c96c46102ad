"""The OpenAPI document, made from the wire's own types, so that it cannot differ from them."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from serve_app import control
from serve_app.control_calls import RANK
from serve_app.operations import Operation
from serve_app.wire import MAX_BUDGET_DIGITS, STATUS_OF, Names, Question
from verdicts.incidents import Incident
from verdicts.observations import Acknowledgement, Batch
from verdicts.policy import Policy, Verdict

METRICS_ERRORS = ("unauthorised", "forbidden", "not-found", "unavailable")
FRAME_ERRORS = tuple(code for code in STATUS_OF if code not in ("not-found", "method-not-allowed", "conflict"))
CONTROL_ERRORS = ("malformed", "unauthorised", "forbidden", "too-large", "internal", "unavailable", "expired")
SCHEMA = "#/components/schemas/{name}"
# What a field of a body holds that is checked later, and stands in no other type.
FURTHER = (Policy, Incident)
ACTS_FOR = [
    {
        "name": "Verdict-User",
        "in": "header",
        "description": "The person that a program acts for, percent-encoded; stands in the history before the token.",
        "schema": {"type": "string"},
    },
    {
        "name": "Verdict-Role",
        "in": "header",
        "description": "The role of that person: the lower of this and the token's counts.",
        "schema": {"enum": list(RANK)},
    },
]


class FrameReply(msgspec.Struct):
    """The reply to a frame: as many verdicts as names, in their order. `asked`: the CRC-32 of the request's body."""

    epoch: int
    generation: str
    model: str
    asked: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    verdicts: list[Verdict]


class Failure(msgspec.Struct):
    """Every error."""

    code: str
    message: str


@lru_cache(maxsize=1)
def document(max_names: int = 1024) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the resolvers' routes and of the control API; `max_names` in a frame."""
    from model.jobs import JobSettings  # takes a moment to import, and no frame needs it

    types = (Names, FrameReply, Question, Verdict, Batch, Acknowledgement, Failure)
    calls = control.operations()
    used = [kind for call in calls for kind in (call.body, call.query, call.reply) if kind is not None]
    schemas, components = msgspec.json.schema_components([*types, *FURTHER, JobSettings, *used], ref_template=SCHEMA)
    components["Names"]["properties"]["names"] |= {"minItems": 1, "maxItems": max_names}
    names, reply, question, verdict, batch, acknowledgement, failure = schemas[: len(types)]
    of_type = dict(zip(used, schemas[-len(used) :], strict=True))
    budget = {
        "name": "Verdict-Budget-Ms",
        "in": "header",
        "description": "How long the caller waits, in milliseconds.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**MAX_BUDGET_DIGITS - 1},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Verdict", "version": "1", "description": "Verdicts on domain names."},
        "components": {
            "schemas": components,
            "responses": {code: _answer(code, failure) for code in STATUS_OF},
            "parameters": {each["name"]: each for each in ACTS_FOR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "paths": {
            "/v1/verdicts": _post("Judge a frame of names", names, reply, [budget], True),
            "/v1/verdict": _post("Judge one name and record it", question, verdict, [budget], True),
            "/v1/observations": _post("Report what a resolver did", batch, acknowledgement, [], False),
            "/healthz": _get("Is this replica alive?"),
            "/readyz": _get("Can it judge, and what is stale since when?", "503"),
            "/openapi.json": _get("This document"),
            "/metrics": _metrics(),
            **_control(calls, of_type, components),
        },
    }


def _control(calls: list[Operation], of_type: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    """The paths of the control API."""
    paths: dict[str, Any] = {}
    for call in calls:
        path = call.path.replace(":path", "")
        operation = {
            "summary": call.summary,
            "security": [{"token": [call.role]}],  # the least role that may
            "parameters": [
                *_of_path(path),
                *_of_query(call, components),
                *({"$ref": f"#/components/parameters/{each['name']}"} for each in ACTS_FOR),
            ],
            "responses": {"200": _answer("ok", of_type[call.reply]), **_errors(_errors_of(call))},
        }
        if call.body is not None:
            operation["requestBody"] = _body(of_type[call.body])
        paths.setdefault(path, {})[call.method.lower()] = operation
    return paths


def _errors_of(call: Operation) -> list[str]:
    """A call that names a thing may not find it; one that changes it may meet another change."""
    names_one = "{" in call.path or call.path in ("/v1/audit/undo", "/v1/models/rollback")
    changes = call.method != "GET" or call.path.startswith("/v1/models")  # a model may be there and unreadable
    return [*CONTROL_ERRORS, *(["not-found"] if names_one else []), *(["conflict"] if changes else [])]


def _of_path(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", path)
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names
    ]


def _of_query(call: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    if call.query is None:
        return []
    schema = components.get(call.query.__name__, {})
    needed = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": field}
        for name, field in schema["properties"].items()
    ]


def _post(
    summary: str,
    body: dict[str, Any],
    reply: dict[str, Any],
    parameters: list[dict[str, Any]],
    answers_people: bool,
) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "security": [{"token": [role]} for role in ("resolver", "analyst")[: 1 + answers_people]],
            "parameters": parameters,
            "requestBody": _body(body),
            "responses": {"200": _answer("ok", reply), **_errors(FRAME_ERRORS)},
        }
    }


def _get(summary: str, *others: str) -> dict[str, Any]:
    form = {"application/json": {"schema": {"type": "object"}}}
    answers = {status: {"description": summary, "content": form} for status in ("200", *others)}
    return {"get": {"summary": summary, "responses": answers}}


def _metrics() -> dict[str, Any]:
    text = {"description": "Prometheus's text form", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "get": {
            "summary": "The metrics of all nodes, for Prometheus",
            "security": [{"token": ["viewer"]}],
            "responses": {"200": text, **_errors(METRICS_ERRORS)},
        }
    }


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _errors(codes: Iterable[str]) -> dict[str, Any]:
    return {str(STATUS_OF[code]): {"$ref": f"#/components/responses/{code}"} for code in codes}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
