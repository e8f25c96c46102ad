import asyncio
from collections.abc import Sequence

import pytest

from deployments.batching import LANE_NAMES, NameBatcher


class Worker:
    """Records each batch; waits at the gate while it is closed."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, batch: Sequence[str]) -> list[str]:
        self.batches.append(list(batch))
        await self.gate.wait()
        return [item.upper() for item in batch]


LATER = 1e10
pytestmark = pytest.mark.anyio


async def test_an_idle_frame_starts_at_once() -> None:
    worker = Worker()
    assert await NameBatcher(worker.run, 10).submit("a", 1, LATER) == "A"
    assert worker.batches == [["a"]]


async def test_what_gathers_while_a_batch_runs_is_the_next_batch_in_order() -> None:
    worker = Worker()
    worker.gate.clear()
    batcher = NameBatcher(worker.run, 10)
    asked = [asyncio.create_task(batcher.submit(item, 4, LATER)) for item in "abcd"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked += [asyncio.create_task(batcher.submit(item, 4, LATER)) for item in "efg"]
    await asyncio.sleep(0)
    worker.gate.set()
    assert await asyncio.gather(*asked) == list("ABCDEFG")
    assert all(len(batch) <= 2 for batch in worker.batches)
    assert [item for batch in worker.batches for item in batch] == list("abcdefg")


async def test_a_frame_larger_than_a_batch_runs_alone() -> None:
    worker = Worker()
    batcher = NameBatcher(worker.run, 10)
    assert await asyncio.gather(batcher.submit("a", 5, LATER), batcher.submit("b", 99, LATER)) == ["A", "B"]
    assert worker.batches == [["a"], ["b"]]


async def test_an_expired_frame_is_dropped_before_its_work() -> None:
    worker = Worker()
    batcher = NameBatcher(worker.run, 10, clock=lambda: 100.0)
    assert await batcher.submit("a", 1, 99.0) is None
    assert worker.batches == [] and batcher.expired == 1


async def test_a_cancelled_frame_is_not_worked_on() -> None:
    worker = Worker()
    worker.gate.clear()
    batcher = NameBatcher(worker.run, 1)
    first, second = (asyncio.create_task(batcher.submit(item, 1, LATER)) for item in "ab")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    worker.gate.set()
    assert await first == "A"
    await asyncio.sleep(0)
    assert worker.batches == [["a"]]


async def test_a_failing_batch_fails_its_frames_and_no_later_one() -> None:
    calls = 0

    async def run(batch: Sequence[str]) -> list[str]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("no")
        return list(batch)

    batcher = NameBatcher(run, 10)
    with pytest.raises(RuntimeError, match="no"):
        await batcher.submit("a", 1, LATER)
    assert await batcher.submit("b", 1, LATER) == "b"
    assert batcher.names_in_flight == 0


async def test_names_in_flight_counts_names_and_not_frames() -> None:
    worker = Worker()
    worker.gate.clear()
    batcher = NameBatcher(worker.run, 1000)
    asked = [asyncio.create_task(batcher.submit(item, 100, LATER)) for item in "ab"]
    await asyncio.sleep(0)
    assert batcher.names_in_flight == 200
    worker.gate.set()
    await asyncio.gather(*asked)
    assert batcher.names_in_flight == 0


async def test_a_further_lane_opens_for_many_names_and_not_for_few() -> None:
    worker = Worker()
    worker.gate.clear()
    batcher = NameBatcher(worker.run, 1024, lanes=2)
    asked = []
    for item, names in (("a", 1), ("b", 1), ("c", LANE_NAMES), ("d", LANE_NAMES)):
        asked.append(asyncio.create_task(batcher.submit(item, names, LATER)))
        await asyncio.sleep(0.01)
        if item == "b":
            assert worker.batches == [["a"]]
    assert worker.batches == [["a"], ["b", "c"]]  # and no third
    worker.gate.set()
    assert await asyncio.gather(*asked) == ["A", "B", "C", "D"]
    assert worker.batches == [["a"], ["b", "c"], ["d"]]
    assert await batcher.submit("e", 1, LATER) == "E" and batcher.names_in_flight == 0


async def test_calls_open_a_further_lane_when_a_frame_was_held_long_enough() -> None:
    worker = Worker()
    worker.gate.clear()
    batcher = NameBatcher(worker.run, 10, lanes=9, lane_names=10, hold_s=0.02)
    asked = []
    for item, names in (("a", 1), ("b", 1), ("c", 1)):
        asked.append(asyncio.create_task(batcher.submit(item, names, LATER)))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert worker.batches == [["a"]]
    await asyncio.sleep(0.1)
    assert worker.batches == [["a"], ["b", "c"]]
    worker.gate.set()
    assert await asyncio.gather(*asked) == ["A", "B", "C"]


async def test_calls_that_are_full_wait_for_nobody() -> None:
    worker = Worker()
    worker.gate.clear()
    batcher = NameBatcher(worker.run, 10, lanes=9, lane_names=10, hold_s=60.0)
    asked = []
    for item in "abc":
        asked.append(asyncio.create_task(batcher.submit(item, 5, LATER)))
        await asyncio.sleep(0.01)
    assert worker.batches == [["a"], ["b", "c"]]
    worker.gate.set()
    assert await asyncio.gather(*asked) == ["A", "B", "C"]


async def test_items_that_come_together_go_together_and_fail_together() -> None:
    worker = Worker()
    batcher = NameBatcher(worker.run, 10, clock=lambda: 100.0)
    assert await batcher.submit_all([("a", 1, LATER), ("b", 1, 99.0), ("c", 1, LATER)]) == ["A", None, "C"]
    assert worker.batches == [["a", "c"]]

    async def fail(batch: Sequence[str]) -> list[str]:
        raise RuntimeError("no")

    async def miscount(batch: Sequence[str]) -> list[str]:
        return ["A"]

    for run, error in ((fail, RuntimeError), (miscount, ValueError)):
        batcher = NameBatcher(run, 10)
        with pytest.raises(error):
            await batcher.submit_all([("a", 1, LATER), ("b", 1, LATER)])
        assert batcher.names_in_flight == 0


async def test_a_call_that_is_cancelled_fails_its_frames_and_no_later_one() -> None:
    cancelled = True

    async def run(batch: Sequence[str]) -> list[str]:
        if cancelled:
            raise asyncio.CancelledError
        return [item.upper() for item in batch]

    batcher = NameBatcher(run, 10, hold_s=0.001)
    with pytest.raises(RuntimeError, match="cancelled"):
        async with asyncio.timeout(5):
            await batcher.submit_all([("a", 1, LATER), ("b", 1, LATER)])
    cancelled = False
    assert await batcher.submit("c", 1, LATER) == "C" and batcher.names_in_flight == 0
