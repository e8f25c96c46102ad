"""The models' page: what it shows while the control API fails for a while, or knows no such model or job."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dashboard.client import Client
from dashboard.model_detail import Detail
from dashboard.pages.models import Models
from dashboard.sample_control import EPOCH_S, SampleControl
from model.jobs import BadSettings, parse
from tests.dashboard_stage import Stage

pytestmark = pytest.mark.anyio


class Failing(SampleControl):
    """Refuses some paths."""

    refused: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith(self.refused):
            return httpx.Response(503, json={"code": "unavailable", "message": f"{request.url.path}: not now"})
        reply = await super().handle_async_request(request)
        if request.method == "POST" and self.notices:
            return httpx.Response(200, json={**reply.json(), "notices": self.notices})
        return reply


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[tuple[Stage, Failing]]:
    stage = Stage(tmp_path, traffic=False)
    transport = Failing(stage.store)
    stage.client = Client("http://verdict", lambda: "token", transport)
    yield stage, transport
    await stage.close()


async def test_a_job_is_watched_on_after_the_control_api_was_away(control: tuple[Stage, Failing]) -> None:
    stage, transport = control
    page = await stage.open(Models)
    await page.train()
    number = page.job
    await page.reload()
    assert page.detail.loss.series
    for refused in (f"/v1/jobs/{number}", "/v1/"):
        transport.refused = (refused,)
        await page.reload()
        assert page.trouble.visible and "not now" in page.trouble.text
        assert page.job == number and page.detail.loss.series
    transport.refused = ()
    await page.reload()
    assert not page.trouble.visible and page.jobs.rows[page.jobs.selected]["id"] == number


async def test_of_a_job_that_is_watched_what_is_new_is_asked_for(control: tuple[Stage, Failing]) -> None:
    stage, transport = control
    page, asked = await stage.open(Models), []
    clock, answered = transport._clock, transport._jobs

    def jobs(method: str, rest: list[str], body: dict[str, Any], author: str) -> Any:
        if method == "GET" and rest:
            asked.append(int(body["after"]))
        return answered(method, rest, body, author)

    async def shown(number: str) -> int:
        """The points of its curve, once it is there."""
        while page.detail.facts.heading != f"Job {number}":
            await page.reload()
        await page.reload()
        return len(page.detail.loss.series[0]["points"])

    transport._jobs = jobs  # type: ignore[method-assign]
    await page.train()
    number = page.job
    known = await shown(number)
    transport._clock = lambda: clock() + 2 * EPOCH_S
    asked.clear()
    assert await shown(number) == await shown(number) == known + 2 and asked == [known, known + 2]
    page._open_job("20261122-101500-a1b2c3")  # another is asked for from its beginning
    await shown(page.job)
    page._open_job(number)
    asked.clear()
    assert await shown(number) == known + 2 and asked[0] == 0


def test_beside_the_curves_of_a_job_stands_what_its_history_says_of_it() -> None:
    detail = Detail()
    detail.show_job("j1", {"history": [{"notice": "1 older ones do not"}, {"step": 1, "loss": 0.5}]})
    assert {"label": "To be known", "value": "1 older ones do not"} in detail.facts.facts


async def test_beside_the_curves_of_a_job_stand_no_figures_of_a_model(control: tuple[Stage, Failing]) -> None:
    stage, _ = control
    page = await stage.open(Models)
    detail = page.detail
    assert detail.confusion.rows and detail.fixed.rows and detail.reliable.series
    page.job = "20261122-101500-a1b2c3"
    await page.reload()
    told = {(fact["label"], fact["value"]) for fact in detail.facts.facts}
    assert detail.facts.heading == f"Job {page.job}" and ("State", "running") in told
    assert (detail.confusion.rows, detail.fixed.rows, detail.reliable.series) == ([], [], [])
    page.job, page.version = "", "seed"
    await page.reload()
    assert detail.facts.heading == "Model seed" and detail.confusion.rows


async def test_a_cancelled_training_is_resumed(control: tuple[Stage, Failing]) -> None:
    page = await control[0].open(Models)
    page.form.kind.value, page.form.data.value = "train", "/srv/lists"
    await page.train()
    number = page.job

    async def seen(state: str) -> dict[str, Any]:
        while True:
            await page.reload()  # another one, begun by what was pressed, may come before it
            for row in page.jobs.rows:
                if (row["id"], row["state"]) == (number, state):
                    return row

    assert (await seen("running"))["resumable"] is False
    await page.cancel(number)
    assert (await seen("cancelled"))["resumable"] is True
    await page.resume(number)
    await seen("running")


async def test_a_training_goes_on_from_a_model_of_the_registry_and_what_the_checks_refuse_is_told(
    control: tuple[Stage, Failing], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, transport = control
    page = await stage.open(Models)
    form = page.form
    form.kind.value, form.data.value, form.more.value = "train", "/srv/names", True
    assert list(form.begin.options) == ["from nothing", "cnn-2026-11-20"]
    form.begin.value, form.head.value, form.teachers.value = "cnn-2026-11-20", "generated", ["cnn-2026-11-20"]
    asked: list[dict[str, Any]] = []

    async def checked(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked.append(json.loads(request.content)["settings"])
            try:
                parse({"kind": "train", **asked[-1]})
            except BadSettings as error:
                return httpx.Response(400, json={"code": "malformed", "message": str(error)})
        return await Failing.handle_async_request(transport, request)

    monkeypatch.setattr(transport, "handle_async_request", checked)
    await page.train()
    assert stage.told == [("training settings: head generated, expected a start, and no teachers", "error")]
    form.teachers.value = []
    await page.train()
    assert stage.told[-1] == ("Training started", "success") and page.job
    assert (asked[-1]["start"], asked[-1]["head"]) == ("cnn-2026-11-20", "generated")


async def test_what_is_to_be_known_of_a_model_is_told_when_it_begins_to_serve(control: tuple[Stage, Failing]) -> None:
    stage, transport = control
    transport.notices = ("seed never blocks: it has no bound",)
    page = await stage.open(Models)
    await page.promote("seed")
    await page.roll_back()
    await page.replay("seed")
    told = [text for text, kind in stage.told[:2]] + [page.replayed.note]
    assert [text.rpartition("; ")[2] for text in told] == ["seed never blocks: it has no bound"] * 3


async def test_a_replay_that_is_refused_says_why_and_leaves_no_empty_table(control: tuple[Stage, Failing]) -> None:
    stage, transport = control
    page = await stage.open(Models)
    transport.refused = ("/v1/models/seed/replay",)
    await page.replay("seed")
    assert not page.replayed.visible and stage.told == [("/v1/models/seed/replay: not now", "error")]


@pytest.mark.parametrize("query", [{"version": "gone"}, {"job": "gone"}, {"compare": "gone,seed"}])
async def test_what_is_gone_is_told_once_and_not_at_each_beat(
    control: tuple[Stage, Failing], query: dict[str, str]
) -> None:
    stage, transport = control
    transport.refused = ("/v1/models/gone", "/v1/jobs/gone")
    page = await stage.open(Models, **query)
    for _ in range(6):
        await page.beat()
    assert page.trouble.visible and "gone: not now" in page.trouble.text and stage.told == []
    assert len(page.models.rows) == 2
