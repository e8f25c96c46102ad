"""What a question to an SQLite store costs when nothing of its file is in memory, as after a start."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from verdicts.store import Store
from verdicts.store.sqlite import SqliteStore


class Cold(NamedTuple):
    """What the first asking of a cold disk took: milliseconds, and octets that came from the disk."""

    ms: float
    octets: int

    def __str__(self) -> str:
        return f"{self.ms:.0f} ms of a cold disk, {self.octets / 2**20:.1f} MiB read"


def ask_cold(store: Store, question: Callable[[], object]) -> Cold | None:
    """Ask once with nothing of the store in memory; None where that cannot be had: of a server, and beside Linux."""
    if not isinstance(store, SqliteStore) or not sys.platform.startswith("linux"):
        return None
    store.close()  # the connections hold pages of their own; the next question opens new ones
    with open(store.path, "rb") as file:
        os.fsync(file.fileno())  # what is not on the disk yet would stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before, began = octets_read(), time.perf_counter()
    question()
    return Cold((time.perf_counter() - began) * 1000, octets_read() - before)


def octets_read() -> int:
    """Octets that this process had from disks."""
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counters["read_bytes"])
