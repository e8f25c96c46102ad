"""The store benchmark's filling: interrupted and taken up again it holds what one run would have made."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from loadtest import store_bench
from loadtest.cold import ask_cold
from tests.stores import around, now, observation, promise, records, sqlite_url
from verdicts.records import Record
from verdicts.store import Filter, Promise, Rejected, Store, open_store
from verdicts.store.sqlite import SqliteStore

ROWS = 7 * 60
TABLES = ("records", "minutes", "hours", "tops", "days", "asked", "bad")


def filled(store: SqliteStore) -> dict[str, list[tuple[int, int]]]:
    return {table: [tuple(row) for row in store._all(f"SELECT count(*), sum(count) FROM {table}")] for table in TABLES}


@pytest.mark.parametrize("broken", ["append", "copy"])
def test_an_interrupted_filling_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setattr(store_bench, "BATCH_ROWS", 10)
    monkeypatch.setattr(store_bench, "CALL_BATCHES", 2)
    whole, store = SqliteStore(tmp_path / "whole.db"), SqliteStore(tmp_path / "broken.db")
    for each in (whole, store):
        each.initialise()
    store_bench.fill(whole, ROWS)
    with monkeypatch.context() as patch:
        calls = 0
        append, copy_day = store.append, store_bench.copy_day

        def failing_append(records: Sequence[Record], promises: Sequence[Promise] = ()) -> list[Rejected]:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise KeyboardInterrupt
            return append(records, promises)

        def failing_copy(store: SqliteStore, back: int) -> None:
            if back == 3:
                raise KeyboardInterrupt
            copy_day(store, back)

        if broken == "append":
            patch.setattr(store, "append", failing_append)
        else:
            patch.setattr(store_bench, "copy_day", failing_copy)
        with pytest.raises(KeyboardInterrupt):
            store_bench.fill(store, ROWS)
    assert 0 < store._all("SELECT count(*) FROM records")[0][0] < ROWS
    store_bench.fill(store, ROWS)
    assert filled(store) == filled(whole)
    assert filled(store)["records"][0][0] == ROWS
    store_bench.fill(store, ROWS)
    assert filled(store) == filled(whole)
    for each in (whole, store):
        each.close()


def test_a_week_is_filled_once_on_either_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_bench, "BATCH_ROWS", 10)
    monkeypatch.setattr(store_bench, "CALL_BATCHES", 2)
    now = int(time.time() * 1000)
    for _ in range(2):
        store_bench.fill(store, ROWS)
        days = store.cube(Filter(0, now), store_bench.DAY, ("tier",))
        rows = sum(1 for _ in store.reconcile(0, now)) * 10
        assert rows == ROWS and len({cell.time for cell in days}) == 7
    assert f"{ROWS} rows" in store_bench.described(store)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # The first ended with an IndexError once it had filled, the second with a report of nothing.
        (["--rows", "100", "--store", "x.db"], "--rows: 100: expected 7,000 or more"),
        (["--quick", "--only", "nonsense"], "--only: nonsense: expected part of a question's title"),
    ],
)
def test_what_could_measure_nothing_is_refused_by_name(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["store_bench", *arguments, "--out", "report.json"])
    with pytest.raises(SystemExit, match="2"):
        store_bench.main()
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are dropped by posix_fadvise")
def test_a_cold_question_is_asked_by_new_connections_and_answers_the_same(tmp_path: Path) -> None:
    store = open_store(sqlite_url(tmp_path))
    store.initialise()
    rows = [observation(f"n{number}.example.com") for number in range(1000)]
    store.append(records(rows), [promise(rows)])
    assert isinstance(store, SqliteStore)
    before = store._reader()
    answers: list[int] = []
    cold = ask_cold(store, lambda: answers.append(len(store.search(around(now()), 2000).records)))
    assert answers == [1000] and store._reader() is not before
    assert cold is not None and cold.ms > 0
    store.append(records([observation("later.example.com")], 2))  # the store goes on as before
    store.close()
