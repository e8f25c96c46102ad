"""Vetting, left and come back to: a name is looked up in between, and the work goes on where it was."""

import pytest

from dashboard.page import Context
from dashboard.pages.vetting import Vetting
from tests.dashboard_stage import MINUTE, Stage
from tests.stores import observation, records
from verdicts.store import Document

pytestmark = pytest.mark.anyio


async def entered(context: Context, alone: str = "1") -> Vetting:
    """The page, as a session makes it anew each time."""
    page = Vetting(context, {"alone": alone})
    page.view()
    await page.start()
    return page


async def test_who_comes_back_finds_the_place_the_note_the_length_and_the_undo(stage: Stage) -> None:
    context = stage.context()
    page = await entered(context)
    page.note.value, page.duration.value = "seen in the morning round", "7 days"
    decided = page.table.rows[0]["key"]
    await page.decide("e", [decided])
    page.table.selected = 3
    name = page.table.rows[3]["key"]
    page._message({"action": "key", "key": "o", "index": 3, "rows": [page.table.rows[3]]})
    assert stage.went[-1] == f"/lookup?q={name}"
    page.stop()
    page = await entered(context)
    assert page.table.rows[page.table.selected]["key"] == name
    assert (page.note.value, page.duration.value) == ("seen in the morning round", "7 days")
    await page.undo()
    assert page.table.rows[page.table.selected]["key"] == decided and stage.store.get("label", decided) is None


async def test_whose_name_was_decided_meanwhile_goes_on_at_its_row(stage: Stage) -> None:
    context = stage.context()
    page = await entered(context)
    page.table.selected = 2
    name, following = [row["key"] for row in page.table.rows[2:4]]
    page.stop()
    stage.store.commit([Document("list", f"blocklist/{name}", {})], "ada")
    stage.data.decided()
    page = await entered(context)
    assert page.table.rows[page.table.selected]["key"] == following


async def test_a_group_that_was_opened_is_open_still(stage: Stage) -> None:
    bad = {"tier": "alert", "label": "malicious", "score": 0.9}
    rows = [observation(f"pay{number}.shop.example.com", stage.now - MINUTE, **bad) for number in range(1, 4)]
    stage.store.append(records(rows))
    context = stage.context()
    page = await entered(context, alone="0")
    page.open_group(next(at for at, row in enumerate(page.table.rows) if row["key"].endswith("shop.example.com")))
    page.stop()
    page = await entered(context, alone="0")
    assert len([row for row in page.table.rows if row["key"].endswith("shop.example.com")]) == 3


async def test_another_tab_begins_at_the_top_with_nothing_to_undo(stage: Stage) -> None:
    page = await entered(stage.context())
    page.table.selected = 2
    await page.decide("e", [page.table.rows[0]["key"]])
    page.stop()
    page = await entered(stage.context())
    assert (page.table.selected, page.note.value) == (0, "")
    await page.undo()
    assert stage.told[-1][0].startswith("Nothing to undo on this visit")


@pytest.mark.parametrize(("daily", "names"), [("9" * 5000, 500), ("20", 20), ("0", 1), ("-1", 50), ("many", 50)])
async def test_an_address_with_any_number_a_day_is_a_page(stage: Stage, daily: str, names: int) -> None:
    assert Vetting(stage.context(), {"daily": daily}).daily.value == names
