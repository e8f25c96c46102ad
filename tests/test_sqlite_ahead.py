"""Reading ahead leaves the answers as they are, starts nothing while a file is in memory, and ends with the store."""

import itertools
import sqlite3
import threading

import pytest

from tests.stores import MINUTE, SQLITE_ONLY, now, observation, records
from verdicts.store import Filter, Top
from verdicts.store.sqlite import SqliteStore
from verdicts.store.sqlite_ahead import SLICES, ReadAhead


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("verdict-read-ahead")]


def asked(store: SqliteStore, at: int) -> list[list[Top]]:
    """Rankings of a short range, of a day's malicious names, and of one client's that do not exist."""
    day = Filter(at - 1440 * MINUTE, at)
    hour = Filter(at - 60 * MINUTE, at)
    bad = Filter(day.start, at, label=("malicious",))
    missed = Filter(day.start, at, client="192.0.2.3", rcode=("NXDOMAIN",))
    return [store.top(where, "qname", 50) for where in (hour, bad, missed)]


@SQLITE_ONLY
def test_a_range_that_waits_for_the_disk_is_read_by_threads_and_answers_the_same(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now()
    rows = [
        observation(
            f"x{i % 50}.example.com", at - 1 - i * MINUTE, client=f"192.0.2.{i % 7}", rcode="NXDOMAIN",
            label="malicious" if i % 3 else "benign", tier="alert" if i % 3 else "none",
        )
        for i in range(1000)
    ]  # fmt: skip
    store.append(records(rows))
    expected = asked(store, at)
    assert all(expected) and readers() == []
    blocks = itertools.count()
    monkeypatch.setattr("verdicts.store.sqlite_ahead._blocks_read", lambda: next(blocks))
    assert asked(store, at) == expected
    assert readers()
    store.close()
    assert readers() == []
    assert asked(store, at) == expected  # by new threads
    store.append(records(rows, 2))


def test_a_range_is_read_slice_by_slice_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def ranged(start: int, end: int) -> tuple[str, list[int]]:
        seen.append((start, end))
        return "FROM (SELECT 1 AS last) r WHERE ? < ?", [start, end]

    blocks = itertools.count()
    monkeypatch.setattr("verdicts.store.sqlite_ahead._blocks_read", lambda: next(blocks))
    for start, end in ((0, 1), (5, 1000), (0, 86_400_000), (7, 7)):
        seen.clear()
        ahead = ReadAhead(lambda: sqlite3.connect(":memory:", check_same_thread=False))
        ahead.read(sqlite3.connect(":memory:"), ranged, start, end)
        ahead.close()
        assert len(seen) <= SLICES
        edges = [start, *(last for _, last in seen)]
        assert edges[-1] == end and seen == list(itertools.pairwise(edges))
