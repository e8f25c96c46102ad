"""Reads from a cold file, several at a time.

SQLite asks the disk for one page after the other, and a range of a table lies in pages all over the file: two thousand
waits of a third of a millisecond. A disk answers many such questions at once. So a range that is about to be read is
cut by time, its first slice is read, and where that had to wait for the disk, threads read the others: they leave the
pages in the system's memory, and know no answer. A range in memory costs its first slice twice and nothing else.
"""

import resource
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

THREADS = 8
SLICES = 32
CACHE_KIB = 512  # of each thread; what is read is for the others

Ranged = Callable[[int, int], tuple[str, list[Any]]]  # FROM and WHERE of the rows `r` of a time, and its values


class ReadAhead:
    """Threads with a connection each, made when the first cold range is read."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._connections = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def read(self, reader: sqlite3.Connection, ranged: Ranged, start: int, end: int) -> None:
        """Have a range's pages in memory; `reader` is the connection that is going to read it."""
        width = max(1, -(-(end - start) // SLICES))
        slices = [(first, min(first + width, end)) for first in range(start, end, width)]
        if not slices or not _waited(reader, ranged(*slices[0])):
            return
        questions = [ranged(*piece) for piece in slices[1:]]
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(THREADS, "verdict-read-ahead")
            asked = [self._pool.submit(self._touch, question) for question in questions]
        wait(asked)  # an error shows when the range itself is read

    def close(self) -> None:
        """End the threads; to be called before their connections are closed."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
            self._pool = None
            self._connections = threading.local()

    def _touch(self, question: tuple[str, list[Any]]) -> None:
        connection: sqlite3.Connection | None = getattr(self._connections, "connection", None)
        if connection is None:
            connection = self._connections.connection = self._connect()
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        _touch(connection, question)


def _waited(reader: sqlite3.Connection, question: tuple[str, list[Any]]) -> bool:
    """Read one slice; True when the disk was asked."""
    before = _blocks_read()
    _touch(reader, question)
    return _blocks_read() > before


def _touch(connection: sqlite3.Connection, question: tuple[str, list[Any]]) -> None:
    sql, values = question
    connection.execute(f"SELECT sum(r.last) {sql}", values).fetchone()


def _blocks_read() -> int:
    """Blocks that this thread had from disks; 0 where the system does not tell."""
    who = getattr(resource, "RUSAGE_THREAD", None)
    return 0 if who is None else resource.getrusage(who).ru_inblock
