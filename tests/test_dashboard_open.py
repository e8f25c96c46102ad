"""Pages that stay open: others decide meanwhile, the cluster goes away and comes back."""

import httpx
import pytest

from dashboard.client import Client
from dashboard.page import Page
from dashboard.pages.enforcement import Enforcement
from dashboard.pages.health import Health
from dashboard.pages.lookup import Lookup
from dashboard.pages.models import Models
from dashboard.pages.vetting import Vetting
from tests.dashboard_stage import Stage

pytestmark = pytest.mark.anyio

NAME = "tracker.nobodys-zone.org"  # none of the special-use names, of which the model is not asked


class Reached(httpx.AsyncBaseTransport):
    """The control API of a stage, which cannot be reached while `away`."""

    def __init__(self, stage: Stage) -> None:
        self.away, self._inner, self.explained = False, stage.transport, 0
        token = stage.setup.tokens["admin"].text
        stage.client = Client("http://verdict", lambda: token, self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("connection refused")
        self.explained += request.url.path == "/v1/explain"
        return await self._inner.handle_async_request(request)


async def beats(page: Page, seconds: int) -> None:
    for _ in range(seconds):
        await page.beat()


async def test_the_verdict_of_a_page_that_stays_open_is_the_one_of_now(stage: Stage) -> None:
    reached = Reached(stage)
    page = await stage.open(Lookup, q=NAME)
    assert page.why.facts[1]["value"] == "model"
    await beats(page, 12)
    assert reached.explained == 1  # nothing was decided
    others = stage.client.as_user("bob", "analyst", stage.data.decided)
    await others.add([{"list": "blocklist", "suffix": NAME, "expires": None}], "by another")
    await beats(page, 6)
    assert [row["list"] for row in page.entries.rows] == ["blocklist"]
    assert page.why.facts[1]["value"] == "blocklist"
    await beats(page, 12)
    assert reached.explained == 2


async def test_a_look_up_begun_while_the_cluster_was_away_tells_the_verdict_once_it_is_back(stage: Stage) -> None:
    reached = Reached(stage)
    reached.away = True
    page = await stage.open(Lookup, q=NAME)
    assert not page.characters.characters and "connection refused" in page.characters.empty
    reached.away = False
    await beats(page, 6)
    assert page.characters.characters and page.why.facts[0]["label"] == "Now"


async def test_no_verdict_stands_beside_a_name_that_it_is_not_of(stage: Stage) -> None:
    reached = Reached(stage)
    page = await stage.open(Vetting, alone="1")
    await page.explain()
    assert page.why.facts
    reached.away = True
    page.table.selected = 1
    await page.explain()
    assert not page.why.facts and "connection refused" in page.characters.empty


async def test_the_policy_shown_is_the_one_of_now(stage: Stage) -> None:
    reached = Reached(stage)
    reached.away = True
    page = await stage.open(Enforcement)
    assert not page.policy.facts and "connection refused" in page.policy.empty
    reached.away = False
    await beats(page, page.beat_seconds)
    assert page.policy.facts[0]["value"] == "as each resolver is set"
    await stage.client.as_user("bob", "admin").pause(True, "by another")
    await beats(page, page.beat_seconds)
    assert page.policy.facts[0]["value"] == "paused"


async def test_what_nobody_can_tell_is_not_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.trainer.jobs", lambda _: [])  # an actor's word, and there is no Ray
    reached = Reached(stage)
    health = await stage.open(Health)
    health.deployments.rows = [{"name": "Ingress", "status": "good", "replicas": "1 running"}]  # of before
    reached.away = True
    await health.reload()
    assert not health.deployments.rows and "does not answer" in health.deployments.empty
    models = await stage.open(Models)
    assert models.trouble.visible and "not known" in models.models.empty.lower() == models.jobs.empty.lower()
    reached.away = False
    await models.reload()
    assert not models.trouble.visible and models.jobs.empty == "Nothing was trained yet."
