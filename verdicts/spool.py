"""A queue on disk between the resolvers' reports and the store.

Invariants
- `append` returns once the entry is synced to the disk; many appends share one sync.
- An entry that was appended is read until it is trimmed; a crash in between reads it again (the store takes a
  repeat for what it is).
- Nothing follows damage: a sync that fails, or a write that cannot be undone, ends its segment, so that a torn tail is
  a tail.
- A spool belongs to the process that holds its lock; when that process is gone, another claims it.
- Bytes on disk, of all spools below ROOT together, never pass the limit; beyond it `append` raises `SpoolFull` and has
  kept nothing. What another process adds counts within a second.

Layout: ROOT/SPOOL/lock, and ROOT/SPOOL/NUMBER.seg (verdicts/segments.py).
"""

import glob
import logging
import os
import shutil
import threading
import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from verdicts import segments
from verdicts.files import sync_directory
from verdicts.locks import held

SEGMENT_BYTES = 8 << 20
MEASURED_S = 1.0  # that the size of other spools is believed, while there is room

log = logging.getLogger(__name__)


class SpoolFull(Exception):
    """The spool has no room (its limit, or the disk); the caller keeps what it has and comes again."""


class Position(NamedTuple):
    """A place between two entries."""

    segment: int
    offset: int


class Spool:
    """One writer's queue. `append` is for any number of threads, `read` and `trim` for one."""

    def __init__(self, directory: Path, limit: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open or create the spool in `directory` and take its lock; `BlockingIOError` when another holds it.

        `limit`: octets, of it and its neighbours.
        """
        self.directory = directory
        self._limit = limit
        self._segment_bytes = min(segment_bytes, max(limit // 8, 1))
        directory.mkdir(parents=True, exist_ok=True)
        sync_directory(directory.parent)
        self._lock = ExitStack()
        self._lock.enter_context(held(directory / "lock", BlockingIOError(f"spool {directory}: another holds it")))
        self._state = threading.Condition()
        self._others, self._measured_at = 0, -MEASURED_S  # octets of the spools beside it, and when they were counted
        self._syncing = False
        self._closed = False
        self._file: int | None = None
        self._sizes = {int(path.stem): path.stat().st_size for path in directory.glob("*.seg")}
        self._active = max(self._sizes, default=0) + 1  # an old tail may be torn: never write behind it
        self._size = 0  # of the active segment
        self._torn = False  # octets of a failed write stand behind them: nothing more may be written to it
        self._synced = Position(self._active, 0)  # all before this is on disk, but for what `_broken` says
        self._broken: dict[int, int] = {}  # segment whose sync failed -> its octets that are on disk
        self._read_at = Position(min(self._sizes, default=self._active), 0)

    @property
    def size(self) -> int:
        """Octets on disk."""
        return sum(self._sizes.values())

    def octets_of_all(self) -> int:
        """On disk, in this spool and those beside it: of living processes and of dead ones."""
        self._others, self._measured_at = _octets_beside(self.directory), time.monotonic()
        return self.size + self._others

    @property
    def empty(self) -> bool:
        """True when every entry was trimmed."""
        return self.size == 0

    def append(self, payload: bytes) -> None:
        """Keep an entry: it is on disk when this returns. Raises `SpoolFull`, ValueError for one that is too long."""
        entry = segments.entry(payload)
        with self._state:
            while self._torn or self._size >= self._segment_bytes:
                segment = self._active
                self._settle(segment)
                if self._active == segment:
                    self._end_segment()
            if self._closed:  # another process may have claimed it, and would not see what comes now
                raise SpoolFull(f"spool {self.directory}: closed")
            self._make_sure_of_room(len(entry))
            self._write(entry)
            end = Position(self._active, self._size)
            while True:
                if end.offset > self._broken.get(end.segment, end.offset):
                    raise SpoolFull(f"spool {self.directory}: the disk refused")
                if end <= self._synced:
                    return
                if self._syncing:
                    self._state.wait()
                else:
                    self._sync()

    def read(self, max_bytes: int) -> tuple[list[bytes], Position]:
        """The next entries after what was read before, at least one if there is one, and the place behind them."""
        found: list[bytes] = []
        taken = 0
        with self._state:
            active, size = self._active, self._size
            sizes = dict(self._sizes)
        for segment in sorted(sizes):
            if segment < self._read_at.segment:
                continue
            offset = self._read_at.offset if segment == self._read_at.segment else 0
            end = size if segment == active else None
            unread = sizes[segment] - offset
            for payload, after in segments.entries(self._path(segment), offset, end):
                if found and taken + len(payload) > max_bytes:
                    return found, self._read_at
                found.append(payload)
                taken += len(payload)
                unread -= segments.HEADER_BYTES + len(payload)
                self._read_at = Position(segment, after)
            if segment != active:
                if unread > 0:
                    path = self._path(segment)
                    log.warning("%s: %d octets are no whole entry: a write that was cut, or damage", path, unread)
                self._read_at = Position(segment + 1, 0)
        return found, self._read_at

    def trim(self, position: Position) -> None:
        """Forget every entry before `position`: segments behind it are removed."""
        with self._state:
            if position == Position(self._active, self._size) and self._size and not self._syncing:
                if self._synced == position:
                    self._end_segment()
                    position = Position(self._active, 0)
            for segment in [number for number in self._sizes if number < position.segment]:
                self._path(segment).unlink(missing_ok=True)
                del self._sizes[segment]
            self._read_at = max(self._read_at, position)

    def rewind(self) -> None:
        """Read again from the first entry that was not trimmed."""
        with self._state:
            self._read_at = Position(min(self._sizes, default=self._active), 0)

    def close(self, remove: bool = False) -> None:
        """Give the lock back; `remove` an empty spool's folder while the lock is still held."""
        with self._state:
            self._closed = True
            self._settle(self._active)
            self._end_segment()
            if remove and self.empty:
                shutil.rmtree(self.directory, ignore_errors=True)
            self._lock.close()

    def _make_sure_of_room(self, octets: int) -> None:
        """Raise `SpoolFull` for so many more."""
        current = time.monotonic() < self._measured_at + MEASURED_S
        if current and self.size + self._others + octets <= self._limit:
            return
        present = self.octets_of_all()
        if present + octets > self._limit:
            raise SpoolFull(f"spools in {self.directory.parent}: {present} octets, limit {self._limit}")

    def _path(self, segment: int) -> Path:
        return self.directory / f"{segment:012d}.seg"

    def _write(self, entry: bytes) -> None:
        """Put an entry behind the others of the active segment; the state lock is held."""
        try:
            if self._file is None:
                self._file = segments.begun(self._path(self._active))
                self._sizes[self._active] = 0
            view = memoryview(entry)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self._undo_write()
            raise SpoolFull(f"spool {self.directory}: {error}") from error
        self._size += len(entry)
        self._sizes[self._active] = self._size

    def _undo_write(self) -> None:
        """Cut off what a failed write left; where that fails too, the next append ends the segment."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._torn = True

    def _settle(self, segment: int) -> None:
        """Return once all of the active segment is on disk, or it was given up or ended; nobody may write meanwhile."""
        while self._active == segment and self._file is not None and self._synced != Position(segment, self._size):
            if self._syncing:
                self._state.wait()
            else:
                self._sync()

    def _sync(self) -> None:
        """Sync all that was written so far, without the state lock, and wake those who wait for it."""
        self._syncing = True
        goal, file = Position(self._active, self._size), self._file
        assert file is not None
        self._state.release()
        try:
            os.fsync(file)
            failed = False
        except OSError:
            failed = True
        finally:
            self._state.acquire()
            self._syncing = False
        if failed:
            # After a failed fsync the kernel may have dropped the pages: nothing of it can be promised.
            self._abandon()
        else:
            self._synced = goal
        self._state.notify_all()

    def _abandon(self) -> None:
        """End a segment that cannot be trusted; whoever still waits for it is told so."""
        self._broken[self._active] = self._synced.offset if self._synced.segment == self._active else 0
        self._end_segment()
        self._state.notify_all()

    def _end_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._active += 1
            self._size = 0
            self._torn = False


def claim_orphans(root: Path, limit: int) -> list[Spool]:
    """Take over every spool below `root` whose process is gone; one that another user left is told, and stays."""
    claimed: list[Spool] = []
    for directory in sorted(root.iterdir()) if root.is_dir() else []:
        try:
            if not (directory / "lock").exists():
                continue
            spool = Spool(directory, limit)
        except (BlockingIOError, FileNotFoundError):
            continue
        except OSError as error:  # it must keep nobody from the others
            log.warning("spool %s is not read: %s", directory, error)
            continue
        if spool.empty:
            spool.close(remove=True)
        else:
            claimed.append(spool)
    return claimed


def new_spool(root: Path, limit: int, segment_bytes: int = SEGMENT_BYTES) -> Spool:
    """A spool of this process's own below `root`."""
    return Spool(root / uuid.uuid4().hex, limit, segment_bytes)


def _octets_beside(directory: Path) -> int:
    octets = 0
    for name in glob.iglob(f"{glob.escape(str(directory.parent))}/*/*.seg"):  # hears of no folder that goes meanwhile
        path = Path(name)
        if path.parent != directory:
            with suppress(FileNotFoundError):
                octets += path.stat().st_size
    return octets
