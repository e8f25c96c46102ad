"""Whatever goes wrong with a change, the person is told, nothing is shown as done, and the same key or button works."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from dashboard.components import Nav
from dashboard.data import Failure
from dashboard.pages.enforcement import Enforcement
from dashboard.pages.incidents import Incidents
from dashboard.pages.vetting import Vetting
from dashboard.views import SavedViews
from tests.dashboard_stage import Stage
from verdicts.store import Document

pytestmark = pytest.mark.anyio

Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


async def gone(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


async def silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too long")


async def puts_off(request: httpx.Request) -> httpx.Response:
    return httpx.Response(503, json={"error": {"code": "unavailable", "message": "the store puts it off"}})


async def page_in_between(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="<html>log in</html>")


async def unforeseen(request: httpx.Request) -> httpx.Response:
    raise RuntimeError("nobody thought of this")


FAULTS = [gone, silent, puts_off, page_in_between, unforeseen]


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.__name__)
def fault(request: pytest.FixtureRequest) -> Answer:
    answer: Answer = request.param
    return answer


def failing(stage: Stage, answer: Answer) -> Callable[[], None]:
    """Have the control API answer so; what is returned has it answer as it does."""
    stage.transport.handle_async_request = answer  # type: ignore[method-assign]
    return lambda: delattr(stage.transport, "handle_async_request")


async def test_a_vetting_key_whose_decision_fails_is_told_and_decides_when_pressed_again(
    stage: Stage, fault: Answer
) -> None:
    page = await stage.open(Vetting, alone="1")
    name = page.table.rows[0]["key"]
    mend = failing(stage, fault)
    await page.decide("b", [name])
    assert stage.told[-1][1] == "error" and len(stage.told) == 1
    assert name in [row["key"] for row in page.table.rows] and not page.force.notice.visible and not page.kept.past
    mend()
    await page.decide("b", [name])
    assert stage.told[-1] == (f"block: {name}", "success") and stage.store.get("list", f"blocklist/{name}") is not None


async def test_an_undo_that_fails_is_told_and_works_when_pressed_again(stage: Stage, fault: Answer) -> None:
    page = await stage.open(Vetting, alone="1")
    name = page.table.rows[0]["key"]
    await page.decide("b", [name])
    mend = failing(stage, fault)
    await page.undo()
    assert stage.told[-1][1] == "error" and name not in [row["key"] for row in page.table.rows]
    mend()
    await page.undo()
    assert stage.told[-1] == (f"Undone: {name}", "success") and stage.store.get("list", f"blocklist/{name}") is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"list": "benign", "label": "benign"}, "allowlist and label benign"),
        ({"list": "blocklist", "label": None}, "blocklist"),
        ({"list": None, "label": "unsure"}, "label unsure"),
    ],
)
async def test_who_was_overtaken_is_told_by_whom_and_what_in_the_pages_words(
    stage: Stage, body: dict[str, str | None], said: str
) -> None:
    page = await stage.open(Vetting, alone="1")
    name = page.table.rows[0]["key"]
    stage.store.commit([Document("vetting", name, body)], "bob (the-analyst)")
    await page.decide("b", [name])
    assert stage.told[-1][0] == f"Not decided: bob was quicker on {name} ({said}). The queue is read again."


async def test_who_was_overtaken_is_told_so_also_while_the_store_gives_no_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await stage.open(Vetting, alone="1")
    name = page.table.rows[0]["key"]
    stage.store.commit([Document("vetting", name, {"list": "benign"})], "bob")

    async def away(*_: object) -> None:
        raise Failure("the store is away")

    monkeypatch.setattr(stage.data, "several", away)
    await page.decide("b", [name])
    assert stage.told[-1][1] == "warning" and stage.told[-1][0].startswith("Not decided: somebody changed one of these")


async def test_an_incident_whose_change_fails_keeps_its_note_and_tells(stage: Stage, fault: Answer) -> None:
    body = {"client": "192.0.2.31", "state": "open", "start": stage.now - 9, "end": stage.now, "names": []}
    stage.store.commit([Document("incident", "one", body)], "verdict")
    page = await stage.open(Incidents, id="one")
    page.note.value = "on it"
    mend = failing(stage, fault)
    await page.update({"state": "closed"})
    assert stage.told[-1][1] == "error" and page.note.value == "on it"
    mend()
    await page.update({"state": "closed"})
    assert stage.told[-1] == ("Saved: closed", "success") and page.note.value == ""


@pytest.mark.parametrize("what", ["switch", "pause"])
async def test_a_switch_of_mode_that_fails_is_told(stage: Stage, fault: Answer, what: str) -> None:
    page = await stage.open(Enforcement)
    mend = failing(stage, fault)
    await (page.pause(True) if what == "pause" else page.switch("enforce", "192.0.2.0/24"))
    assert stage.told[-1][1] == "error" and not page.force.notice.visible
    mend()


async def test_a_view_that_could_not_be_saved_is_told(stage: Stage, fault: Answer) -> None:
    context = stage.context()
    views = SavedViews(Nav(url="/", items=[]), stage.data, context.control, context.tell)
    mend = failing(stage, fault)
    await views.save("mine", "/queries")
    assert stage.told[-1][1] == "error"
    mend()
    await views.save("mine", "/queries")
    assert stage.told[-1] == ("Saved: mine", "success")
