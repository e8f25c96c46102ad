"""The SQLite store's WAL, which SQLite neither begins anew while somebody reads nor makes shorter."""

import sqlite3
from pathlib import Path

import pytest

from tests.stores import around, now, observation, records
from verdicts.store import sqlite
from verdicts.store.sqlite import SqliteStore

BOUND = 1 << 20


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
    monkeypatch.setattr(sqlite, "WAL_OCTETS", BOUND)
    monkeypatch.setattr(sqlite, "EMPTIED_EVERY_S", 0.0)
    monkeypatch.setattr(sqlite, "EMPTIED_WAIT_S", 0.01)
    opened = SqliteStore(tmp_path / "verdict.db")
    opened.initialise()
    return opened


def write(store: SqliteStore, number: int) -> None:
    store.append(records([observation(f"n{number}-{i}.example.com") for i in range(300)], number))


def wal_of(store: SqliteStore) -> int:
    return Path(f"{store.path}-wal").stat().st_size


def test_what_the_wal_grew_to_while_somebody_read_is_given_back(store: SqliteStore) -> None:
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM records").fetchall()
    number = 0
    while wal_of(store) < 3 * BOUND:
        write(store, number := number + 1)
    reader.execute("COMMIT")
    write(store, number := number + 1)
    assert wal_of(store) == 0
    write(store, number := number + 1)
    assert len(store.search(around(now()), 10_000).records) == 300 * number
    reader.close()
    store.close()


def test_a_reader_that_does_not_end_delays_a_write_and_fails_none(store: SqliteStore) -> None:
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM records").fetchall()
    for number in range(1, 12):
        write(store, number)
    assert wal_of(store) > BOUND
    assert reader.execute("SELECT count(*) FROM records").fetchone() == (0,)
    assert len(store.search(around(now()), 10_000).records) == 3300
    reader.close()
    store.close()
