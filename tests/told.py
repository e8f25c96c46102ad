"""What the OpenAPI document says of a reply; the tests of the control API hold every one they get against it."""

import copy
import re
from functools import lru_cache
from typing import Any

import httpx
import jsonschema

from serve_app import openapi


def check(method: str, reply: httpx.Response) -> None:
    """Fail unless the document tells of this reply: its status, its fields, and no other field."""
    path = reply.request.url.path
    operation = next((item.get(method.lower()) for known, item in _paths() if known(path)), None)
    if operation is None:  # no such route
        assert reply.status_code in (404, 405), f"{method} {path}: {reply.status_code}, and the document tells of none"
        return
    told = operation["responses"].get(str(reply.status_code))
    assert told is not None, f"{method} {path}: {reply.status_code} {reply.text}, of which the document does not tell"
    if "$ref" in told:
        told = _document()["components"]["responses"][told["$ref"].rpartition("/")[2]]
    schema = told["content"]["application/json"]["schema"]
    jsonschema.validate(reply.json(), {**schema, "components": _document()["components"]})


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    """The document, where an object that lists its fields has no others."""
    document = copy.deepcopy(openapi.document())
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema and name != "Incident":  # to which its key is added where it is told
            schema.setdefault("additionalProperties", False)
    return document


@lru_cache(maxsize=1)
def _paths() -> list[tuple[Any, dict[str, Any]]]:
    found = sorted(_document()["paths"].items(), key=lambda item: item[0].count("{"))
    return [(re.compile(re.sub(r"{key}", ".+", re.sub(r"{(?!key)\w+}", "[^/]+", p))).fullmatch, i) for p, i in found]
