"""Why something was changed: the reason goes with the one change that it was typed for."""

import pytest

from dashboard.pages.enforcement import Enforcement
from dashboard.pages.lists import Lists
from tests.dashboard_stage import Stage

pytestmark = pytest.mark.anyio


async def test_the_reason_of_one_change_of_the_policy_is_not_the_next_ones(stage: Stage) -> None:
    page = await stage.open(Enforcement)
    page.note.value = "reason one"
    await page.switch("monitor", "192.0.2.0/24")
    await page.pause(True)
    assert [change.note for change in stage.store.history("policy", "policy", 9)] == ["", "reason one"]


async def test_the_reason_of_what_was_refused_stays_to_be_sent_again(stage: Stage) -> None:
    page = await stage.open(Enforcement, "analyst")
    page.note.value = "reason one"
    await page.switch("monitor", "192.0.2.0/24")
    assert stage.told[-1][1] == "error" and page.note.value == "reason one"


async def test_the_reason_of_one_list_entry_is_not_the_next_ones(stage: Stage) -> None:
    page = await stage.open(Lists)
    for name, note in (("one.example.org", "reason one"), ("two.example.org", "")):
        page.names.value = name
        page.note.value = note or page.note.value
        await page.add()
    page.note.value = "reason three"
    for name in (b"three.example.org", b"four.example.org"):
        page.file.value = name
        await page.import_file()
    notes = {d.key.partition("/")[2].partition(".")[0]: d.note for d in stage.store.scan("list")}
    assert notes == {"one": "reason one", "two": "", "three": "reason three", "four": ""}
