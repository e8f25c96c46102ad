"""A disk that is really full, under the spool and the embedded store: refused, nothing lost, well again by itself."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.requires import need
from tests.stores import batch_of, now, observation, sqlite_url
from verdicts.keeper import Keeper
from verdicts.spool import SpoolFull
from verdicts.store import Filter, open_store

DISK = 8 << 20
ROWS = 40
PATIENCE_S = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight megabytes."""
    where = tmp_path / "disk"
    where.mkdir()
    need(os.geteuid() == 0, "only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", where], check=False)
    need(mounted.returncode == 0, "this machine lets nobody mount a small disk")
    yield where
    subprocess.run(["umount", "-l", where], check=True)


def fill(disk: Path) -> Path:
    """Not an octet more fits."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return filler


def body(number: int) -> bytes:
    rows = [observation(f"n{number}x{i}.example.com", now()) for i in range(ROWS)]
    return msgspec.json.encode(batch_of(rows, number))


def keep_until_full(keeper: Keeper, first: int) -> int:
    """Batches from `first` on until one is refused; the number of the refused one."""
    number = first
    try:
        while number < first + 10_000:
            keeper.keep(body(number))
            number += 1
    except SpoolFull:
        return number
    raise AssertionError("a full disk refused nothing")


def drained(keeper: Keeper) -> bool:
    until = time.monotonic() + PATIENCE_S
    while keeper.status()["spool_bytes"] and time.monotonic() < until:
        time.sleep(0.05)
    return not keeper.status()["spool_bytes"]


def test_a_full_disk_refuses_loses_nothing_and_is_well_again_by_itself(disk: Path) -> None:
    began = now()
    keeper = Keeper(sqlite_url(disk), disk / "spool", DISK)
    keeper.keep(body(1))
    assert drained(keeper)
    filler = fill(disk)
    refused = keep_until_full(keeper, 2)
    with pytest.raises(SpoolFull):
        keeper.keep(body(refused))
    filler.unlink()
    keeper.keep(body(refused))  # what was refused is sent again, as a resolver does
    assert drained(keeper)
    assert keeper.status()["store"] == "healthy"
    keeper.close()
    store = open_store(sqlite_url(disk), readonly=True)
    states = list(store.reconcile(began - 1, now() + 1))
    assert [(state.batch, state.missing) for state in states] == [(n, 0) for n in range(1, refused + 1)]
    counted = sum(bucket.count for bucket in store.histogram(Filter(began - 1, now() + 1), 3_600_000))
    assert counted == refused * ROWS
    assert store.check() == []
    store.close()
