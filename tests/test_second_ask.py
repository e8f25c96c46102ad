"""A silent replica costs a question no more than its patience; a full cluster is not asked twice as much."""

import asyncio
import time
from typing import Any

import pytest

from deployments.second_ask import BURST, SHARE, Abandoned, SecondAsk

pytestmark = pytest.mark.anyio


class Replicas:
    """Replicas that take turns; each answers, raises, or is silent until it is cancelled."""

    def __init__(self, *behaviours: Any) -> None:
        self.behaviours = behaviours
        self.asked = self.cancelled = 0

    async def __call__(self) -> Any:
        behaviour = self.behaviours[self.asked % len(self.behaviours)]
        self.asked += 1
        if behaviour is None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if isinstance(behaviour, BaseException):
            raise behaviour
        return behaviour


async def test_one_that_answers_is_asked_once() -> None:
    replicas = Replicas("scores")
    assert await SecondAsk(0.5).ask(replicas, deadline=time.time() + 60) == "scores"
    assert replicas.asked == 1


async def test_another_answers_for_a_silent_one_which_is_let_go() -> None:
    replicas = Replicas(None, "scores")
    assert await SecondAsk(0.1).ask(replicas, deadline=time.time() + 0.2) == "scores"
    await asyncio.sleep(0)
    assert (replicas.asked, replicas.cancelled) == (2, 1)


async def test_an_error_of_the_only_one_asked_is_the_answer() -> None:
    replicas = Replicas(ValueError("full"))
    with pytest.raises(ValueError, match="full"):
        await SecondAsk(0.5).ask(replicas, deadline=time.time() + 60)
    assert replicas.asked == 1


async def test_who_is_in_a_hurry_does_not_spend_what_is_allowed() -> None:
    replicas, second = Replicas(None), SecondAsk(0.1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await second.ask(replicas, deadline=time.time() + 0.01)
    assert replicas.asked == 3


async def test_one_that_gives_up_is_told_apart_from_a_caller_who_does() -> None:
    with pytest.raises(Abandoned):
        await SecondAsk(0.5).ask(Replicas(asyncio.CancelledError()), deadline=time.time() + 60)


async def test_an_error_of_the_second_leaves_the_first_its_time() -> None:
    class Late(Replicas):
        async def __call__(self) -> Any:
            self.asked += 1
            if self.asked == 2:
                raise ValueError("full")
            await asyncio.sleep(0.2)
            return "scores"

    assert await SecondAsk(0.1).ask(Late(), deadline=time.time() + 0.5) == "scores"


@pytest.mark.parametrize("good", [0, 1])
async def test_of_two_that_end_together_the_good_one_counts(good: int) -> None:
    for _ in range(5):
        gate = asyncio.Event()
        asked: list[int] = []

        async def call(gate: asyncio.Event = gate, asked: list[int] = asked) -> Any:
            number = len(asked)
            asked.append(number)
            if number == 1:
                asyncio.get_running_loop().call_later(0.02, gate.set)
            await gate.wait()
            if number != good:
                raise ValueError("full")
            return "scores"

        assert await SecondAsk(0.0).ask(call, deadline=time.time() + 5) == "scores"


async def test_who_gives_up_takes_both_along() -> None:
    replicas = Replicas(None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await SecondAsk(0.1).ask(replicas, deadline=time.time() + 0.2)
    await asyncio.sleep(0)
    assert (replicas.asked, replicas.cancelled) == (2, 2)


async def test_a_full_cluster_is_asked_little_more() -> None:
    second, replicas = SecondAsk(0.0), Replicas(None)
    asks = 200

    async def one() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await second.ask(replicas, deadline=time.time() + 0.05)

    await asyncio.gather(*(one() for _ in range(asks)))
    assert asks < replicas.asked <= asks + BURST + SHARE * asks
