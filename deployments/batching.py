"""Frames joined into batches by their number of names, one batch at a time or, where it pays, a few.

A call from one deployment to the next is such a batch too: Serve's cost of a call is that of judging some hundred
names, so frames that come together go together. They wait for that no longer than they are told (`hold_s`), since a
call, unlike a computation, may hang at a replica that is silent.

`@serve.batch` cannot do this: it cuts a batch before the worker is free, so that without a wait every frame is a
batch of its own under load, and with one an idle question pays it; what does not fit goes to the back of its queue.
Here a batch is what has gathered while the former one ran: an idle frame starts at once, a busy worker gets full
batches, order is kept, and a frame whose caller has gone is dropped before any work is done for it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, NamedTuple, TypeVar, cast

LANE_NAMES = 256  # a further batch beside one that runs must be worth its cost; fewer names rather join the next
CALLS = 256  # lanes of calls: as many as the ingress has questions at work, so that a silent replica takes no lane away

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(NamedTuple, Generic[T, R]):
    item: T
    names: int
    deadline: float
    future: "asyncio.Future[R | None]"


class NameBatcher(Generic[T, R]):
    """Runs `run` on batches of items of at most `max_names` names together (a larger item runs alone), on up to
    `lanes` batches at one time. A further lane opens once `lane_names` wait, or where `hold_s` is given, once a frame
    has waited that many seconds; `run` then is a call that may hang, given up when the last of its frames expires.

    `run` takes the items and returns as many results in order; if it raises, all of its batch raise.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R | None]]],
        max_names: int,
        clock: Callable[[], float] = time.time,
        lanes: int = 1,
        lane_names: int = LANE_NAMES,
        hold_s: float | None = None,
    ) -> None:
        self._run = run
        self._max_names = max_names
        self._clock = clock
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._waiting_names = 0
        self._lanes = lanes
        self._lane_names = lane_names
        self._hold_s = hold_s
        self._held: asyncio.TimerHandle | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self.names_in_flight = 0  # waiting or running
        self.expired = 0  # frames dropped since the start

    async def submit(self, item: T, names: int, deadline: float) -> R | None:
        """The result of one item, or None when its deadline (`time.time()` seconds) passed before its turn."""
        [result] = await self.submit_all([(item, names, deadline)])
        return result

    async def submit_all(self, asked: Sequence[tuple[T, int, float]]) -> list[R | None]:
        """The results of items that came together, as `submit` gives each; what one raises, all raise."""
        loop, total = asyncio.get_running_loop(), sum(names for _, names, _ in asked)
        waiting: list[_Waiting[T, R]] = [_Waiting(*one, loop.create_future()) for one in asked]
        self._waiting += waiting
        self._waiting_names += total
        self.names_in_flight += total
        if not self._workers or self._waiting_names >= self._lane_names:
            self._open_lane()
        elif self._hold_s is not None and self._held is None:
            self._held = loop.call_later(self._hold_s, self._held_enough)
        try:
            return await asyncio.gather(*(one.future for one in waiting))
        finally:
            self.names_in_flight -= total

    def _open_lane(self) -> None:
        if len(self._workers) < self._lanes:
            # In a context of its own: it works for others too, and Serve cancels what a question began along with it.
            worker = asyncio.get_running_loop().create_task(self._work(), context=Context())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def _held_enough(self) -> None:
        self._held = None
        if self._waiting:
            self._open_lane()

    async def _work(self) -> None:
        while self._goes_on() and (batch := self._next_batch()):
            await self._serve(batch)
        # Left before the callback: whoever asks next must see that nobody works.
        self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _goes_on(self) -> bool:
        return self._hold_s is not None or self._waiting_names >= self._lane_names or self._alone()

    def _alone(self) -> bool:
        return len(self._workers) == 1

    async def _serve(self, batch: list[_Waiting[T, R]]) -> None:
        left = None if self._hold_s is None else max(one.deadline for one in batch) - self._clock()
        results: Sequence[R | None] = [None] * len(batch)
        try:
            async with asyncio.timeout(left) as limit:
                results = await self._run([waiting.item for waiting in batch])
            if len(results) != len(batch):
                raise ValueError(f"{len(results)} results of a batch of {len(batch)}")
        except asyncio.CancelledError:  # of what was called, or of this worker: nobody may wait on
            _fail(batch, RuntimeError("the call was cancelled"))
            if cast("asyncio.Task[None]", asyncio.current_task()).cancelling():
                raise
            return
        except Exception as error:
            if not limit.expired():
                _fail(batch, error)
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


def _fail(batch: Sequence[_Waiting[T, R]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
