"""The verdict log of one replica: the spool, the drain, and the chores of the store, without Ray."""

import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from verdicts import privacy
from verdicts.arguments import DAY_MS
from verdicts.drain import Drain, entry
from verdicts.incidents import KIND as INCIDENT
from verdicts.lists import PREVALENCE_KIND
from verdicts.observations import Batch
from verdicts.reporters import Reporters
from verdicts.spool import new_spool
from verdicts.store import Conflict, Document, Epoch, Misconfigured, Store, Unavailable, open_store

CHORES_EVERY_S = 10.0
RETAIN_EVERY_S = 600.0
ROLL_UP_EVERY_S = 60.0
PREVALENCE_PAST_MS = 7 * DAY_MS  # of a list that is another one each day; a change weighs as much as two of it
DOUBT_S = 3600.0  # for NTP or a person to set it right

log = logging.getLogger(__name__)


class Clock:
    """Tells a clock that was set from time that went by, by the seconds that the system counts."""

    def __init__(self, counted: Callable[[], float] = time.monotonic) -> None:
        self._counted = counted
        self._ahead_ms: float | None = None  # of the clock, at the last look
        self._doubted_until = -math.inf

    def believed(self, now: int) -> bool:
        """False for an hour after the clock was set by more than a day: what it deletes does not come back."""
        counted = self._counted()
        ahead, before = now - 1000 * counted, self._ahead_ms
        self._ahead_ms = ahead
        if before is not None and abs(ahead - before) > DAY_MS:
            self._doubted_until = counted + DOUBT_S
            days = (ahead - before) / DAY_MS
            log.warning("the clock was set by %.1f days: nothing expires or is deleted by it for an hour", days)
        return counted >= self._doubted_until


class Keeper:
    """What a `VerdictLog` replica does. Opening it never fails for a store that is away."""

    def __init__(
        self,
        store_url: str | Store,
        spool_dir: Path | str,
        spool_bytes: int,
        anonymise: Callable[[str], str] | None = None,
        retention_days: float = 30.0,
        chores: Iterable[Callable[[Store], None]] = (),
    ) -> None:
        self.store = open_store(store_url) if isinstance(store_url, str) else store_url
        self._anonymise = anonymise
        self._retention_ms = int(retention_days * DAY_MS)
        self._chores = tuple(chores)
        self._ready = threading.Event()  # the store is set up
        self._stopping = threading.Event()
        self.reporters = Reporters()
        self._clock = Clock()
        self._retained_at = 0.0
        self._rolled_up_at = 0.0
        root = Path(spool_dir)
        self.spool = new_spool(root, spool_bytes)
        self.drain = Drain(root, self.spool, spool_bytes, self)
        self.drain.start()
        self._chore_thread = threading.Thread(target=self._run_chores, name="verdict-chores", daemon=True)
        self._chore_thread.start()

    def keep(self, batch: bytes) -> None:
        """Put a checked batch (JSON) on disk; returns once it is synced. Raises `SpoolFull`."""
        if self._anonymise is not None:
            decoded = msgspec.json.decode(batch, type=Batch)
            batch = msgspec.json.encode(privacy.anonymised(decoded, self._anonymise))
        now = int(time.time() * 1000)
        self.spool.append(entry(now, batch))
        self.reporters.note(batch, now)
        self.drain.wake()

    def append(self, records: Any, promises: Any) -> Any:
        """The store's `append`, once the store is set up: what the drain calls."""
        self._set_up()
        return self.store.append(records, promises)

    def commit(self, documents: list[Document], author: str, note: str = "", expect: int | None = None) -> Epoch:
        """As `StateStore.commit`."""
        self._set_up()
        return self.store.commit(documents, author, note, expect)

    def status(self) -> dict[str, Any]:
        """Depth of the spool, state of the store and since when, and the resolvers that report: of this replica alone,
        which `spool_host` and `spool_name` name."""
        mine = {"spool_host": socket.gethostname(), "spool_name": self.spool.directory.name}
        return {**self.drain.status(), **mine, "resolvers": self.reporters.present(int(time.time() * 1000))}

    def close(self) -> None:
        """Stop the threads; what is not yet in the store waits on disk for the next replica."""
        self._stopping.set()
        self.drain.stop()
        self._chore_thread.join(10.0)
        self.spool.close(remove=True)
        self.store.close()

    def _set_up(self) -> None:
        if self._ready.is_set():
            return
        try:
            self.store.initialise()
        except Misconfigured:
            problems = self.store.check()  # whoever may not set up can still write to what an administrator set up
            if problems:
                raise Misconfigured("; ".join(problems)) from None
        self._ready.set()

    def _run_chores(self) -> None:
        while not self._stopping.wait(CHORES_EVERY_S if self._ready.is_set() else 1.0):
            try:
                self._set_up()
                self.do_chores(int(time.time() * 1000))
            except (Unavailable, Misconfigured) as error:
                log.info("chores wait: %s", error)
            except Exception:  # one chore that fails must not end the others for good
                log.exception("chores")

    def do_chores(self, now: int) -> None:
        """Expire list entries, apply the retention, whatever else was given, and roll up what is over; `now` in Unix
        milliseconds.

        One that fails keeps no other from its turn: a disk that is full refuses commits, and only the retention makes
        room on it. Raises the first error once all had theirs.
        """
        believed = self._clock.believed(now)
        errors: list[Exception] = []

        def do(chore: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return chore(*arguments)
            except Exception as error:
                errors.append(error)

        if believed:
            do(expire, self.store, now)
        if believed and (time.monotonic() - self._retained_at > RETAIN_EVERY_S or not self._retained_at):
            self._retained_at = time.monotonic()
            do(self.store.forget, INCIDENT, now - self._retention_ms)  # their evidence is rows of the log
            do(self.store.forget_history, PREVALENCE_KIND, now - PREVALENCE_PAST_MS)
            do(self.store.retain, now - self._retention_ms)
        for chore in self._chores:
            do(chore, self.store)
        # Last: no answer depends on it. One that is behind goes on at once.
        if time.monotonic() - self._rolled_up_at > ROLL_UP_EVERY_S or not self._rolled_up_at:
            self._rolled_up_at = time.monotonic()
            if do(self.store.roll_up, now):
                self._rolled_up_at = 0.0
        for error in errors[1:]:
            log.warning("chores: %s", error, exc_info=not isinstance(error, (Unavailable, Misconfigured)))
        if errors:
            raise errors[0]


def expire(store: Store, now: int) -> int:
    """Remove the list entries whose time has come; return how many. The epoch moves, so that resolvers hear of it."""
    gone = 0
    while due := store.expiring(now):  # a feed's entries expire together
        try:
            store.commit([Document(d.kind, d.key, None) for d in due], "expiry", "expired", max(d.epoch for d in due))
        except Conflict:  # another replica, or an analyst, was there first: look again next time
            break
        gone += len(due)
    return gone
