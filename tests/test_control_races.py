"""Several ingress replicas, decisions and frames at the same time: a late frame never undoes a decision.

The resolver here follows contract 1 and nothing more: it keeps a verdict only if its epoch is not below the highest
it has seen, and drops the suffixes that an acknowledgement names.
"""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from tests.control_setup import Setup
from verdicts.names import is_under

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
