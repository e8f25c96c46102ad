"""A lock file, which one process holds at a time, and which the system takes back from one that died."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RETRY_S = 0.05


@contextmanager
def held(path: Path, refused: Exception, wait_s: float = 0.0) -> Iterator[None]:
    """The lock of `path`, which is made where it is absent. Raises `refused` where another holds it for `wait_s`."""
    until = time.monotonic() + wait_s
    while (lock := _taken(path)) is None:
        if time.monotonic() >= until:
            raise refused
        time.sleep(RETRY_S)
    try:
        yield
    finally:
        os.close(lock)


def _taken(path: Path) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    ours = False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.stat(path).st_ino == os.fstat(lock).st_ino  # not removed, nor made anew, between the two
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not ours:
            os.close(lock)
    return lock if ours else None
