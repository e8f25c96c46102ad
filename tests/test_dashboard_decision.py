"""The dialog that decides on names, and the strip that tells what became of it."""

import asyncio
import time
from typing import Any

import pytest

from dashboard import decision
from dashboard.pages.queries import Queries
from tests.dashboard_stage import Stage
from verdicts.store import Document

pytestmark = pytest.mark.anyio


async def test_what_overrules_a_decision_is_told_of_its_names_and_not_of_those_asked_about_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.store.commit([Document("list", "benign/a.example.net", {})], "ada")
    page = await stage.open(Queries)
    follow = page.decision.force.follow

    async def followed(epoch: int) -> None:
        await follow(epoch)
        page.decision.ask(["a.example.net"], "blocklist")  # the next one, before all is told of this one

    monkeypatch.setattr(page.decision.force, "follow", followed)
    page.decision.ask(["b.example.net"], "honeypot")
    await page.decision.submit()
    assert page.decision.force.notice.kind == "good", page.decision.force.notice.text


async def test_of_two_decisions_in_a_row_the_strip_tells_how_the_second_fares(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await stage.open(Queries)
    force, known = page.decision.force, 1
    told: list[str] = []

    async def status() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"resolvers": [{"epoch": known, "time": int(time.time() * 1000)}]}

    monkeypatch.setattr(decision, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(page.context.control, "status", status)
    force.notice.param.watch(lambda event: told.append(event.new), "kind")
    first = asyncio.create_task(force.follow(1))
    await asyncio.sleep(0)
    second = asyncio.create_task(force.follow(2))
    await first
    await asyncio.sleep(0.2)
    assert "good" not in told and force.notice.text == "In force at 0 of 1 resolvers\u2026"
    known = 2
    await second
    assert force.notice.kind == "good"
