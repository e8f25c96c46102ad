"""A ranking tells the highest, and what they have, however the rows lie: in either store the same."""

from collections.abc import Iterator
from typing import Any

import pytest

from serve_app import control_jobs
from tests.stores import MINUTE, SQLITE_ONLY, around, now, observation, records, settled
from verdicts.observations import Observation
from verdicts.store import MAX_FREQUENT, MAX_TOP, Filter, Store
from verdicts.store.elastic import ElasticStore
from verdicts.store.sqlite import SqliteStore

DAY = 86_400_000
ELASTIC_ONLY = pytest.mark.parametrize("url", [pytest.param("elastic", marks=pytest.mark.elastic)], indirect=True)


def days(store: Store, rows: list[list[Observation]], begin: int) -> Filter:
    """Append the rows of one day after the other, each to an index of its own; the filter for them all."""
    for number, some in enumerate(rows):
        at = begin + number * DAY + 60 * MINUTE
        for row in some:
            row.first = row.last = at
        store.append(records(some, number + 1))
    settled(store)
    return Filter(begin, begin + len(rows) * DAY)


def few_a_day(store: Store, **fields: Any) -> Filter:
    """Four days with 230 names of their own, each asked for twice; and one that is asked for once on each."""
    begin = now() // DAY * DAY - 5 * DAY
    rows = [
        [
            *(observation(f"d{day}x{i}.com", count=2, **fields) for i in range(230)),
            observation("zz-beacon.com", **fields),
        ]
        for day in range(4)
    ]
    return days(store, rows, begin)


def changed(where: Filter, **fields: Any) -> Filter:
    return Filter(where.start, where.end, **fields)


@pytest.mark.parametrize(
    "wanted",
    [{"registered": "big.com"}, {"client": "192.0.2.1"}, {"name": ".big.com"}, {"rcode": ("NOERROR",)}, {}],
    ids=str,
)
def test_a_name_is_counted_on_days_that_it_is_not_among_the_first_of(store: Store, wanted: dict[str, Any]) -> None:
    first = [observation("hot.big.com", count=1000), *(observation(f"n{i}.big.com", count=2) for i in range(150))]
    second = [observation("hot.big.com", count=5), *(observation(f"n{i}.big.com", count=6) for i in range(150))]
    where = days(store, [first, second], now() // DAY * DAY - 3 * DAY)
    found = store.top(changed(where, **wanted), "qname", 1)
    assert [(top.key, top.count) for top in found] == [("hot.big.com", 1005)]


@pytest.mark.parametrize("by", ["qname", "registered"])
@pytest.mark.parametrize("wanted", [{"label": ("malicious",)}, {"rcode": ("NOERROR",)}, {"tier": ("alert",)}], ids=str)
def test_a_name_that_no_day_puts_first_leads_the_ranking(store: Store, wanted: dict[str, Any], by: str) -> None:
    where = few_a_day(store, label="malicious", tier="alert")
    found = store.top(changed(where, **wanted), by, 12)
    assert [(top.key, top.count) for top in found[:2]] == [("zz-beacon.com", 4), ("d0x0.com", 2)]
    assert len(found) == 12


@ELASTIC_ONLY
@pytest.mark.parametrize("singly", [True, False])
def test_what_leads_among_more_values_than_a_list_holds_is_told_unless_nobody_would_wait_for_it(
    store: ElasticStore, monkeypatch: pytest.MonkeyPatch, singly: bool
) -> None:
    monkeypatch.setattr("verdicts.store.elastic_top.MAX_FREQUENT", 150)  # of 231 a day
    if not singly:
        monkeypatch.setattr("verdicts.store.elastic_top.COUNTED_SINGLY", 100)
    where = few_a_day(store)
    leads = [(top.key, top.count) for top in store.top(where, "qname", 3)]
    assert leads[1:] == ([("d0x0.com", 2), ("d0x1.com", 2)] if singly else leads[1:])
    assert leads[0] == (("zz-beacon.com", 4) if singly else ("d0x0.com", 2))  # by counts that are right


@pytest.mark.parametrize("client", ["", "secret", "192.0.2.9"])
def test_every_client_is_counted_also_such_as_is_none(
    store: Store, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    monkeypatch.setattr("verdicts.store.elastic_top.MAX_FREQUENT", 7)  # so that Elasticsearch counts page by page
    rows = [
        observation("a.com", client=client),
        *(observation("a.com", client=f"10.0.0.{i}", count=2) for i in range(9)),
    ]
    others = [observation("a.com", client=f"10.0.1.{i}", count=2) for i in range(9)]
    where = days(store, [rows, [observation("a.com", client=client, count=4), *others]], now() // DAY * DAY - 3 * DAY)
    for wanted in (where, changed(where, resolver=("edge-1",))):
        found = store.top(wanted, "client", 2)
        assert [(top.key, top.count, top.clients) for top in found] == [(client, 5, 1), ("10.0.0.0", 2, 1)]


@pytest.mark.parametrize("label", ["benign", "malicious"])
def test_the_enforced_come_first_then_those_with_queries_then_those_without(store: Store, label: str) -> None:
    at = now()
    rows = [observation(f"{i}.com", at, count=9 - i, label=label) for i in range(3)]
    rows += [observation("e.com", at, label=label, enforced=True, action="nxdomain")]
    rows += [observation(f"t{i}.com", at, count=0, label=label, target_of="0.com") for i in range(3)]
    store.append(records(rows))
    settled(store)
    found = store.top(around(at, label=(label,)), "qname", 6, "enforced")
    assert [top.key for top in found] == ["e.com", "0.com", "1.com", "2.com", "t0.com", "t1.com"]


def test_a_limit_that_a_store_cannot_answer_is_refused_by_name(store: Store) -> None:
    with pytest.raises(ValueError, match=f"limit {MAX_TOP + 1}: expected at most {MAX_TOP}"):
        store.top(around(now()), "qname", MAX_TOP + 1)
    with pytest.raises(ValueError, match=f"limit {MAX_FREQUENT + 1}: expected at most {MAX_FREQUENT}"):
        store.frequent(around(now()), "qname", MAX_FREQUENT + 1)


def test_values_that_are_asked_for_most_are_told_alone(store: Store) -> None:
    at = now()
    rows = [
        observation(
            f"n{i}.com", at - i * 60 * MINUTE, count=i, score=0.9 - i / 100, source="model" if i % 2 else "blocklist"
        )
        for i in range(9)
    ]
    store.append(records(rows))
    settled(store)
    where = Filter(at - 2 * DAY, at + 1, source=("model",))
    assert list(store.frequent(where, "qname", 3).items()) == [("n7.com", 7), ("n5.com", 5), ("n3.com", 3)]
    assert list(store.frequent(changed(where), "qname", 20)) == [f"n{i}.com" for i in range(8, 0, -1)]
    assert store.frequent(where, "client", 3) == {"192.0.2.1": 16}
    assert list(store.frequent(where, "qname", 2, "score").items()) == [("n1.com", 1), ("n3.com", 3)]
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
    seen = control_jobs.taught(store, at + 1)[0]["seen"]
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


def test_who_has_other_clients_each_day_leads_by_clients(store: Store) -> None:
    rows = [
        [
            *(observation(f"d{day}x{i}.com", client=f"192.0.2.{client}") for i in range(150) for client in range(2)),
            observation("zz-wide.com", client=f"198.51.100.{day}"),
        ]
        for day in range(4)
    ]
    found = store.top(days(store, rows, now() // DAY * DAY - 5 * DAY), "qname", 1, "clients")
    assert [(top.key, top.clients) for top in found] == [("zz-wide.com", 4)]
