"""A ranking tells the highest, and what they have, however the rows lie: in either store the same."""

from typing import Any

import pytest

from tests.stores import MINUTE, SQLITE_ONLY, now, observation, records
from verdicts.store import Filter
from verdicts.store.sqlite import SqliteStore

DAY = 86_400_000


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
