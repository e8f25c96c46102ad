"""serve_app/control_lists.py and control_vetting.py: a long list is searched and told to its end, beside the frames."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deployments import analyst
from model.registry import Registry
from model.replay import Replay
from serve_app import control_lists, control_models, control_vetting
from serve_app.control_desk import SEARCHES_LET_IN, SEARCHES_OF_ONE, Desk
from serve_app.wire import WireError
from tests.control_setup import Setup
from tests.model_fixtures import write
from verdicts.incidents import Incident
from verdicts.observations import Batch, Observation
from verdicts.records import records_of
from verdicts.store import Document

pytestmark = pytest.mark.anyio

NAMES = [f"n{number}.example-shop.com" for number in range(5)]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


async def imported(setup: Setup, names: list[str] = NAMES) -> None:
    await setup.good("POST", "/v1/lists/import", {"list": "blocklist", "text": "\n".join(names)})


async def test_a_search_goes_on_behind_what_one_page_looks_through(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_lists, "MAX_SCAN", 2)
    await imported(setup)
    found, after = [], ""
    while after is not None:
        page = await setup.good("GET", f"/v1/lists?contains=n4&after={after}")
        found += [entry["suffix"] for entry in page["entries"]]
        after = page["after"]
    assert found == [NAMES[4]]


async def test_an_export_holds_the_whole_list(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_lists, "MAX_SCAN", 2)
    await imported(setup)
    assert (await setup.good("GET", "/v1/lists/export?list=blocklist"))["text"].split() == NAMES


async def test_who_removes_what_is_not_there_is_told(setup: Setup) -> None:
    await imported(setup, NAMES[:1])
    assert (await setup.good("DELETE", f"/v1/lists/blocklist/{NAMES[1]}"))["absent"] == [NAMES[1]]
    assert (await setup.good("DELETE", f"/v1/lists/blocklist/{NAMES[0]}"))["absent"] == []
    assert (await setup.good("GET", "/v1/lists"))["entries"] == []


async def test_a_decision_that_would_be_over_already_is_refused(setup: Setup) -> None:
    decisions = [{"name": NAMES[0], "list": "blocklist", "expires": int(time.time() * 1000) - 1}]
    reply = await setup.ask("POST", "/v1/vetting", {"decisions": decisions})
    assert reply.status_code == 400 and "after now" in reply.json()["message"]


async def test_an_import_leaves_out_what_has_expired_and_takes_the_rest(setup: Setup) -> None:
    text = f"suffix,note,expires\n{NAMES[0]},old,1600000000000\n{NAMES[1]},,\n"
    answer = await setup.good("POST", "/v1/lists/import", {"list": "blocklist", "form": "csv", "text": text})
    assert (answer["entries"], answer["left_out"], answer["problems"][0]["line"]) == (1, 1, 2)
    assert "expired" in answer["problems"][0]["reason"]


@pytest.mark.parametrize("form", ["export", "vetting", "labels", "replay"])
async def test_what_takes_long_holds_up_no_frame(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    Registry(tmp_path / "models").add(write(tmp_path / "made", "v1"))
    threads: list[int] = []

    def noted(act: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any) -> Any:
            threads.append(threading.get_ident())
            return act(*arguments)

        return noting

    monkeypatch.setattr(control_lists, "ranked", noted(control_lists.ranked))
    monkeypatch.setattr(control_vetting, "typed", noted(control_vetting.typed))
    monkeypatch.setattr(control_models, "is_popular", noted(control_models.is_popular))
    monkeypatch.setattr(analyst, "ask", lambda *_: msgspec.to_builtins(Replay()))
    now = int(time.time() * 1000)
    row = Observation(NAMES[0], "A", "192.0.2.1", "benign", now, now, source="model")
    setup.store.append(list(records_of(Batch("the-resolver", "0" * 32, 1, rows=[row]))))
    await setup.good(
        *{
            "export": ("GET", "/v1/lists/export?list=prevalence"),
            "vetting": ("POST", "/v1/vetting", {"decisions": [{"name": NAMES[0]}]}),
            "labels": ("POST", "/v1/labels", {"labels": [{"name": NAMES[0], "label": "benign"}]}),
            "replay": ("POST", "/v1/models/v1/replay", {}),
        }[form]
    )
    assert threads and threading.get_ident() not in threads


INCIDENT = Incident("generated-names", "192.0.2.1", "", 1, 2, [], 1, 1, "", [])
SETTLED = {"name": "x", "list": None, "label": "benign", "note": "", "author": "ann", "time": 1, "expires": None}
TAUGHT = {"name": "x", "label": "benign", "author": "ann", "time": 1}


@pytest.mark.parametrize(
    ("path", "held", "kind", "body"),
    [
        ("vetting", "decisions", "vetting", SETTLED),
        ("labels", "labels", "label", TAUGHT),
        ("incidents", "incidents", "incident", msgspec.to_builtins(INCIDENT)),
    ],
)
async def test_what_stands_behind_a_page_is_reached_by_the_next(
    setup: Setup, path: str, held: str, kind: str, body: dict[str, Any]
) -> None:
    setup.store.commit([Document(kind, name, body) for name in NAMES], "ann")
    found, after = [], ""
    while after is not None:
        page = await setup.good("GET", f"/v1/{path}?prefix=n&limit=2&after={after}")
        found += [each["key"] for each in page[held]]
        after = page["after"]
    assert found == NAMES


async def test_a_decision_waits_for_no_search_and_too_many_searches_are_refused(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def slow(*arguments: Any) -> Iterator[Document]:
        let_go.wait()
        return iter(())

    monkeypatch.setattr(type(setup.store), "scan", slow)
    viewer = [asyncio.create_task(setup.ask("GET", "/v1/lists?contains=n", role="viewer")) for _ in range(60)]
    await asyncio.wait(viewer, timeout=2)
    refused = [task.result() for task in viewer if task.done()]
    assert {(reply.status_code, reply.headers["Retry-After"]) for reply in refused} == {(503, "1")}
    other = asyncio.create_task(setup.ask("GET", "/v1/vetting", role="analyst"))
    try:
        async with asyncio.timeout(20):
            paused = await setup.ask("POST", "/v1/policy/pause", {"paused": True}, "analyst")
            revoked = await setup.ask("DELETE", f"/v1/tokens/{setup.tokens['resolver'].document.key}")
    finally:
        let_go.set()
    assert paused.status_code == revoked.status_code == 200
    answers = [reply.status_code for reply in await asyncio.gather(*viewer)]
    assert answers.count(200) == SEARCHES_OF_ONE and len(answers) == SEARCHES_OF_ONE + len(refused)
    assert (await other).status_code == 200  # a person's many leave places to others
    assert (await setup.ask("GET", "/v1/lists", role="viewer")).status_code == 200  # all places are free again


async def test_a_search_whose_caller_hung_up_keeps_no_place(setup: Setup) -> None:
    desk, let_go = Desk(setup.contexts[0]), threading.Event()
    searches = [
        asyncio.create_task(desk.search(f"p{number % 4}", lambda _: let_go.wait())) for number in range(SEARCHES_LET_IN)
    ]
    await asyncio.sleep(0)
    with pytest.raises(WireError, match="too many searches"):
        await desk.search("other", lambda _: True)
    for search in searches:
        search.cancel()
    await asyncio.wait(searches)
    waiting = asyncio.create_task(desk.search("other", lambda _: True))  # let in: only those at work still count
    await asyncio.sleep(0)
    let_go.set()
    assert await waiting
