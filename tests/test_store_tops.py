"""A ranking tells the highest, and what they have, however the rows lie: in either store the same."""

from collections.abc import Iterator
from typing import Any

import pytest

from serve_app import control_jobs
from tests.stores import MINUTE, SQLITE_ONLY, around, now, observation, records, settled
from verdicts.store import MAX_FREQUENT, MAX_TOP, Filter, Store
from verdicts.store.sqlite import SqliteStore

DAY = 86_400_000


def changed(where: Filter, **fields: Any) -> Filter:
    return Filter(where.start, where.end, **fields)


def test_a_limit_that_a_store_cannot_answer_is_refused_by_name(store: Store) -> None:
    with pytest.raises(ValueError, match=f"limit {MAX_TOP + 1}: expected at most {MAX_TOP}"):
        store.top(around(now()), "qname", MAX_TOP + 1)
    with pytest.raises(ValueError, match=f"limit {MAX_FREQUENT + 1}: expected at most {MAX_FREQUENT}"):
        store.frequent(around(now()), "qname", MAX_FREQUENT + 1)


def test_values_that_are_asked_for_most_are_told_alone(store: Store) -> None:
    at = now()
    rows = [
        observation(f"n{i}.com", at - i * 60 * MINUTE, count=i, source="model" if i % 2 else "blocklist")
        for i in range(9)
    ]
    store.append(records(rows))
    settled(store)
    where = Filter(at - 2 * DAY, at + 1, source=("model",))
    assert store.frequent(where, "qname", 3) == ["n7.com", "n5.com", "n3.com"]
    assert store.frequent(changed(where), "qname", 20) == [f"n{i}.com" for i in range(8, 0, -1)]
    assert store.frequent(where, "client", 3) == ["192.0.2.1"]
    with pytest.raises(ValueError, match="'colour': expected one of .*qname"):
        store.frequent(where, "colour", 3)


@pytest.fixture
def few_buckets(store: Store) -> Iterator[int]:
    """How many values Elasticsearch may tell at once: here fewer than it comes with."""
    client = getattr(store, "client", None)
    if client is not None:
        client.cluster.put_settings(transient={"search.max_buckets": 400})
    yield 400
    if client is not None:
        client.cluster.put_settings(transient={"search.max_buckets": None})


def test_a_retraining_begins_on_a_log_of_more_names_than_a_store_tells_at_once(
    store: Store, few_buckets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_jobs, "SEEN_NAMES", few_buckets // 2)
    at = now()
    rows = [observation(f"n{i}.com", at, count=1 + (i < 100)) for i in range(2 * few_buckets)]
    store.append(records(rows))
    settled(store)
    seen = control_jobs.taught(store, at + 1)["seen"]
    assert len(seen) == few_buckets // 2 and {f"n{i}.com" for i in range(100)} <= set(seen)


@SQLITE_ONLY
@pytest.mark.parametrize("wanted", [{"source": ("model",)}, {"min_score": 0.0}, {"resolver": ("edge-1",)}], ids=str)
def test_a_ranking_by_a_dimension_counts_the_clients_of_all_its_names_in_one_walk(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any]
) -> None:
    at = now()
    rows = [observation(f"n{i % 40}.com", at - i * 3 * MINUTE, client=f"192.0.2.{i % 7}") for i in range(400)]
    store.append(records(rows))
    asked: list[str] = []
    real = store._all
    monkeypatch.setattr(store, "_all", lambda sql, *values: asked.append(sql) or real(sql, *values))  # type: ignore[func-returns-value]
    where = Filter(at - 2 * DAY, at + 1, **wanted)
    many: list[int] = []
    for limit in (1, 40):
        asked.clear()
        assert all((top.count, top.clients) == (10, 7) for top in store.top(where, "qname", limit))
        many.append(len(asked))
    assert many[0] == many[1]
