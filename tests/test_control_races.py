"""Several ingress replicas, decisions and frames at the same time: a late frame never undoes a decision.

The resolver here follows contract 1 and nothing more: it keeps a verdict only if its epoch is not below the highest
it has seen, and drops the suffixes that an acknowledgement names.
"""

import asyncio
import random
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deployments import analyst
from model.replay import Replay
from serve_app.configuration import configuration
from serve_app.control_desk import BULKS_LET_IN, Desk
from tests.control_setup import Setup
from verdicts import list_formats
from verdicts.lists import entry
from verdicts.names import is_under
from verdicts.policy import Policy
from verdicts.store import Document, Epoch

pytestmark = pytest.mark.anyio

NAMES = [f"host.n{number}.example-shop.com" for number in range(4)]
STEPS = 80


class Resolver:
    """The cache of one plugin, as the contract describes it."""

    def __init__(self) -> None:
        self.epoch = 0
        self.generation = ""
        self.cache: dict[str, str] = {}

    def take(self, name: str, reply: dict[str, Any]) -> None:
        if reply["epoch"] < self.epoch:
            return
        self.epoch = max(self.epoch, reply["epoch"])
        self.cache[name] = reply["verdicts"][0]["source"]

    def acknowledge(self, reply: dict[str, Any]) -> None:
        if reply["epoch"] < self.epoch:
            return
        self.epoch, self.generation = reply["epoch"], reply["generation"]
        changed = reply["changed"]
        self.cache = {
            name: source
            for name, source in self.cache.items()
            if changed is not None and not any(is_under(name, suffix) for suffix in changed)
        }


class World:
    """Three replicas that follow the store when told to, one resolver, and the truth of every epoch."""

    def __init__(self, folder: Path) -> None:
        self.setup = Setup(folder, replicas=3)
        self.resolver = Resolver()
        self.blocked: dict[int, frozenset[str]] = {self.setup.store.epoch().number: frozenset()}
        self.batch = 0
        self.flying: list[tuple[str, asyncio.Task[Any], asyncio.Event]] = []
        judge = self.setup.graph.judge

        async def held(names: bytes, deadline: float) -> Any:
            gate = self._gate
            scored = await judge(names, deadline)
            await gate.wait()
            return scored

        self._gate = asyncio.Event()
        self.setup.graph.judge = held  # type: ignore[method-assign]

    async def decide(self, dice: random.Random) -> None:
        name = dice.choice(NAMES)
        present = self.blocked[max(self.blocked)]
        method = "DELETE" if name in present else "POST"
        entries = [{"list": "blocklist", "suffix": name}]
        reply = await self.setup.ask(method, "/v1/lists", {"entries": entries}, replica=dice.randrange(3))
        assert reply.status_code == 200, reply.text
        self.blocked[reply.json()["epoch"]] = present ^ {name}

    async def ask(self, dice: random.Random) -> None:
        """Send a frame that stays in the model until it is let go."""
        name, self._gate = dice.choice(NAMES), asyncio.Event()
        frame = self.setup.ask(
            "POST", "/v1/verdicts", {"names": [name]}, "resolver", dice.randrange(3), verdict_budget_ms="30000"
        )
        self.flying.append((name, asyncio.create_task(frame), self._gate))
        await asyncio.sleep(0)

    async def land(self, dice: random.Random) -> None:
        """Let one frame that flies come back, not always the oldest."""
        if not self.flying:
            return
        name, frame, gate = self.flying.pop(dice.randrange(len(self.flying)))
        gate.set()
        reply = await frame
        assert reply.status_code == 200, reply.text
        self.resolver.take(name, reply.json())

    async def report(self, dice: random.Random) -> None:
        self.batch += 1
        batch = {
            "resolver": "the-resolver", "boot": "0" * 32, "batch": self.batch,
            "epoch": self.resolver.epoch, "generation": self.resolver.generation,
        }  # fmt: skip
        reply = await self.setup.ask("POST", "/v1/observations", batch, "resolver", dice.randrange(3))
        assert reply.status_code == 200, reply.text
        self.resolver.acknowledge(reply.json())

    async def follow(self, dice: random.Random) -> None:
        self.setup.followers[dice.randrange(3)].poll()


async def settle(world: World, dice: random.Random) -> None:
    world.setup.follow()
    while world.flying:
        await world.land(dice)
    await world.report(dice)
    await world.report(dice)


@pytest.mark.parametrize("seed", range(6))
async def test_once_everything_has_settled_the_cache_holds_the_last_decisions(tmp_path: Path, seed: int) -> None:
    dice, world = random.Random(seed), World(tmp_path)
    for _ in range(STEPS):
        await dice.choice([world.decide, world.ask, world.ask, world.land, world.report, world.follow])(dice)
    await settle(world, dice)
    last = world.blocked[max(world.blocked)]
    assert {n: ("blocklist" if n in last else "model") for n in world.resolver.cache} == world.resolver.cache


async def test_a_frame_that_was_decided_on_before_a_change_says_so(tmp_path: Path) -> None:
    world, dice = World(tmp_path), random.Random(1)
    await world.ask(dice)
    while not world.setup.contexts[0].admission.in_flight and not world.flying[0][1].done():
        if any(context.admission.in_flight for context in world.setup.contexts):
            break
        await asyncio.sleep(0)
    await world.decide(dice)
    world.setup.follow()
    await world.report(dice)
    name, frame, gate = world.flying.pop()
    gate.set()
    world.resolver.take(name, (await frame).json())
    assert name not in world.resolver.cache


async def test_of_two_analysts_who_change_the_policy_at_once_neither_is_lost(tmp_path: Path) -> None:
    setup = Setup(tmp_path, replicas=3)
    fields: list[dict[str, Any]] = [{"cache_ttl": 61}, {"answer_ttl": 7}, {"prevalence_rank": 5}]
    replies = await asyncio.gather(
        *(setup.ask("PUT", "/v1/policy", {"policy": field}, replica=n) for n, field in enumerate(fields))
    )
    policy = (await setup.good("GET", "/v1/policy"))["policy"]
    for field, reply in zip(fields, replies, strict=True):
        # Either it holds, or its author was told of the conflict: never silently gone.
        assert reply.status_code == 409 or {**policy, **field} == policy, (field, reply.text)
    assert any(reply.status_code == 200 for reply in replies)


async def test_a_decision_that_is_taken_back_at_once_leaves_no_trace_in_any_replica(tmp_path: Path) -> None:
    setup = Setup(tmp_path, replicas=3)
    body = {"entries": [{"list": "blocklist", "suffix": NAMES[0]}]}
    for _ in range(20):
        await asyncio.gather(setup.ask("POST", "/v1/lists", body), setup.ask("DELETE", "/v1/lists", body, replica=1))
        setup.followers[2].poll()
    await setup.good("DELETE", "/v1/lists", body)
    assert [(await setup.verdict(NAMES[0], replica))["source"] for replica in range(3)] == ["model"] * 3


async def test_what_a_model_says_that_is_no_longer_to_serve_is_kept_for_a_minute(tmp_path: Path) -> None:
    # The epoch moves with the decision; classifiers follow some seconds later. The resolver keeps what has this epoch.
    setup = Setup(tmp_path)
    assert (await setup.verdict(NAMES[0]))["cache_ttl"] == Policy().cache_ttl
    before = [Document("model", "serving", {"version": "v2"})]
    setup.store.commit(before, "ann")
    setup.follow()
    late = await setup.verdict(NAMES[0])  # of v1
    assert late["epoch"] == setup.store.epoch().number and late["cache_ttl"] == 60
    setup.graph.version = "v2"
    assert (await setup.verdict(NAMES[0]))["cache_ttl"] == Policy().cache_ttl
    setup.graph.version = "v1"  # a roll-back is a promotion
    setup.store.commit([Document("model", "serving", {"version": "v1"})], "ann")
    setup.follow()
    assert (await setup.verdict(NAMES[0]))["cache_ttl"] == Policy().cache_ttl


async def test_a_pointer_that_was_moved_by_hand_does_not_shorten_every_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(tmp_path)
    setup.store.commit([Document("model", "serving", {"version": "v2"})], "ann")
    setup.follow()
    monkeypatch.setattr("serve_app.context.PASSING_S", 0.0)
    assert (await setup.verdict(NAMES[0]))["cache_ttl"] == Policy().cache_ttl


async def test_calls_that_wait_for_the_store_do_not_hold_up_what_is_followed(tmp_path: Path) -> None:
    setup, go_on = Setup(tmp_path), threading.Event()
    desk = Desk(setup.contexts[0])
    waiting = [asyncio.create_task(desk.read(lambda store: go_on.wait(30))) for _ in range(100)]
    periodic = asyncio.create_task(setup.contexts[0].run())
    setup.store.commit([entry("blocklist", NAMES[0])], "ann")
    try:
        async with asyncio.timeout(10):
            while setup.followers[0].epoch != setup.store.epoch():
                await asyncio.sleep(0.01)
    finally:
        go_on.set()
        periodic.cancel()
        await asyncio.gather(*waiting, periodic, return_exceptions=True)


async def test_a_pause_does_not_wait_for_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, go_on = Setup(tmp_path), threading.Event()
    monkeypatch.setattr(analyst, "ask", lambda *_: go_on.wait(30) and msgspec.to_builtins(Replay()))
    replays = [asyncio.create_task(setup.ask("POST", "/v1/models/v1/replay", {})) for _ in range(50)]
    try:
        async with asyncio.timeout(10):
            await asyncio.sleep(0.1)
            assert (await setup.good("POST", "/v1/policy/pause", {"paused": True}))["epoch"] > 0
    finally:
        go_on.set()
        await asyncio.gather(*replays)


async def test_a_roll_back_does_not_wait_for_threads_that_replays_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, go_on = Setup(tmp_path), threading.Event()
    monkeypatch.setattr(analyst, "ask", lambda *_: go_on.wait(30) and msgspec.to_builtins(Replay()))
    monkeypatch.setattr(analyst, "change", lambda *_: "v0")
    await roll_back_beside(setup, go_on, [setup.ask("POST", "/v1/models/v1/replay", {}) for _ in range(50)])


async def test_a_roll_back_does_not_wait_for_those_who_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, go_on = Setup(tmp_path), threading.Event()
    monkeypatch.setattr(analyst, "models", lambda _: go_on.wait(30) and {"serving": "", "models": []})  # a slow bucket
    monkeypatch.setattr(analyst, "change", lambda *_: "v0")
    await roll_back_beside(setup, go_on, [setup.ask("GET", "/v1/models", role="viewer") for _ in range(50)])


async def roll_back_beside(setup: Setup, go_on: threading.Event, calls: list[Coroutine[Any, Any, Any]]) -> None:
    """Roll back while these calls wait for `go_on`, within ten seconds."""
    waiting = [asyncio.create_task(call) for call in calls]
    try:
        async with asyncio.timeout(10):
            await asyncio.sleep(0.1)
            assert (await setup.good("POST", "/v1/models/rollback", {}))["serving"] == "v0"
    finally:
        go_on.set()
        await asyncio.gather(*waiting)


class CrowdedLog:
    """The verdict log's places, as serve.yaml has them, in which long commits stay until `go_on`."""

    def __init__(self, setup: Setup) -> None:
        found = configuration()["applications"][0]["deployments"]
        most = next(one["max_ongoing_requests"] for one in found if one["name"] == "VerdictLog")
        self.go_on = asyncio.Event()
        self.long = 0
        self._places = asyncio.Semaphore(most)
        self._commit = setup.graph.commit
        setup.graph.commit = self.commit  # type: ignore[method-assign]

    async def commit(self, documents: list[Document], *more: Any) -> Epoch:
        async with self._places:
            if len(documents) > 100:
                self.long += 1
                await self.go_on.wait()
            return await self._commit(documents, *more)


async def test_a_burst_of_imports_leaves_places_in_the_verdict_log_to_a_pause(tmp_path: Path) -> None:
    setup = Setup(tmp_path, replicas=2)
    log = CrowdedLog(setup)
    texts = ["\n".join(f"n{number}.of{turn}.org" for number in range(101)) for turn in range(100)]
    imports = [
        asyncio.create_task(
            setup.ask("POST", "/v1/lists/import", {"list": "blocklist", "text": text}, replica=turn % 2)
        )
        for turn, text in enumerate(texts)
    ]
    try:
        async with asyncio.timeout(60):
            while log.long + sum(task.done() for task in imports) < 64:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            assert (await setup.ask("POST", "/v1/policy/pause", {"paused": True})).status_code == 200
    finally:
        log.go_on.set()
        replies = await asyncio.gather(*imports)
    refused = [reply for reply in replies if reply.status_code != 200]
    assert {(reply.status_code, reply.json()["code"], reply.headers["Retry-After"]) for reply in refused} == {
        (503, "unavailable", "1")
    }
    assert len(replies) - len(refused) == 2 * BULKS_LET_IN
    await setup.good("POST", "/v1/lists/import", {"list": "benign", "text": texts[0]})  # all places are free again


async def test_an_undo_of_many_entries_keeps_a_place_and_gives_it_back(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    text = "\n".join(f"n{number}.org" for number in range(101))
    epoch = (await setup.good("POST", "/v1/lists/import", {"list": "blocklist", "text": text}))["epoch"]
    change = (await setup.good("GET", "/v1/audit?kind=list&limit=1"))["changes"][0]
    log = CrowdedLog(setup)
    body = {"kind": "list", "key": "", "epoch": epoch, "time": change["time"]}
    undone = [asyncio.create_task(setup.ask("POST", "/v1/audit/undo", body)) for _ in range(BULKS_LET_IN + 1)]
    await asyncio.wait(undone, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    log.go_on.set()
    codes = sorted(reply.status_code for reply in await asyncio.gather(*undone))
    assert codes == [200, *[409] * (BULKS_LET_IN - 1), 503]
    assert await setup.good("POST", "/v1/lists/import", {"list": "benign", "text": text})


DECISIONS = {
    "pause": ("/v1/policy/pause", {"paused": True}),
    "entry": ("/v1/lists", {"list": "blocklist", "suffix": NAMES[0]}),
    "vetting": ("/v1/vetting", {"decisions": [{"name": NAMES[0], "label": "benign"}]}),
    "label": ("/v1/labels", {"labels": [{"name": NAMES[0], "label": "benign"}]}),
}


@pytest.mark.parametrize("what", list(DECISIONS))
async def test_a_decision_does_not_wait_for_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    setup, go_on, parse = Setup(tmp_path), threading.Event(), list_formats.parse
    monkeypatch.setattr(list_formats, "parse", lambda *given: go_on.wait(30) and parse(*given))
    body = {"list": "blocklist", "text": NAMES[1]}
    imports = [asyncio.create_task(setup.ask("POST", "/v1/lists/import", body)) for _ in range(50)]
    try:
        async with asyncio.timeout(10):
            await asyncio.sleep(0.1)
            assert (await setup.good("POST", *DECISIONS[what]))["epoch"] > 0
    finally:
        go_on.set()
        await asyncio.gather(*imports)
