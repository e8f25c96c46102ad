"""What the calls of one ingress replica share: threads for what may keep them busy, and how many may wait for them."""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context as Variables
from functools import cached_property, partial
from typing import Any, TypeVar

from serve_app.context import Context
from serve_app.wire import WireError
from verdicts.store import Store, open_store

log = logging.getLogger("ray.serve")

T = TypeVar("T")

LONG_CALLS = 8  # at work at one time: training and promotions
REPLAYS = 4  # at work at one time, of which the cluster does one after the other
REPLAYS_LET_IN = 8  # at work or waiting: who comes later would wait longer than for an answer
LOOKS = 4  # at work at one time: at models, jobs and what Serve says of its deployments
SHORT_CALLS = 8  # at work at one time: what a decision looks up, and its documents
BULKS = 2  # at work at one time: imports, and other changes of many entries
# At work or waiting, until they are written: those of ten replicas leave places in a verdict log to everything else.
BULKS_LET_IN = 4
FEW = 100  # entries of a change that no import holds up
SEARCHES = 4  # at work at one time; each has its share of the interpreter, of which judging needs the most
SEARCHES_LET_IN = 32  # at work or waiting
SEARCHES_OF_ONE = 16  # of them, of one person


class Desk:
    """What the calls of one ingress replica share: the context, and a store to read (never to write)."""

    def __init__(self, context: Context) -> None:
        self.context = context
        # Each of what may keep its threads busy has its own: none waits for another.
        self._long = ThreadPoolExecutor(LONG_CALLS, "long-calls")
        self._replays = ThreadPoolExecutor(REPLAYS, "replays")
        self._looks = ThreadPoolExecutor(LOOKS, "looks")
        self._short = ThreadPoolExecutor(SHORT_CALLS, "short-calls")
        self._bulk = ThreadPoolExecutor(BULKS, "bulks")
        self._search = ThreadPoolExecutor(SEARCHES, "searches")
        self._searching: Counter[str] = Counter()  # by author
        self._counting = threading.Lock()
        self._bulks = 0  # let in; the loop's alone
        self._replaying = 0  # likewise
        self._changing: set[asyncio.Task[Any]] = set()  # the loop itself keeps no task alive

    @cached_property
    def store(self) -> Store:
        return open_store(self.context.settings.store_url, readonly=True)

    def now(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000

    async def read(self, ask: Callable[[Store], T]) -> T:
        """Ask the store for a document or few, on a thread of those that changes need too."""
        return await asyncio.get_running_loop().run_in_executor(self._short, lambda: ask(self.store))

    async def make(self, entries: int, act: Callable[[], T]) -> T:
        """Make what a change of so many entries needs on a thread, so that no frame waits meanwhile; a decision on FEW
        does not wait for imports either."""
        return await asyncio.get_running_loop().run_in_executor(self._short if entries <= FEW else self._bulk, act)

    def let_in_bulk(self) -> None:
        """Count in a change of more than FEW entries. Raises `WireError` where too many are under way."""
        if self._bulks >= BULKS_LET_IN:
            raise WireError("unavailable", "too many long changes are under way: come back later", retry_after=1)
        self._bulks += 1

    def let_out_bulk(self) -> None:
        self._bulks -= 1

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Count in a replay until its end. Raises `WireError` where too many are under way."""
        if self._replaying >= REPLAYS_LET_IN:
            raise WireError("unavailable", "too many replays are under way: come back later", retry_after=5)
        self._replaying += 1
        try:
            yield
        finally:
            self._replaying -= 1

    async def search(self, author: str, ask: Callable[[Store], T]) -> T:
        """Ask the store for many documents, on a thread that no change needs. Raises `WireError` where too many do."""
        with self._counting:
            if self._searching[author] >= SEARCHES_OF_ONE or self._searching.total() >= SEARCHES_LET_IN:
                raise WireError("unavailable", "too many searches are under way: come back later", retry_after=1)
            self._searching[author] += 1
        future = self._search.submit(lambda: ask(self.store))
        future.add_done_callback(partial(self._searched, author))  # its thread's end: a caller may be gone before
        return await asyncio.wrap_future(future)

    def _searched(self, author: str, _: Future[Any]) -> None:
        with self._counting:
            self._searching[author] -= 1
            if not self._searching[author]:
                del self._searching[author]

    async def long(self, act: Callable[..., T], *arguments: Any) -> T:
        """Do what may take minutes on a thread of those for it, so that a decision need not wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self._long, act, *arguments)

    async def replay(self, act: Callable[..., T], *arguments: Any) -> T:
        """As `long`, for what a replay does: on threads that no promotion and no roll-back needs."""
        return await asyncio.get_running_loop().run_in_executor(self._replays, act, *arguments)

    async def look(self, act: Callable[..., T], *arguments: Any) -> T:
        """As `long`, for what only asks: on threads that no promotion needs."""
        return await asyncio.get_running_loop().run_in_executor(self._looks, act, *arguments)

    async def to_its_end(self, change: Coroutine[Any, Any, T]) -> T:
        """What a change gives. It goes on where its caller does not wait for it: half of one, such as a promotion that
        no epoch tells of, must not be."""
        # In a context of its own, since Serve cancels what a question began along with it.
        task = asyncio.get_running_loop().create_task(change, context=Variables())
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_end)
            raise


def _tell_end(change: asyncio.Task[Any]) -> None:
    error = None if change.cancelled() else change.exception()
    if error is not None:
        log.error("a change whose caller had gone failed", exc_info=error)
