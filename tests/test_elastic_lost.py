"""An index of Elasticsearch of which no copy is left: nobody is told a count that lacks its rows."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.stores import now, observation, promise, records, settled
from verdicts.store import Filter, Store, Unavailable
from verdicts.store.elastic import ElasticStore
from verdicts.store.elastic_counts import DAY, HOUR
from verdicts.store.elastic_schema import index_of

pytestmark = pytest.mark.elastic
ELASTIC_ONLY = pytest.mark.parametrize("url", ["elastic"], indirect=True)

Ask = Callable[[Store, Filter], Any]
QUESTIONS: list[Ask] = [
    lambda store, where: sum(bucket.count for bucket in store.histogram(where, HOUR)),
    lambda store, where: sum(bucket.count for bucket in store.histogram(where, HOUR, "qname")),
    lambda store, where: sum(top.count for top in store.top(where, "client")),
    lambda store, where: sum(record.count for record in store.search(where).records),
    lambda store, where: sum(store.domains(where, ["example.com"]).values()),
]


@pytest.fixture
def lost(store: ElasticStore) -> str:
    """The index of three days ago, which no node may hold; today has ten rows of two queries each."""
    at = now()
    rows = [observation(f"n{i}.example.com", at, count=2) for i in range(10)]
    store.append(records(rows), [promise(rows, at=at)])
    settled(store)
    index = index_of(store.settings.prefix, "log", at - 3 * DAY, "day")
    nowhere = {"index.routing.allocation.require._name": "nowhere"}
    store.client.indices.create(index=index, settings=nowhere, wait_for_active_shards="0", timeout="1s")
    return index


@ELASTIC_ONLY
@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_range_that_it_may_have_rows_of_is_not_answered_in_part(store: ElasticStore, lost: str, ask: Ask) -> None:
    at = now()
    assert ask(store, Filter(at - HOUR, at + HOUR)) == 20  # a range without it is as quick and as right as ever
    with pytest.raises(Unavailable, match=lost):
        ask(store, Filter(at - 4 * DAY, at + HOUR))


@ELASTIC_ONLY
def test_rows_that_may_be_in_it_are_not_told_as_missing(store: ElasticStore, lost: str) -> None:
    at = now()
    assert [(state.batch, state.missing) for state in store.reconcile(at - HOUR, at + HOUR)] == [(1, 0)]
    rows = [observation("older.example.com", at)]
    store.append([], [promise(rows, 2, at)])
    store.client.indices.refresh(index=f"{store.settings.prefix}-batches-*")
    with pytest.raises(Unavailable, match=lost):
        list(store.reconcile(at - HOUR, at + HOUR))
