"""The lists page: what it says where there is nothing, and where an action met an error."""

from typing import Any

import pytest

from dashboard.pages.lists import Lists
from tests.dashboard_stage import Stage
from verdicts.store import Document

pytestmark = pytest.mark.anyio


async def test_an_action_that_meets_an_error_is_told_and_logged(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = await stage.open(Lists)

    async def broken(*_: Any) -> Any:
        raise KeyError("entries")

    for call in (broken, _empty):  # before it was done, and in what it was answered
        monkeypatch.setattr(page.context.control, "import_list", call)
        page.file.value = b"one.example.org"
        await page.import_file()
        assert stage.told.pop() == (
            "This page met an error; it may be done all the same. The server's log tells more.", "error",
        )  # fmt: skip
        assert "KeyError: 'entries'" in caplog.text and not stage.told
        caplog.clear()


async def _empty(*_: Any) -> Any:
    return {}


async def test_of_a_pasted_list_what_is_no_name_stays_in_the_field_and_the_rest_is_added(stage: Stage) -> None:
    page = await stage.open(Lists)
    page.note.value = "campaign"
    page.names.value = "one.example.org\nnot..fine  # typed\n\ntwo.example.org\ncom\n\U0001f4a9.la"
    await page.add()
    listed = ["one.example.org", "two.example.org", "xn--ls8h.la"]
    assert [d.key for d in stage.store.scan("list")] == [f"blocklist/{name}" for name in listed]
    assert stage.told == [("3 on the blocklist", "success")]
    assert page.names.value == "not..fine  # typed\ncom" and page.note.value == "campaign"
    told = page.refused.text
    assert page.refused.visible and told.startswith("2 lines are no names; left in the field, the rest is added. ")
    assert "line 1: name 'not..fine': empty label" in told and "line 2: name 'com': a public suffix" in told
    page.names.value = "not.fine.example.org"
    await page.add()
    assert (page.names.value, page.note.value, page.refused.visible) == ("", "", False)


async def test_of_many_lines_that_are_no_names_some_are_told_and_all_stay(stage: Stage) -> None:
    page = await stage.open(Lists)
    page.names.value = "one.example.org\n" + "a..b\n" * 9
    await page.add()
    assert page.names.value.splitlines() == ["a..b"] * 9
    assert "line 5: " in page.refused.text and page.refused.text.endswith("empty label; and 4 more.")


async def test_of_a_text_that_is_no_list_nothing_is_added(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdicts.list_formats.MAX_ERRORS", 3)
    page = await stage.open(Lists)
    page.names.value = pasted = "one.example.org\n" + "a..b\n" * 4
    await page.add()
    assert page.names.value == pasted and list(stage.store.scan("list")) == []
    assert page.refused.text.startswith("4 lines are no names; nothing is added. line 2: ")


async def test_names_that_were_not_added_stay_all(stage: Stage) -> None:
    page = await stage.open(Lists, "viewer")
    page.names.value = pasted = "one.example.org\na..b"
    await page.add()
    assert page.names.value == pasted and not page.refused.visible and stage.told[-1][1] == "error"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({}, "No entry. Add names here, or decide on them where you meet them."),
        ({"contains": "nothinghere"}, "No entry contains 'nothinghere'."),
        ({"list": "benign", "contains": "tracker"}, "No entry on the allowlist contains 'tracker'."),
        ({"list": "benign"}, "No entry on the allowlist. Add names here, or decide on them where you meet them."),
    ],
)
async def test_a_search_that_finds_nothing_does_not_say_that_nothing_is_listed(
    stage: Stage, query: dict[str, str], says: str
) -> None:
    if query:
        stage.store.commit([Document("list", "blocklist/tracker.example.net", {})], "ada")
    page = await stage.open(Lists, **query)
    assert (page.table.rows, page.table.empty) == ([], says)


async def test_a_search_that_looked_at_some_says_that_it_was_some(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.pages.lists.SEARCHED", 2)
    stage.store.commit([Document("list", f"blocklist/{name}.example.net", {}) for name in "abc"], "ada")
    page = await stage.open(Lists, contains="c.exa")
    assert page.table.empty == "None of these contains 'c.exa'."
    assert page.table.note == "of the first 2 entries; a whole name finds any"
