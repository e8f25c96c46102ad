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
