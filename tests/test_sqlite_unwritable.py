"""A store file that this user may not write: read all the same, or told why not."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.nobody import by_nobody
from verdicts.store import Document, Unavailable
from verdicts.store.sqlite import SqliteStore


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user may look into, as pytest's own are not."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    made.chmod(0o700)
    shutil.rmtree(made)


@pytest.fixture
def store(folder: Path) -> Iterator[SqliteStore]:
    found = SqliteStore(folder / "verdict.db")
    found.initialise()
    found.commit([Document("list", "benign/a.org", {"note": ""})], "ann")
    yield found
    found.close()


def closed_to_writers(folder: Path) -> Path:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    return folder / "verdict.db"


def read(store: SqliteStore) -> list[Any]:
    return [store.epoch().number, [d.key for d in store.scan("list")], len(store.history()), store.check()]


def test_a_file_that_nobody_writes_to_is_read_as_it_stands(folder: Path, store: SqliteStore) -> None:
    store.close()
    reader = SqliteStore(closed_to_writers(folder), readonly=True)
    assert by_nobody(lambda: read(reader)) == [1, ["benign/a.org"], 1, []]
    assert sorted(file.name for file in folder.iterdir()) == ["verdict.db", "verdict.db.lock"]


def test_a_file_that_another_writes_to_is_read_with_what_it_wrote_last(folder: Path, store: SqliteStore) -> None:
    reader = SqliteStore(closed_to_writers(folder), readonly=True)
    assert by_nobody(lambda: read(reader)) == [1, ["benign/a.org"], 1, []]


def test_a_reader_that_stays_hears_of_who_writes_again(folder: Path, store: SqliteStore) -> None:
    store.close()
    reader = SqliteStore(closed_to_writers(folder), readonly=True)

    def reads() -> list[int]:
        told = [reader.epoch().number]
        os.write(asks, b".")
        os.read(goes_on, 1)
        return [*told, reader.epoch().number]

    asked, asks = os.pipe()
    goes_on, told = os.pipe()
    writer = os.fork()
    if writer == 0:  # the file's owner, who may write again meanwhile
        os.read(asked, 1)
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)
        other = SqliteStore(folder / "verdict.db")
        other.commit([Document("list", "benign/b.org", {"note": ""})], "bob")
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        os.write(told, b".")
        os._exit(0)
    try:
        assert by_nobody(reads) == [1, 2]
    finally:
        os.waitpid(writer, 0)


def test_a_file_that_may_not_be_read_is_told_as_that(folder: Path, store: SqliteStore) -> None:
    store.close()
    closed_to_writers(folder).chmod(0)
    reader = SqliteStore(folder / "verdict.db", readonly=True)

    def said() -> list[str]:
        with pytest.raises(Unavailable) as caught:
            reader.epoch()
        return [str(caught.value), *reader.check()]

    assert by_nobody(said) == [f"store {folder}/verdict.db: this user may not read it"] * 2


def test_what_is_beside_a_file_that_may_not_be_written_is_told_of(folder: Path, store: SqliteStore) -> None:
    """As a writer that was killed leaves it, of which somebody copied a part."""
    path = folder / "verdict.db"
    other = folder / "copy"
    other.mkdir()
    for name in ("verdict.db", "verdict.db-wal"):
        shutil.copy(folder / name, other / name)
    assert Path(f"{path}-wal").stat().st_size > 0
    reader = SqliteStore(closed_to_writers(other), readonly=True)
    told = by_nobody(lambda: reader.check())
    other.chmod(0o700)
    assert len(told) == 1 and "only a user who may write here reads" in told[0] and f"store {other}" in told[0]
