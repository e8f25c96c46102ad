"""`/v1/models`: what a candidate is asked before it serves; and `/v1/explain`."""

import asyncio
import math
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deployments import analyst
from model.registry import Registry
from model.replay import Replay
from model.retrain import manifest_of
from serve_app import control_models
from serve_app.control_desk import REPLAYS_LET_IN
from tests.control_setup import Setup
from tests.model_fixtures import manifest, write
from verdicts.observations import Batch, Observation
from verdicts.records import records_of
from verdicts.store import Unavailable

pytestmark = pytest.mark.anyio
UNDECIDED = [("popular", 90), ("rare", 1), ("ordinary", 5)]  # by any list


async def test_a_replay_asks_what_is_asked_most_and_what_scored_highest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, asked, now = Setup(tmp_path), [], int(time.time() * 1000)
    rows = [
        Observation(f"{name}.example-shop.com", "A", "192.0.2.1", label, now, now, count, source=source,
                    score=score, generated=score)
        for name, label, source, count, score in [
            ("popular", "benign", "model", 90, 0.001), ("ordinary", "benign", "model", 5, 0.002),
            ("rare", "malicious", "model", 1, 0.9), ("vetted", "benign", "model", 99, 0.0),
            ("listed", "benign", "benign-list", 99, 0.0)]
    ]  # fmt: skip
    setup.store.append(list(records_of(Batch("the-resolver", "0" * 32, 1, rows=rows))))
    await setup.good("POST", "/v1/lists/import", {"list": "prevalence", "form": "top", "text": "1,example-shop.com\n"})

    def ask(registry: str, what: str, *arguments: Any) -> dict[str, Any]:
        asked.append((what, *arguments))
        report: dict[str, Any] = msgspec.to_builtins(Replay())
        return report

    monkeypatch.setattr(analyst, "ask", ask)
    monkeypatch.setattr(control_models, "REPLAYED", 2)
    await setup.good("POST", "/v1/lists/import", {"list": "benign", "text": "vetted.example-shop.com"})
    setup.follow()
    Registry(tmp_path / "models").add(write(tmp_path / "made", "v1"))
    await setup.good("POST", "/v1/models/v1/replay", {})
    [(what, version, names, policy, popular)] = asked
    assert (what, version, policy) == ("replay", "v1", setup.contexts[0].follower.view.policy)
    assert names == [(f"{name}.example-shop.com", count) for name, count in UNDECIDED]
    assert popular == {name for name, _ in names}


async def test_a_registry_that_cannot_be_read_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")  # as where a disk is not mounted, or a bucket is away
    setup = Setup(tmp_path)
    train = {"kind": "train", "settings": {"data": "x", "start": "v1"}}
    asks = ("GET", "/v1/models", None), ("POST", "/v1/models/rollback", {}), ("POST", "/v1/jobs", train)
    for method, path, body in asks:
        reply = await setup.ask(method, path, body, "admin" if body == {} else "analyst")
        assert (reply.status_code, reply.json()["code"]) == (503, "unavailable"), reply.text
        assert f"{tmp_path}/models" in reply.json()["message"] and reply.headers["Retry-After"]


@pytest.mark.parametrize("name", ["history.jsonl", "evaluation.json", "model.keras"])
async def test_a_model_whose_folder_was_altered_is_not_shown(tmp_path: Path, name: str) -> None:
    setup, registry = Setup(tmp_path), Registry(tmp_path / "models")
    registry.add(write(tmp_path / "made", "v1"))
    assert (await setup.good("GET", "/v1/models/v1"))["manifest"]["version"] == "v1"
    (tmp_path / "models" / "v1" / name).write_text('{"loss": 0.1}\n{"lo')
    reply = await setup.ask("GET", "/v1/models/v1")
    assert reply.status_code == 409 and f"{name}: SHA-256" in reply.text


async def test_a_replay_of_an_unknown_model_reads_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, read = Setup(tmp_path), list[Any]()
    monkeypatch.setattr(type(setup.contexts[0].follower._store), "frequent", lambda *arguments: read.append(arguments))
    reply = await setup.ask("POST", "/v1/models/v9/replay", {})
    assert (reply.status_code, reply.json()["message"], read) == (404, "model 'v9': expected one of none yet", [])


async def test_of_a_model_that_a_replay_looks_for_no_file_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, hashed = Setup(tmp_path), list[Path]()
    write(tmp_path / "models", "v1")
    monkeypatch.setattr("model.artifact.digest", lambda file: (hashed.append(file), "")[1])
    monkeypatch.setattr("deployments.analyst.ask", lambda *_: msgspec.to_builtins(Replay()))
    await setup.good("POST", "/v1/models/v1/replay", {})
    assert hashed == []


@pytest.mark.parametrize("times", [{"start": 5, "end": 5}, {"start": 2**52}, {"end": 0, "start": 1}])
async def test_a_replay_of_no_time_is_refused(tmp_path: Path, times: dict[str, int]) -> None:
    reply = await Setup(tmp_path).ask("POST", "/v1/models/v1/replay", times)
    assert reply.status_code == 400 and "expected the start before the end" in reply.json()["message"]


async def test_more_replays_than_have_places_are_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, go_on, answer = Setup(tmp_path), threading.Event(), msgspec.to_builtins(Replay())

    def ask(registry: str, what: str, version: str, *_: Any) -> Any:
        go_on.wait(30)
        if version == "gone":
            raise analyst.Refused("not-found", "gone")
        return answer

    monkeypatch.setattr(analyst, "ask", ask)
    for version in ("v1", "gone"):
        Registry(tmp_path / "models").add(write(tmp_path / "made", version))
    versions = ["v1", "gone"] * REPLAYS_LET_IN
    replays = [asyncio.create_task(setup.ask("POST", f"/v1/models/{version}/replay", {})) for version in versions]
    async with asyncio.timeout(10):
        while sum(replay.done() for replay in replays) < REPLAYS_LET_IN:
            await asyncio.sleep(0.01)
    go_on.set()
    replies = await asyncio.gather(*replays)
    assert sorted(reply.status_code for reply in replies) == sorted(
        [200, 404] * (REPLAYS_LET_IN // 2) + [503] * REPLAYS_LET_IN
    )
    told = {(one.json()["message"], one.headers["Retry-After"]) for one in replies if one.status_code == 503}
    assert told == {("too many replays are under way: come back later", "5")}
    for version in versions[:REPLAYS_LET_IN]:  # all places are free again
        assert (await setup.ask("POST", f"/v1/models/{version}/replay", {})).status_code in (200, 404)


async def test_who_promotes_or_replays_a_model_that_never_blocks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, registry = Setup(tmp_path), Registry(tmp_path / "models")
    tuned = manifest_of(manifest("bounded-1"), "tuned-1", 2, {})
    registry.add(write(tmp_path / "made", "bounded-1"))
    registry.add(write(tmp_path / "made", "tuned-1", thresholds=tuned.thresholds))
    answers = {"replay": msgspec.to_builtins(Replay()), "promote": "tuned-1", "roll_back": "bounded-1"}
    monkeypatch.setattr(analyst, "ask", lambda registry, what, *_: answers[what])
    notice = "tuned-1 never blocks, it only alerts: its rate of false positives was not measured"
    for what in ("replay", "promote"):
        assert (await setup.good("POST", f"/v1/models/tuned-1/{what}", {}))["notices"] == [notice]
    assert (await setup.good("POST", "/v1/models/rollback", {}))["notices"] == []


async def test_who_promotes_or_replays_is_told_and_guarded_by_the_thresholds_of_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It blocks by these although its own rate of false positives was not measured."""
    setup, registry = Setup(tmp_path), Registry(tmp_path / "models")
    tuned = manifest_of(manifest("bounded-1"), "tuned-1", 2, {})
    registry.add(write(tmp_path / "made", "tuned-1", thresholds=tuned.thresholds))
    registry.point(["tuned-1"])
    await setup.good("PUT", "/v1/policy", {"policy": {"thresholds": {"block": 0.0}}})
    report = msgspec.to_builtins(Replay())

    def ask(registry: str, what: str, *arguments: Any) -> Any:
        return report if what == "replay" else analyst.Analyst(registry).ask(what, math.inf, *arguments)

    monkeypatch.setattr(analyst, "ask", ask)
    notice = "tuned-1 blocks by the policy's threshold, though its rate of false positives was not measured"
    assert (await setup.good("POST", "/v1/models/tuned-1/replay", {}))["notices"] == [notice]
    assert (await setup.good("POST", "/v1/models/tuned-1/promote", {"force": True}))["notices"] == [notice]
    refused = await setup.ask("POST", "/v1/models/tuned-1/promote", {})
    assert refused.status_code == 409 and "would be tier block" in refused.text
    await setup.good("PUT", "/v1/policy", {"policy": {"thresholds": {"alert_score": 0.9}}})
    notice = "tuned-1 never blocks, it only alerts: the policy sets no threshold for blocking"
    assert (await setup.good("POST", "/v1/models/tuned-1/replay", {}))["notices"] == [notice]


async def test_a_promotion_whose_caller_hung_up_is_told_to_resolvers_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    setup, asked, go_on = Setup(tmp_path), threading.Event(), threading.Event()
    caplog.set_level("INFO", "ray.serve")

    def ask(registry: str, what: str, *arguments: Any) -> str:
        asked.set()
        go_on.wait(30)
        return "v2"

    monkeypatch.setattr(analyst, "ask", ask)
    calling = asyncio.create_task(setup.ask("POST", "/v1/models/v2/promote", {}))
    assert await asyncio.to_thread(asked.wait, 30)
    calling.cancel()  # as Serve does where a caller hangs up, or waits for longer than request_timeout_s
    await asyncio.gather(calling, return_exceptions=True)
    assert [record.__dict__["outcome"] for record in caplog.records if record.message == "control call"] == ["gone"]
    go_on.set()
    async with asyncio.timeout(20):
        while (serving := setup.store.get("model", "serving")) is None:
            await asyncio.sleep(0.01)
    assert serving.body == {"version": "v2"} and serving.author == "the-admin"


async def test_a_roll_back_that_could_not_be_written_down_may_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, registry = Setup(tmp_path), Registry(tmp_path / "models")
    for version in ("v1", "v2", "v3"):
        registry.add(write(tmp_path / "made", version))
    registry.point(["v3", "v2", "v1"])
    act = {"promote": lambda version, *_: registry.promote(version), "roll_back": registry.rollback}
    monkeypatch.setattr(analyst, "ask", lambda registry, what, *arguments: act[what](*arguments))
    commit = setup.graph.commit

    async def away(*arguments: Any) -> Any:
        raise Unavailable("the store is away")

    monkeypatch.setattr(setup.graph, "commit", away)
    reply = await setup.ask("POST", "/v1/models/rollback", {})
    assert reply.status_code == 503 and registry.pointer() == ["v3", "v2", "v1"]
    monkeypatch.setattr(setup.graph, "commit", commit)
    assert (await setup.good("POST", "/v1/models/rollback", {}))["serving"] == "v2"


@pytest.mark.parametrize("former", [["v1", "v3"], ["v3", "v2", "v1"], ["v2", "v1"], []])
async def test_a_promotion_that_could_not_be_written_down_does_not_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former: list[str]
) -> None:
    setup, registry = Setup(tmp_path), Registry(tmp_path / "models")
    for version in ("v1", "v2", "v3"):
        registry.add(write(tmp_path / "made", version))
    if former:
        registry.point(former)
    monkeypatch.setattr(analyst, "ask", lambda registry_, what, version, *_: registry.promote(version) or version)

    async def away(*arguments: Any) -> Any:
        raise Unavailable("the store is away")

    commit = setup.graph.commit
    monkeypatch.setattr(setup.graph, "commit", away)
    reply = await setup.ask("POST", "/v1/models/v2/promote", {})
    assert reply.status_code == 503 and registry.pointer() == former

    async def overtaken(*arguments: Any) -> Any:
        registry.promote("v1")  # by another, whose promotion is written down
        raise Unavailable("the store is away")

    monkeypatch.setattr(setup.graph, "commit", overtaken)
    assert (await setup.ask("POST", "/v1/models/v2/promote", {})).status_code == 503
    assert registry.serving() == "v1"
    monkeypatch.setattr(setup.graph, "commit", commit)
    assert (await setup.good("POST", "/v1/models/v2/promote", {}))["serving"] == registry.serving()


@pytest.mark.parametrize("what", ["v2/promote", "rollback"])
@pytest.mark.parametrize("done", [True, False])
async def test_what_became_of_a_change_without_an_answer_is_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, done: bool
) -> None:
    """Done, it is told to resolvers; not done, the answer says so."""
    setup, registry = Setup(tmp_path), Registry(tmp_path / "models")
    for version in ("v1", "v2"):
        registry.add(write(tmp_path / "made", version))
    registry.point(["v1", "v2"])

    def ask(*_: Any) -> None:
        if done:
            registry.promote("v2")
        raise analyst.Unanswered("what does it ended meanwhile")

    monkeypatch.setattr(analyst, "ask", ask)
    reply = await setup.ask("POST", f"/v1/models/{what}", {})
    serving = setup.store.get("model", "serving")
    if done:
        assert reply.status_code == 200 and reply.json()["serving"] == "v2"
        assert serving is not None and serving.body == {"version": "v2"}
    else:
        assert reply.status_code == 503 and reply.json()["message"].endswith("ended meanwhile; nothing was changed")
        assert serving is None


@pytest.mark.parametrize("arguments", [("promote", "v2", True, None), ("promote", "v2", False, None), ("roll_back",)])
@pytest.mark.parametrize("slow", [True, False])
def test_an_analyst_changes_nothing_once_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[Any, ...], slow: bool
) -> None:
    """Neither what waited for its turn until then, nor what began in time and took too long."""
    registry = Registry(tmp_path)
    for version in ("v1", "v2"):
        registry.add(write(tmp_path / "made", version))
    registry.point(["v1", "v2"])
    clock = [100.0]
    monkeypatch.setattr(analyst.time, "time", lambda: clock[0])
    monkeypatch.setattr("model.replay.guard", lambda artifact, in_force: [])
    get = Registry.get

    def load(self: Registry, version: str) -> Any:
        clock[0] += 60.0
        return get(self, version)

    monkeypatch.setattr(Registry, "get", load)
    what, *rest = arguments
    with pytest.raises(analyst.TooLate):
        analyst.Analyst(str(tmp_path)).ask(what, 101.0 if slow else 99.0, *rest)
    assert registry.pointer() == ["v1", "v2"]
    analyst.Analyst(str(tmp_path)).ask(what, clock[0] + 61.0, *rest)
    assert registry.pointer()[0] == "v2"


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/models/v2/promote", {}), ("/v1/models/rollback", {}), ("/v1/jobs", {"kind": "train"})],
)
async def test_a_note_that_is_too_long_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, str]
) -> None:
    done: list[str] = []
    monkeypatch.setattr(analyst, "ask", lambda registry, what, *_: done.append(what))
    monkeypatch.setattr("deployments.trainer.start", lambda *_: done.append("start"))
    reply = await Setup(tmp_path).ask("POST", path, {**body, "note": "x" * 501})
    assert reply.status_code == 400 and "note" in reply.text and done == []


async def test_a_classifier_that_is_silent_costs_an_explanation_its_budget_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*arguments: Any) -> None:
        await asyncio.sleep(60)

    setup = Setup(tmp_path)
    monkeypatch.setattr(setup.graph, "explain", silent)
    monkeypatch.setattr(control_models, "EXPLAIN_BUDGET_S", 0.5)
    await setup.good("POST", "/v1/lists", {"list": "blocklist", "suffix": "listed.example-shop.com"})
    async with asyncio.timeout(30):
        unexplained = await setup.ask("POST", "/v1/explain", {"name": "other.example-shop.com"})
        listed = await setup.good("POST", "/v1/explain", {"name": "listed.example-shop.com"})
    assert (unexplained.status_code, unexplained.json()["code"]) == (504, "expired")
    assert listed["entry"] and listed["alone"] is None


def test_a_roll_back_that_another_machine_came_before_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(tmp_path)
    for version in ("v1", "v2", "v3"):
        registry.add(write(tmp_path / "made", version))
    registry.point(["v2", "v1"])
    get = Registry.get

    def load(self: Registry, version: str) -> Any:
        (tmp_path / "serving").write_text("v3\nv2\nv1\n")
        return get(self, version)

    monkeypatch.setattr(Registry, "get", load)
    with pytest.raises(analyst.Refused, match="another machine moved the pointer") as refused:
        analyst.Analyst(str(tmp_path)).ask("roll_back", math.inf)
    assert refused.value.code == "conflict" and registry.pointer() == ["v3", "v2", "v1"]
