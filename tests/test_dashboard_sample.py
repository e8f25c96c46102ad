"""The made-up control API of the demonstration: it answers the pages as the real one does, refusals too."""

import pytest

from dashboard.client import Client
from dashboard.components import Component
from dashboard.pages.enforcement import Enforcement
from dashboard.pages.health import Health
from dashboard.pages.incidents import Incidents
from dashboard.pages.lists import Lists
from dashboard.pages.models import Models
from dashboard.sample_control import SampleControl
from tests.dashboard_stage import Stage

pytestmark = pytest.mark.anyio


@pytest.fixture
def sample(stage: Stage) -> Stage:
    stage.client = Client("http://verdict", lambda: "token", SampleControl(stage.store))
    return stage


async def test_a_file_is_imported_and_what_is_no_name_is_told(sample: Stage) -> None:
    page = await sample.open(Lists)
    page.file.value = b"suffix,note,expires\none.example.org,hello,\nnot..fine,,\n"
    await page.import_file()
    assert sample.told[0] == ("1 imported into the blocklist", "success") and "1 line is no name" in page.refused.text
    [row] = page.table.rows
    assert (row["suffix"], row["note"]) == ("one.example.org", "hello")
    page.file.value = b"not..fine"
    await page.import_file()
    assert sample.told[-1][1] == "error" and "empty label" in sample.told[-1][0]


async def test_health_says_of_a_pause_what_the_enforcement_report_says(sample: Stage) -> None:
    report = await sample.open(Enforcement)
    await report.pause(True)
    health = await sample.open(Health)
    assert report.policy.facts[0] in health.store.facts


async def test_a_prefix_that_is_none_is_refused(sample: Stage) -> None:
    page = await sample.open(Enforcement)
    await page.switch("monitor", "gibberish")
    assert sample.told[-1][1] == "error" and "'gibberish': expected an address or a prefix" in sample.told[-1][0]
    assert sample.store.get("policy", "policy") is None


@pytest.mark.parametrize("query", [{"version": "nosuch"}, {"compare": "nosuch,seed"}, {"job": "nosuch"}])
async def test_what_there_is_not_is_told_beside_what_there_is(sample: Stage, query: dict[str, str]) -> None:
    page = await sample.open(Models, **query)
    parts: list[Component] = list(page.parts())
    assert {part.status["kind"] for part in parts} == {"ready"} and len(page.models.rows) == 2
    assert page.trouble.visible and "'nosuch'" in page.trouble.text


async def test_an_incident_that_there_is_not_is_not_made(sample: Stage) -> None:
    page = await sample.open(Incidents)
    reply = await page.act(page.context.control.update_incident("nope-1", {"state": "closed"}, "", 0), "done")
    assert reply is None and "no such incident" in sample.told[-1][0]
    assert sample.store.get("incident", "nope-1") is None
