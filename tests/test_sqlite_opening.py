"""A store file that cannot be opened: told as what it is, as often as it is tried, at no cost."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from serve_app.cli import main
from verdicts.store import Document, Filter, Misconfigured, Unavailable
from verdicts.store.sqlite import SqliteStore

BLOCKED = Filter(0, 1 << 42, tier=("block",))


def test_a_file_of_a_newer_release_is_refused_for_days_without_a_file_handle(tmp_path: Path) -> None:
    """The verdict log tries each second, and its spool needs handles too."""
    with sqlite3.connect(tmp_path / "verdict.db") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    store = SqliteStore(tmp_path / "verdict.db")
    handles = set[int]()
    for _ in range(5):
        with pytest.raises(Misconfigured, match="version 99, expected at most"):
            store.initialise()
        handles.add(len(os.listdir("/proc/self/fd")))
    assert len(handles) == 1
    store.close()


def test_a_file_that_somebody_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verdicts.store.sqlite.LOCK_WAIT_S", 0.01)
    store = SqliteStore(tmp_path / "verdict.db")
    other = sqlite3.connect(tmp_path / "verdict.db", isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="verdict.db: database is locked"):
        store.initialise()
    other.execute("ROLLBACK")
    other.close()
    store.initialise()
    assert store.check() == []
    store.close()


def test_a_damaged_file_is_named_by_every_command(tmp_path: Path) -> None:
    path = tmp_path / "verdict.db"
    store = SqliteStore(path)
    store.initialise()
    store.commit([Document("list", f"blocklist/{i}.example.org", {"note": "x" * 50}) for i in range(3000)], "test")
    store.close()
    backup = str(tmp_path / "backup")
    assert run("store", path, "backup", backup, "--no-models").exit_code == 0
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    for words in (
        ("store", "backup", str(tmp_path / "other"), "--no-models"),
        ("store", "restore", backup, "--yes", "--no-models"),
        ("lists", "show"), ("lists", "add", "blocklist", "x.org"), ("lists", "remove", "blocklist", "5.example.org"),
        ("lists", "export", "blocklist"), ("lists", "export", "prevalence"),
        ("tokens", "list"), ("tokens", "issue", "--role", "admin", "--name", "b"), ("tokens", "revoke", "a"),
    ):  # fmt: skip
        done = run(words[0], path, *words[1:])
        assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
        assert done.output.splitlines()[-1] == f"Error: store {path}: database disk image is malformed"


def run(command: str, path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [command, "--store", f"sqlite://{path}", *words])


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.histogram(BLOCKED, 60_000),
        lambda store: store.search(BLOCKED),
        lambda store: store.top(BLOCKED, "qname"),
        lambda store: store.epoch(),
        lambda store: list(store.scan("list")),
        lambda store: list(store.reconcile(0, 1)),
    ],
)
def test_a_file_without_tables_is_not_there_yet(tmp_path: Path, ask: Callable[[SqliteStore], Any]) -> None:
    (tmp_path / "verdict.db").touch()
    store = SqliteStore(tmp_path / "verdict.db", readonly=True)
    with pytest.raises(Unavailable, match="no such table"):
        ask(store)
    store.close()
