"""The OpenAPI document, made from the wire's own types, so that it cannot differ from them."""

from functools import lru_cache
from typing import Annotated, Any

import msgspec

from serve_app.wire import MAX_BUDGET_DIGITS, STATUS_OF, Names, Question
from verdicts.observations import Acknowledgement, Batch
from verdicts.policy import Verdict

METRICS_ERRORS = ("unauthorised", "forbidden", "not-found", "unavailable")
OTHERS = (404, 405, 409)  # errors that these routes do not give


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
    """The OpenAPI 3.1 document of the resolvers' routes; `max_names` in a frame."""
    types = (Names, FrameReply, Question, Verdict, Batch, Acknowledgement, Failure)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    components["Names"]["properties"]["names"] |= {"minItems": 1, "maxItems": max_names}
    names, reply, question, verdict, batch, acknowledgement, failure = schemas
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
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "paths": {
            "/v1/verdicts": _post("Judge a frame of names", names, reply, failure, [budget]),
            "/v1/verdict": _post("Judge one name and record it", question, verdict, failure, [budget]),
            "/v1/observations": _post("Report what a resolver did", batch, acknowledgement, failure, []),
            "/healthz": _get("Is this replica alive?"),
            "/readyz": _get("Can it judge, and what is stale since when?", "503"),
            "/openapi.json": _get("This document"),
            "/metrics": _metrics(failure),
        },
    }


def _post(
    summary: str, body: dict[str, Any], reply: dict[str, Any], failure: dict[str, Any], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    errors = {str(status): _answer(code, failure) for code, status in STATUS_OF.items() if status not in OTHERS}
    return {
        "post": {
            "summary": summary,
            "security": [{"token": []}],
            "parameters": parameters,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {"200": _answer("ok", reply), **errors},
        }
    }


def _get(summary: str, *others: str) -> dict[str, Any]:
    form = {"application/json": {"schema": {"type": "object"}}}
    answers = {status: {"description": summary, "content": form} for status in ("200", *others)}
    return {"get": {"summary": summary, "responses": answers}}


def _metrics(failure: dict[str, Any]) -> dict[str, Any]:
    errors = {str(STATUS_OF[code]): _answer(code, failure) for code in METRICS_ERRORS}
    text = {"description": "Prometheus's text form", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "get": {
            "summary": "The metrics of all nodes, for Prometheus",
            "security": [{"token": []}],
            "responses": {"200": text, **errors},
        }
    }


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
