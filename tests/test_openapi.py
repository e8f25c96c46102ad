"""The routes asked what their OpenAPI document allows and what it forbids: does each answer stand in the document?"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from serve_app import openapi
from serve_app.routes import application
from tests.test_routes import Setup

# What is wrong with one name, or with sums that do not agree, no schema can say: these may be refused with 400.
UNCHECKED = {
    "/v1/verdict": [positive_data_acceptance],
    "/v1/observations": [positive_data_acceptance],
    "/readyz": [not_a_server_error],  # not ready is 503, and no model is here
}
CASES = [
    (path, method, mode)
    for path, item in openapi.document()["paths"].items()
    for method in item
    for mode in GenerationMode
    if mode.is_positive or method == "post"  # a GET takes nothing that could be wrong
]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    made = Setup(tmp_path_factory.mktemp("openapi"))
    yield made
    asyncio.run(made.client.aclose())
    made.store.close()


@pytest.fixture(scope="module")
def schema(setup: Setup) -> Any:
    refused = {"expected-statuses": ["400", "401", "404", "405", "406", "413", "415", "5xx"]}  # 413: too many names
    config = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": refused}})
    return schemathesis.openapi.from_asgi("/openapi.json", application(setup.context), config=config)


@pytest.mark.parametrize("path, method, mode", CASES)
def test_every_answer_stands_in_the_document(
    schema: Any, setup: Setup, path: str, method: str, mode: GenerationMode
) -> None:
    operation = schema[path][method.upper()]
    token = setup.tokens["viewer" if path == "/metrics" else "resolver"].text

    @settings(max_examples=50, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(mode))
    def ask(case: Any) -> None:
        bearer = {"Authorization": f"Bearer {token}"}
        case.call_and_validate(headers=bearer, excluded_checks=UNCHECKED.get(path))

    ask()
