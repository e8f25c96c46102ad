"""The lists page: what it says where there is nothing, and where an action met an error."""

from typing import Any

import pytest

from dashboard.pages.lists import Lists
from tests.dashboard_stage import Stage

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
