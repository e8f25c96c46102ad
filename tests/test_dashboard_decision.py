"""The dialog that decides on names, and the strip that tells what became of it."""

import pytest

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
