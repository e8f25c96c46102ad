"""The embedded store: one SQLite file, WAL, one writing process, any number of reading ones.

Invariants: the writer lock (`PATH.lock`, flock) is held from a process's first write until `close`, so that two
processes never interleave epochs or roll-ups. A write returns once it is synced. Readers have a connection per
thread and never wait for the writer.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from verdicts.locks import held
from verdicts.store import Misconfigured, Unavailable
from verdicts.store.sqlite_ahead import ReadAhead
from verdicts.store.sqlite_filter import in_network
from verdicts.store.sqlite_log import LogWrites
from verdicts.store.sqlite_queries import LogReads
from verdicts.store.sqlite_schema import MIGRATIONS, migrate, newer, told_of, transaction
from verdicts.store.sqlite_state import State

LOCK_WAIT_S = 5.0
CACHE_KIB = 64 * 1024
WAL_OCTETS = 64 << 20  # from which on it is emptied
EMPTIED_EVERY_S = 10.0  # at most
EMPTIED_WAIT_S = 0.5  # for those who read: a pause must be in force within two

Still = tuple[int, int, int]  # inode, octets, time of the last change in ns


class SqliteStore(LogWrites, LogReads, State):
    """`Store` in one file. `initialise` creates it; until then reads raise `Unavailable`."""

    def __init__(self, path: str | Path, readonly: bool = False) -> None:
        self.path = Path(path)
        self.readonly = readonly
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._write_lock = threading.RLock()
        self._writer_connection: sqlite3.Connection | None = None
        self._lock: ExitStack | None = None
        self._emptied_at = -EMPTIED_EVERY_S  # when the WAL was, or could not be
        self._ahead = ReadAhead(lambda: self._connect(create=False))

    def initialise(self) -> None:
        """Create the file and its tables; harmless when they are there."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"store {self.path}: {error}") from error
        with self._write_lock:
            self._open_writer(create=True)

    def check(self) -> list[str]:
        """What is wrong with the file, one sentence each."""
        try:
            if not self._exists():
                return [f"store {self.path}: no such file; `verdict store init` creates it"]
            reader = self._reader()
            version = reader.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                return [f"store {self.path}: {newer(version)}"]
            if version != len(MIGRATIONS):
                return [
                    f"store {self.path}: schema version {version}, expected {len(MIGRATIONS)}; run `verdict store init`"
                ]
            problems = [row[0] for row in reader.execute("PRAGMA quick_check(10)") if row[0] != "ok"]
        except Unavailable as error:
            return [str(error)]
        except sqlite3.Error as error:
            return [f"store {self.path}: {error}"]
        return [f"store {self.path}: {problem}" for problem in problems]

    def close(self) -> None:
        """Close every connection and give the writer lock back."""
        self._ahead.close()
        with self._write_lock:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
            self._readers = threading.local()
            self._writer_connection = None
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def _reader(self) -> sqlite3.Connection:
        """This thread's reading connection."""
        found: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        still: Still | None = getattr(self._readers, "still", None)
        if found is not None and still is not None and still != _still(self.path):  # somebody writes to it now
            self._opened.remove(found)
            found.close()
            found = None
        if found is None:
            if not self._exists():
                raise Unavailable(f"store {self.path}: no such file")
            self._readers.still = _still(self.path)
            # Opened for writing where it can be: a WAL reader must be able to write the shared index.
            found = self._connect(create=False)
            found.execute("PRAGMA query_only = ON")
            self._readers.connection = found
        return found

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writing transaction: all or nothing, synced when it ends."""
        if self.readonly:
            raise Misconfigured(f"store {self.path}: opened for reading only")
        with self._write_lock:
            connection = self._open_writer(create=False)
            with told_of(connection), transaction(connection):
                yield connection
            self._empty_wal(connection)

    def _empty_wal(self, connection: sqlite3.Connection) -> None:
        """Bring the WAL into the file and cut it off, where it is long: SQLite begins it anew only where it meets no
        reader, so that it grew for ever while somebody always reads, and never makes it shorter."""
        wal = Path(f"{self.path}-wal")
        if time.monotonic() < self._emptied_at + EMPTIED_EVERY_S or not _longer(wal, WAL_OCTETS):
            return
        self._emptied_at = time.monotonic()
        with suppress(sqlite3.Error):  # a disk without room, say: what was written is safe, and the next write tells
            connection.execute(f"PRAGMA busy_timeout = {round(1000 * EMPTIED_WAIT_S)}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * LOCK_WAIT_S)}")

    def _open_writer(self, create: bool) -> sqlite3.Connection:
        if self._writer_connection is None:
            if not create and not self.path.exists():
                raise Unavailable(f"store {self.path}: no such file; `verdict store init` creates it")
            try:
                if self._lock is None:  # an opening that failed (a full disk) left us the lock
                    busy = Unavailable(
                        f"store {self.path}: another process writes to it; expected none: a cluster that does takes"
                        " decisions itself (--url of a command), and only an Elasticsearch has several writers"
                    )
                    lock = ExitStack()
                    lock.enter_context(held(Path(f"{self.path}.lock"), busy, LOCK_WAIT_S))
                    self._lock = lock
                # For its owner alone, as the spool: it holds who asked for what. Its WAL gets this mode from SQLite.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise Unavailable(f"store {self.path}: {error}") from error
            connection = self._connect(create=True)
            try:
                with told_of(connection):
                    migrate(connection)
                    connection.execute("PRAGMA synchronous = FULL")
            except BaseException:  # whoever tries again opens another
                self._opened.remove(connection)
                connection.close()
                raise
            self._writer_connection = connection
        return self._writer_connection

    def _exists(self) -> bool:
        """Whether the file is there. Raises `Unavailable` where this user may not read it."""
        try:
            there = self.path.exists()
        except OSError as error:
            raise Unavailable(f"store {self.path}: {error.strerror}") from error
        if there and not os.access(self.path, os.R_OK):
            raise Unavailable(f"store {self.path}: this user may not read it")
        return there

    def _connect(self, create: bool) -> sqlite3.Connection:
        still = None if create else _still(self.path)
        mode = "rwc" if create else "rw" if still is None else "ro&immutable=1"
        try:
            connection = sqlite3.connect(
                f"file:{_quoted(self.path)}?mode={mode}", uri=True, timeout=LOCK_WAIT_S, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip
            if still is None:
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.create_function("in_network", 2, in_network, deterministic=True)
        except sqlite3.Error as error:
            kept = (
                "" if create or _may_write(self.path) else "; what is in its -wal only a user who may write here reads"
            )
            raise Unavailable(f"store {self.path}: {error}{kept}") from error
        self._opened.append(connection)
        return connection


def _longer(path: Path, octets: int) -> bool:
    try:
        return path.stat().st_size > octets
    except OSError:
        return False


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def _still(path: Path) -> Still | None:
    """What tells one state of a file from the next that this user may not write and nobody writes to: it is read as it
    stands, for the files that SQLite shares with a writer cannot be made. None for any other."""
    if _may_write(path) or Path(f"{path}-wal").exists() or not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
