"""The incidents page: what it says where there is none, and where its chart leads."""

import pytest

from dashboard.pages.clients import Clients
from dashboard.pages.incidents import NONE, Incidents
from tests.dashboard_stage import MINUTE, Stage
from verdicts.store import Document

pytestmark = pytest.mark.anyio


async def test_where_none_is_of_a_state_it_does_not_say_that_there_is_no_incident(stage: Stage) -> None:
    page = await stage.open(Incidents)
    assert page.table.empty == NONE
    stage.store.commit([Document("incident", "one", {"client": "192.0.2.31", "state": "open"})], "cluster")
    stage.data.decided()
    page = await stage.open(Incidents, state="closed")
    assert (page.table.rows, page.table.empty) == ([], "No incident is closed.")


async def test_a_bar_of_an_incident_leads_to_its_clients_page_of_that_interval(stage: Stage) -> None:
    body = {"client": "2001:db8::31", "state": "open", "start": stage.now - 9 * MINUTE, "end": stage.now}
    stage.store.commit([Document("incident", "one", body)], "cluster")
    page = await stage.open(Incidents, id="one")
    page.chart.receive({"action": "interval", "start": 60_000, "end": 120_000})
    assert stage.went == ["/clients?client=2001%3Adb8%3A%3A31&range=custom&start=60000&end=120000"]


async def test_a_bar_of_a_clients_chart_becomes_the_range(stage: Stage) -> None:
    page = await stage.open(Clients, client="192.0.2.31")
    page.chart.receive({"action": "interval", "start": 60_000, "end": 120_000})
    assert page.filters.span() == (60_000, 120_000)
    assert stage.went == ["/clients?range=custom&start=60000&end=120000&client=192.0.2.31"]
