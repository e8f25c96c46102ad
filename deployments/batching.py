"""Frames joined into batches by their number of names, one batch at a time or, where it pays, a few.

`@serve.batch` cannot do this: it cuts a batch before the worker is free, so that without a wait every frame is a
batch of its own under load, and with one an idle question pays it; what does not fit goes to the back of its queue.
Here a batch is what has gathered while the former one ran: an idle frame starts at once, a busy worker gets full
batches, order is kept, and a frame whose caller has gone is dropped before any work is done for it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar, cast

LANE_NAMES = 256  # a further batch beside one that runs must be worth its cost; fewer names rather join the next

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(NamedTuple, Generic[T, R]):
    item: T
    names: int
    deadline: float
    future: "asyncio.Future[R | None]"


class NameBatcher(Generic[T, R]):
    """Runs `run` on batches of items of at most `max_names` names together (a larger item runs alone), on up to
    `lanes` batches at one time.

    `run` takes the items and returns as many results in order; if it raises, all of its batch raise.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        max_names: int,
        clock: Callable[[], float] = time.time,
        lanes: int = 1,
    ) -> None:
        self._run = run
        self._max_names = max_names
        self._clock = clock
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._waiting_names = 0
        self._lanes = lanes
        self._workers: set[asyncio.Task[None]] = set()
        self.names_in_flight = 0  # waiting or running
        self.expired = 0  # frames dropped since the start

    async def submit(self, item: T, names: int, deadline: float) -> R | None:
        """The result of one item, or None when its deadline (`time.time()` seconds) passed before its turn."""
        waiting: _Waiting[T, R] = _Waiting(item, names, deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_names += names
        self.names_in_flight += names
        if not self._workers or (len(self._workers) < self._lanes and self._waiting_names >= LANE_NAMES):
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        try:
            return await waiting.future
        finally:
            self.names_in_flight -= names

    async def _work(self) -> None:
        while (self._waiting_names >= LANE_NAMES or self._alone()) and (batch := self._next_batch()):
            await self._serve(batch)
        # Left before the callback: whoever asks next must see that nobody works.
        self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _alone(self) -> bool:
        return len(self._workers) == 1

    async def _serve(self, batch: list[_Waiting[T, R]]) -> None:
        try:
            results = await self._run([waiting.item for waiting in batch])
        except Exception as error:
            for waiting in batch:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(result)

    def _next_batch(self) -> list[_Waiting[T, R]]:
        batch: list[_Waiting[T, R]] = []
        total, now = 0, self._clock()
        while self._waiting:
            first = self._waiting[0]
            if first.future.done():  # cancelled: the caller hung up
                self._pop()
            elif first.deadline <= now:
                self._pop()
                self.expired += 1
                first.future.set_result(None)
            elif batch and total + first.names > self._max_names:
                break
            else:
                batch.append(self._pop())
                total += first.names
        return batch

    def _pop(self) -> _Waiting[T, R]:
        first = self._waiting.popleft()
        self._waiting_names -= first.names
        return first
