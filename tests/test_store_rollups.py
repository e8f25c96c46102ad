"""The SQLite store's roll-ups say what the records say, also in a store that an older Verdict wrote."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import MINUTE, now, observation, records
from verdicts.store import Filter
from verdicts.store.sqlite import SqliteStore
from verdicts.store.sqlite_log import BAD, DAY, HOUR, KEYS
from verdicts.store.sqlite_schema import MIGRATIONS, migrate


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "verdict.db")
    made.initialise()
    yield made
    made.close()


@pytest.mark.parametrize("order", ["count", "clients", "score", "enforced"])
@pytest.mark.parametrize("by", ["qname", "registered", "client"])
@pytest.mark.parametrize(
    "wanted",
    [{"label": ("malicious",)}, {"tier": ("block",), "enforced": False}, {"tier": ("alert",), "resolver": ("edge-2",)}],
    ids=str,
)
def test_a_malicious_ranking_over_days_counts_what_a_search_finds(
    store: SqliteStore, wanted: dict[str, object], by: str, order: str
) -> None:
    end = now() // DAY * DAY - 3 * HOUR + 7 * MINUTE  # the range begins and ends within an hour
    start = end - 50 * HOUR
    for resolver, odd in (("edge-1", 1), ("edge-2", 0)):
        rows = [
            observation(
                f"h{i % 3}.bad{i % 7}.net", start - 30 * MINUTE + i * HOUR, client=f"192.0.2.{i % 5}", count=1 + i % 4,
                tier="block" if i % 2 else "alert", label="malicious", score=i / 64, enforced=i % 6 == odd,
            )
            for i in range(52)
        ]  # fmt: skip
        rows.append(observation("h0.bad0.net", end - HOUR, count=50))
        store.append(records(rows, 1, resolver))
    where = Filter(start, end, **wanted)  # type: ignore[arg-type]
    expected: dict[str, tuple[int, set[str], float, int, int]] = {}
    for record in store.search(where, 1000).records:
        count, clients, score, last, enforced = expected.get(getattr(record, by), (0, set(), 0.0, 0, 0))
        expected[getattr(record, by)] = (
            count + record.count, clients | {record.client}, max(score, record.score), max(last, record.last),
            enforced + record.count * record.enforced,
        )  # fmt: skip
    found = store.top(where, by, 100, order)
    assert expected and {top.key: (top.count, top.score, top.last, top.enforced) for top in found} == {
        key: (count, score, last, enforced) for key, (count, _, score, last, enforced) in expected.items()
    }
    ranks = [getattr(top, order) for top in found]
    assert ranks == sorted(ranks, reverse=True)
    if order != "clients":  # few of them: the same head
        assert [getattr(top, order) for top in store.top(where, by, 2, order)] == ranks[:2]


def test_clients_of_one_domains_names_and_of_one_clients_names_are_told(store: SqliteStore) -> None:
    end = now() // DAY * DAY
    rows = [
        observation(f"{i % 2}.example.com", end - 1 - i * HOUR, client=f"192.0.2.{i % 4}", rcode="NXDOMAIN")
        for i in range(40)
    ]
    store.append(records(rows))
    within = store.top(Filter(end - 2 * DAY, end, registered="example.com"), "qname")
    assert [(top.key, top.count, top.clients) for top in within] == [("0.example.com", 20, 2), ("1.example.com", 20, 2)]
    own = store.top(Filter(end - 2 * DAY, end, client="192.0.2.3", rcode=("NXDOMAIN",)), "qname")
    assert [(top.key, top.count, top.clients) for top in own] == [("1.example.com", 10, 1)]


def test_a_store_of_the_first_version_gets_its_malicious_roll_up(store: SqliteStore) -> None:
    at = now() - DAY
    rows = [
        observation(
            f"x{i % 9}.bad.net", at + i * 7 * MINUTE, client=f"192.0.2.{i % 4}", count=1 + i % 3, score=i / 128,
            tier=("none", "alert", "block")[i % 3], label="malicious" if i % 3 else "benign",
        )
        for i in range(90)
    ]  # fmt: skip
    store.append(records(rows))
    store.append(records(rows, 2))  # a second set adds to the sums of the first
    expected = store._all("SELECT * FROM bad ORDER BY field, key, time, dim")
    assert {row[0] for row in expected} == set(range(len(KEYS)))
    store.close()
    older = store._connect(create=False)  # the same store as version 1 left it
    older.execute("DROP TABLE bad")
    older.execute("DROP INDEX batches_discarded")
    older.execute("CREATE INDEX tops_bad ON tops (field, time) WHERE class >= 2")
    older.execute("PRAGMA user_version = 1")
    migrate(older)
    assert older.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    assert older.execute("SELECT * FROM bad ORDER BY field, key, time, dim").fetchall() == expected


def test_the_malicious_roll_up_holds_each_bad_query_and_loses_it_by_age(store: SqliteStore) -> None:
    at = now()
    for number, time in enumerate((at - 9 * DAY, at - HOUR), 1):
        rows = [observation("good.org", time), observation("bad.net", time, tier="block", label="malicious", count=3)]
        store.append(records(rows, number))
    direct = f"SELECT sum(count) FROM records r JOIN dims d ON d.id = r.dim WHERE {BAD}"
    for expected in (6, 3):
        assert store._all(direct)[0][0] == expected
        assert store._all("SELECT field, sum(count) FROM bad GROUP BY field") == [(i, expected) for i in range(3)]
        store.retain(at - 5 * DAY)
