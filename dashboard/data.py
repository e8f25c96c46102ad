"""Reading the store without waiting for it: in threads, once for all who ask the same, dropped when nobody waits.

Invariants: the event loop never calls the store; a question asked by several pages at once is put once; a
question whose last asker left before it began is never put.
"""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

from dashboard.followed import Followed
from verdicts.store import Cell, Document, Epoch, Filter, Misconfigured, Page, Store, Top, Unavailable, open_store

Value = TypeVar("Value")
Opener = Callable[[], Store]

WORKERS = 4  # threads that wait for the store
PATIENCE = 20.0  # seconds after which an answer is called too slow
CACHE_ENTRIES = 512
LIVE = 0.9  # seconds for which an answer about now is good: just under the page's beat
DAY = 86_400_000  # milliseconds
OF_THE_LOG = frozenset(
    {"search", "cube", "top", "domains", "reconcile", "discarded"}
)  # questions; others: of decisions


class Failure(Exception):
    """The store gave no answer; the message is fit for a page."""


class _Entry(NamedTuple):
    expires: float
    value: Any


class Data:
    """One for the process, shared by all sessions; every method is a coroutine for the server's event loop."""

    def __init__(self, open_reader: Opener, workers: int = WORKERS, patience: float = PATIENCE) -> None:
        self._open = open_reader
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="store")
        self._cache: dict[Hashable, _Entry] = {}
        self._pending: dict[Hashable, tuple[Future[Any], list[int]]] = {}
        self._patience = patience
        self._incidents = Followed("incident", without_evidence)
        self._decisions = 0  # those that are known of here
        self.asked = 0  # questions that reached the store

    async def search(self, where: Filter, limit: int = 100, cursor: str | None = None, keep: float = LIVE) -> Page:
        return await self.ask(("search", where, limit, cursor), lambda s: s.search(where, limit, cursor), keep)

    async def cube(self, where: Filter, interval: int, by: tuple[str, ...], keep: float = LIVE) -> list[Cell]:
        """Queries by interval and the values of several fields: one question for all that a page counts."""
        return await self.ask(("cube", where, interval, by), lambda s: s.cube(where, interval, by), keep)

    async def top(self, where: Filter, by: str, limit: int = 20, order: str = "count", keep: float = LIVE) -> list[Top]:
        return await self.ask(("top", where, by, limit, order), lambda s: s.top(where, by, limit, order), keep)

    async def totals(self, where: Filter, *by: str, keep: float = LIVE) -> list[Cell]:
        """Queries in the whole range by the values of some fields."""
        # Whole days wide, so that the store can count from its roll-ups.
        width = DAY * (1 + (where.end - where.start) // DAY)
        return await self.cube(where, width, by, keep)

    async def domains(self, where: Filter, registered: tuple[str, ...], keep: float = LIVE) -> dict[str, int]:
        return await self.ask(("domains", where, registered), lambda s: s.domains(where, registered), keep)

    async def documents(self, kind: str, prefix: str = "", keep: float = LIVE) -> list[Document]:
        return await self.ask(("scan", kind, prefix), lambda s: list(s.scan(kind, prefix)), keep)

    async def incidents(self, keep: float = LIVE) -> list[Document]:
        """All incidents, without their evidence. There may be thousands: the store is asked for what changed."""
        return await self.ask(("incidents",), self._incidents.documents, keep)

    async def document(self, kind: str, key: str, keep: float = 0.0) -> Document | None:
        return await self.ask(("get", kind, key), lambda s: s.get(kind, key), keep)

    async def several(self, kind: str, keys: tuple[str, ...], keep: float = 0.0) -> list[Document]:
        return await self.ask(("several", kind, keys), lambda s: s.get_many(kind, keys), keep)

    async def history(
        self, kind: str = "", key: str = "", limit: int = 100, before: int | None = None, keep: float = 0.0
    ) -> list[Document]:
        return await self.ask(
            ("history", kind, key, limit, before), lambda s: s.history(kind, key, limit, before), keep
        )

    async def batches(self, start: int, end: int, keep: float = LIVE) -> list[Any]:
        return await self.ask(("reconcile", start, end), lambda s: list(s.reconcile(start, end, kept=True)), keep)

    async def discarded(self, start: int, end: int, keep: float = LIVE) -> int:
        return await self.ask(("discarded", start, end), lambda s: s.discarded(start, end), keep)

    async def epoch(self) -> Epoch:
        return await self.ask(("epoch",), lambda s: s.epoch(), LIVE)

    def decided(self) -> None:
        """Somebody decides through this process: who asks from now on is told what the store holds by then."""
        self._decisions += 1
        self._cache = {key: kept for key, kept in self._cache.items() if of_the_log(key)}
        for key in list(self._pending):
            if not of_the_log(key):
                self._pending.pop(key, None)  # it began before; those who wait for it get its answer

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def ask(self, key: Hashable, question: Callable[[Store], Value], keep: float) -> Value:
        """Put a question to the store on a thread; equal keys share it for `keep` seconds, or as long as it took.

        So a store that is slow, or asked by many, is not asked the same again while the others still wait.

        Raises `Failure`. A caller that is cancelled takes its question back while it is still queued.
        """
        now, decisions = time.monotonic(), self._decisions
        known = self._cache.get(key)
        if known is not None and known.expires > now and keep > 0:
            return cast(Value, known.value)
        future, waiting = self._pending.get(key, (None, [0]))
        if future is None or future.done():
            try:
                future = self._pool.submit(self._put, question)
            except RuntimeError:
                raise Failure("the dashboard is stopping") from None
            waiting = [0]
            self._pending[key] = (future, waiting)
            future.add_done_callback(functools.partial(self._put_away, key))
        waiting[0] += 1
        try:
            value = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), self._patience)
        except TimeoutError:
            raise Failure(f"no answer within {self._patience:g} s; a shorter range or a filter helps") from None
        except (Unavailable, Misconfigured) as error:
            raise Failure(str(error) or type(error).__name__) from error
        finally:
            waiting[0] -= 1
            if waiting[0] == 0 and not future.done():
                future.cancel()  # takes it out of the queue; a question already put runs on, unheard
        if keep > 0 and (decisions == self._decisions or of_the_log(key)):
            done = time.monotonic()
            self._remember(key, _Entry(done + max(keep, done - now), value))
        return cast(Value, value)

    def _put_away(self, key: Hashable, future: Future[Any]) -> None:
        if self._pending.get(key, (None,))[0] is future:
            self._pending.pop(key, None)

    def _remember(self, key: Hashable, entry: _Entry) -> None:
        # An answer about a day's batches is thousands of rows, of use to nobody once it is old.
        now = time.monotonic()
        self._cache = {known: kept for known, kept in self._cache.items() if kept.expires > now and known != key}
        self._cache[key] = entry
        while len(self._cache) > CACHE_ENTRIES:
            self._cache.pop(next(iter(self._cache)))

    def _put(self, question: Callable[[Store], Value]) -> Value:
        """On a worker thread: each has its own reader, opened when first needed and again after a failure."""
        self.asked += 1
        try:
            if not hasattr(self._local, "store"):
                self._local.store = self._open()
            return question(self._local.store)
        except Unavailable:
            if hasattr(self._local, "store"):
                del self._local.store
            raise


def without_evidence(incident: dict[str, Any]) -> dict[str, Any]:
    """An incident's body without the rows and counts of the log, and what became of its alerts: most of its octets."""
    return {name: value for name, value in incident.items() if name not in ("records", "hours", "notified")}


def of_the_log(key: Hashable) -> bool:
    """True for a question about what was asked of resolvers, false for one about what people decided."""
    return isinstance(key, tuple) and key[0] in OF_THE_LOG


def reader_of(url: str) -> Opener:
    """A function that opens the store at `url` for reading; a missing store is `Unavailable` until it is there."""

    def open_reader() -> Store:
        try:
            return open_store(url, readonly=True)
        except OSError as error:
            raise Unavailable(f"store {url}: {error}") from error

    return open_reader
