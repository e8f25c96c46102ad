"""From the spools into the store: bulks with back-off, nothing trimmed before the store has it."""

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from verdicts.files import sync_directory
from verdicts.observations import Batch
from verdicts.records import Record, records_of
from verdicts.spool import Spool, claim_orphans
from verdicts.store import Misconfigured, Promise, Rejected, Unavailable
from verdicts.store.admission import FUTURE_MS, PAST_MS

BULK_BYTES = 4 << 20  # of batches as they came; a few thousand records
LEAST_RECORDS = 500  # that are offered at once, however often the store put them off
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 10.0
MISCONFIGURED_RETRY_S = 15.0
ORPHANS_EVERY_S = 30.0
TELL_AGAIN_S = 600.0  # of a store that takes nothing: what it says now may be another thing than at first
IDLE_S = 0.5  # a wake-up that was missed costs this much and no more

log = logging.getLogger(__name__)
_batch = msgspec.json.Decoder(Batch)


class Appends(Protocol):
    """The part of a store that a drain needs."""

    def append(self, records: list[Record], promises: list[Promise]) -> list[Rejected]: ...


def entry(arrived: int, batch: bytes) -> bytes:
    """A spool entry: when the batch arrived (Unix milliseconds), and the batch as JSON."""
    return arrived.to_bytes(8, "big") + batch


def unpack(entries: list[bytes]) -> tuple[list[Record], list[Promise], list[bytes]]:
    """The records and promises of spool entries, and those entries that are no batches, or of which a defect of ours
    makes no records: tried again for ever, one would stop the log of everybody."""
    records: list[Record] = []
    promises: list[Promise] = []
    bad: list[bytes] = []
    for payload in entries:
        try:
            batch = _batch.decode(payload[8:])
            found = list(records_of(batch))
        except Exception as error:
            log.error("a spool entry: %s: %s", type(error).__name__, error)
            bad.append(payload)
            continue
        if batch.rows or batch.seen or batch.discarded:
            records += found
            promises.append(promise_of(batch, int.from_bytes(payload[:8], "big")))
    return records, promises, bad


def promise_of(batch: Batch, arrived: int) -> Promise:
    """What a batch promised. Its time is the last query's, the same each time the batch is sent."""
    last = max((row.last for row in batch.rows), default=arrived)
    if not arrived - PAST_MS <= last <= arrived + FUTURE_MS:
        last = arrived
    return Promise(batch.resolver, batch.boot, batch.batch, last, batch.seen, batch.discarded, len(batch.rows))


class Drain:
    """Moves entries from one or more spools to a store, on a thread of its own between `start` and `stop`."""

    def __init__(
        self, root: Path, own: Spool, limit: int, store: Appends, wait: Callable[[float], Any] | None = None
    ) -> None:
        self._root, self._limit, self._store = root, limit, store
        self._spools = [own]
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._thread: threading.Thread | None = None
        self._orphans_at = 0.0
        self._turn = 0  # of the spools: one that always has something must not keep the others waiting
        self.state, self.error = "healthy", ""  # healthy | unavailable | misconfigured
        self.since = time.time()  # Unix seconds: of this state
        self._told_at = 0.0  # on the monotonic clock
        self.stored = self.dead = 0  # records, since the start

    def start(self) -> None:
        """Begin to drain."""
        self._thread = threading.Thread(target=self._run, name="verdict-drain", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End after the bulk in hand; what is left waits on disk."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def wake(self) -> None:
        """Say that there is something to drain."""
        self._wake.set()

    def status(self) -> dict[str, Any]:
        """Depth, state of the store and what became of the records."""
        return {
            "spool_bytes": self._spools[0].octets_of_all(),
            "spool_limit": self._limit,
            "store": self.state,
            "since": self.since,
            "error": self.error,
            "stored": self.stored,
            "dead": self.dead,
        }

    def step(self) -> bool:
        """Move one bulk; False when there was none. Waits and repeats until the store has it, or `stop`."""
        if time.monotonic() >= self._orphans_at:
            self._orphans_at = time.monotonic() + ORPHANS_EVERY_S
            self._spools += claim_orphans(self._root, self._limit)
        first = self._turn % len(self._spools)
        for spool in self._spools[first:] + self._spools[:first]:
            entries, position = spool.read(BULK_BYTES)
            if not entries:
                self._finish(spool, position)
                continue
            records, promises, bad = unpack(entries)
            self._keep_bad(bad)
            if not self._deliver(records, promises):
                spool.rewind()
                return False
            spool.trim(position)
            self._turn = self._spools.index(spool) + 1
            return True
        return False

    def _finish(self, spool: Spool, position: Any) -> None:
        """Trim torn ends; let an orphan go once all of it is in the store."""
        spool.trim(position)
        if spool is not self._spools[0] and spool.empty:
            self._spools.remove(spool)
            spool.close(remove=True)

    def _deliver(self, records: list[Record], promises: list[Promise]) -> bool:
        """Hand one bulk to the store, as often as it takes; False when stopped before.

        What failed is offered again in halves: a store that puts off one call in three would else have to take the
        whole of it in one go, and what it took of the last try would count for nothing.
        """
        delay = FIRST_RETRY_S
        at, size = 0, len(records)
        while not self._stopping.is_set():
            part, rest = records[at : at + size], len(records) - at - size
            try:
                # The promises come last: a batch that shows as promised has had its rows sent.
                rejected = self._store.append(part, promises if rest <= 0 else [])
            except Misconfigured as error:
                self._note("misconfigured", str(error))
                self._wait(MISCONFIGURED_RETRY_S)
            except Unavailable as error:
                self._note("unavailable", str(error))
                size = min(size, max(len(part) // 2, LEAST_RECORDS))
                self._wait(delay * random.uniform(0.5, 1.0))
                delay = min(2 * delay, LAST_RETRY_S)
            else:
                self._note("healthy", "")
                self.stored += len(part) - len(rejected)
                self.dead += len(rejected)
                for record, reason in rejected[:3]:
                    log.warning("record %s dead-lettered: %s", record.id, reason)
                if rest <= 0:
                    return True
                at, size, delay = at + size, 2 * size, FIRST_RETRY_S
        return False

    def _keep_bad(self, bad: list[bytes]) -> None:
        """Entries that no longer decode are kept beside the spools, for a person: synced before they are trimmed."""
        if bad:
            path = self._root / "undecodable.jsonl"
            log.error("%d spool entries cannot be read; kept in %s", len(bad), path)
            with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:  # as the spools
                file.writelines(payload[8:] + b"\n" for payload in bad)
                file.flush()
                os.fsync(file.fileno())
            sync_directory(self._root)

    def _note(self, state: str, error: str) -> None:
        if state != self.state:
            self.state, self.since = state, time.time()
            log.log(logging.INFO if state == "healthy" else logging.WARNING, "store %s %s", state, error)
            self._told_at = time.monotonic()
        elif error and time.monotonic() - self._told_at > TELL_AGAIN_S:
            log.warning("store %s for %.0f minutes: %s", state, (time.time() - self.since) / 60, error)
            self._told_at = time.monotonic()
        self.error = error

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.step():
                    self._wake.wait(IDLE_S)
                    self._wake.clear()
            except Exception as error:  # the thread must live: whatever it is, it may pass
                log.exception("drain")
                for spool in self._spools:
                    spool.rewind()
                self._note("unavailable", f"{type(error).__name__}: {error}")
                self._wait(LAST_RETRY_S)
