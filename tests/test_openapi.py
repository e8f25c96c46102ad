"""The routes asked what their OpenAPI document allows and what it forbids: does each answer stand in the document?"""

import asyncio
import re
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route

from deployments import analyst, trainer
from model.jobs import parse
from serve_app import control, openapi
from serve_app.control_calls import RANK
from serve_app.routes import application
from tests.control_setup import Setup

pytestmark = pytest.mark.patient

# What is wrong with one name, or with sums that do not agree, no schema can say: these may be refused with 400.
UNCHECKED = {
    "/v1/verdict": [positive_data_acceptance],
    "/v1/observations": [positive_data_acceptance],
    "/readyz": [not_a_server_error],  # not ready is 503, and no model is here
}
CONTROL = {(call.path.replace(":path", ""), call.method.lower()): call for call in control.operations()}
OPERATIONS = [(path, method) for path, item in openapi.document()["paths"].items() for method in item]
CASES = [
    (path, method, mode)
    for path, method in OPERATIONS
    for mode in GenerationMode
    # Where nothing is sent that could be wrong, nothing wrong can be sent; a header or path that is wrong is no call.
    if mode.is_positive or method == "post" or getattr(CONTROL.get((path, method)), "body", None)
]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    made = Setup(tmp_path_factory.mktemp("openapi"))
    with pytest.MonkeyPatch.context() as patch:  # what asks Ray for a process asks the same in this one
        patch.setattr(analyst, "ask", lambda registry, what, *rest: analyst.Analyst(registry).ask(what, inf, *rest))
        patch.setattr(trainer, "start", no_start)
        patch.setattr(trainer, "_actor", trainer.Jobs)
        patch.setattr(trainer, "_call", lambda method, *arguments: method(*arguments))
        yield made
    asyncio.run(made.clients[0].aclose())
    made.store.close()


def no_start(settings: dict[str, Any], registry: str, runs: str, notice: str = "") -> str:
    parse(settings)
    raise trainer.Busy("a training job is running")


@pytest.fixture(scope="module")
def schema(setup: Setup) -> Any:
    # 413: too many names; 409: a policy that is also of another epoch
    refused = {"expected-statuses": ["400", "401", "404", "405", "406", "409", "413", "415", "5xx"]}
    answered = {"expected-statuses": ["2xx", "3xx", "4xx", "504"]}  # 504: a budget of 1 ms, on a busy machine
    config = schemathesis.Config.from_dict(
        {"checks": {"negative_data_rejection": refused, "not_a_server_error": answered}}
    )
    return schemathesis.openapi.from_asgi("/openapi.json", application(setup.contexts[0]), config=config)


@pytest.mark.parametrize("path, method, mode", CASES)
def test_every_answer_stands_in_the_document(
    schema: Any, setup: Setup, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema[path][method.upper()]
    call = CONTROL.get((path, method))
    role = "admin" if call else "viewer" if path == "/metrics" else "resolver"
    headers = {"Authorization": f"Bearer {setup.tokens[role].text}"}
    unchecked = [positive_data_acceptance] if call else UNCHECKED.get(path)

    @settings(
        max_examples=8 if call else 25, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(mode))
    def ask(case: Any) -> None:
        if case.headers.get("Verdict-Role") in RANK:
            case.headers["Verdict-Role"] = "admin"  # else most calls are refused before anything is looked at
        case.call_and_validate(headers=headers, excluded_checks=unchecked)

    ask()


def test_every_route_stands_in_the_document_and_nothing_else(setup: Setup) -> None:
    mounted = {
        (route.path.replace(":path", ""), method.lower())
        for route in application(setup.contexts[0]).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert mounted == set(OPERATIONS)


@pytest.mark.parametrize("path, method", OPERATIONS)
def test_every_operation_says_what_it_does_and_who_may(path: str, method: str) -> None:
    operation = openapi.document()["paths"][path][method]
    assert operation["summary"]
    roles = [role for each in operation.get("security", ()) for role in each["token"]]
    call = CONTROL.get((path, method))
    assert roles == [call.role] if call else roles or path in ("/healthz", "/readyz", "/openapi.json")


def test_every_reference_leads_somewhere() -> None:
    document = openapi.document()

    def walk(node: Any) -> Iterator[str]:
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from walk(value)
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            yield node["$ref"]

    for reference in set(walk(document)):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


@pytest.mark.anyio
@pytest.mark.parametrize("path", openapi.document()["paths"])
async def test_a_method_that_a_path_has_not_is_told_those_that_it_has(setup: Setup, path: str) -> None:
    documented = {method.upper() for where, method in OPERATIONS if where == path}
    reply = await setup.clients[0].request("PATCH", re.sub("{.*?}", "x", path))
    assert reply.status_code == 405 and reply.json()["code"] == "method-not-allowed"
    assert documented <= set(reply.headers["Allow"].split(", "))
