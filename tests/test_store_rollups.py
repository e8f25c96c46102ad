"""The SQLite store's roll-ups say what the records say, also in a store that an older Verdict wrote."""

from collections import Counter

import msgspec
import pytest

from tests.stores import MINUTE, SQLITE_ONLY, now, observation, promise, records
from verdicts.observations import Observation
from verdicts.records import Record
from verdicts.store import Filter, Misconfigured
from verdicts.store.sqlite import SqliteStore
from verdicts.store.sqlite_askers import count_askers
from verdicts.store.sqlite_log import DAILY, HOURLY, NAMED
from verdicts.store.sqlite_schema import DAY, HOUR, MIGRATIONS

pytestmark = SQLITE_ONLY


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


VERSION_5 = (
    *(f"DROP TRIGGER {table}_{name}" for table in ("records", "dead") for name in ("come", "gone")),
    "ALTER TABLE batches DROP COLUMN stored", "ALTER TABLE batches DROP COLUMN dead", "DROP TABLE bad",
    "DROP TABLE suspect",
)  # fmt: skip
OF_VERSION_2 = "CREATE TABLE bad (field INTEGER, key TEXT, time INTEGER, dim INTEGER, PRIMARY KEY (field, key, time))"


def older(store: SqliteStore, version: int, *undo: str) -> None:
    """Make a store what a former version left."""
    store.close()
    db = store._connect(create=False)
    for statement in (*VERSION_5, *undo, f"PRAGMA user_version = {version}"):
        db.execute(statement)
    store.close()


def named(store: SqliteStore) -> list[list[tuple[object, ...]]]:
    """The rows of the roll-ups that keep name and client, and what batches keep of themselves."""
    columns = "time, qname, client, dim, registered, count, score, generated, last"
    found = [store._all(f"SELECT {columns} FROM {table} ORDER BY time, qname, client, dim") for table, _ in NAMED]
    return [*found, store._all("SELECT id, stored, dead FROM batches ORDER BY id")]


def odd_rows(at: int) -> list[Observation]:
    """Rows of every tier and of two response codes, some equal but for their minute."""
    return [
        observation(
            f"x{i % 9}.bad.net", at + i * 7 * MINUTE, client=f"192.0.2.{i % 4}", count=1 + i % 3, score=i / 128,
            tier=("none", "alert", "block")[i % 3], label="malicious" if i % 3 else "benign",
            rcode="NXDOMAIN" if i % 5 else "NOERROR",
        )
        for i in range(90)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "undo"),
    [
        (1, ("DROP TABLE askers", "DROP INDEX batches_discarded", "CREATE INDEX tops_bad ON tops (field, time)")),
        (4, (OF_VERSION_2, 'UPDATE askers SET clients = \'["192.0.2.1","192.0.2.2"]\'')),
    ],
)
def test_an_older_store_gets_the_roll_ups_and_counts_of_today(
    store: SqliteStore, version: int, undo: tuple[str, ...]
) -> None:
    at = now() - 3 * DAY
    rows = odd_rows(at)
    store.append([*records(rows), *records([observation("late.example.com", 5)], 3)], [promise(rows)])
    store.append(records(rows, 2))  # a second set adds to the sums of the first
    day = at // DAY * DAY
    store._open_writer(create=False).execute(
        "INSERT INTO askers (field, key, time, clients) VALUES (0, 'x0.bad.net', ?, packed('[]'))", (day - DAY,)
    )
    expected = named(store)
    assert all(expected) and len(expected[0]) < len(expected[1])
    older(store, version, *undo)
    store.initialise()
    assert store.check() == []
    assert named(store) == expected
    assert store._all("PRAGMA user_version") == [(len(MIGRATIONS),)]
    if version == 4:
        asked = count_askers(store._all, 0, "x0.bad.net", day - DAY, day, range(4), ())
        assert asked == 2
    store.append(records(rows, 4), [promise(rows, 4)])
    assert list(store.reconcile(0, now() + DAY, kept=True)) == list(store.reconcile(0, now() + DAY))


@pytest.mark.parametrize("by", ["qname", "registered", "client"])
@pytest.mark.parametrize(
    "wanted",
    [{"rcode": ("NXDOMAIN",)}, {"label": ("malicious",)}, {"rcode": ("NXDOMAIN",), "tier": ("block",)}, {}],
    ids=str,
)
@pytest.mark.parametrize("client", ["192.0.2.3", ""])
@pytest.mark.parametrize("hours", [1, 9])
def test_a_ranking_of_what_is_suspect_counts_what_a_search_finds(
    store: SqliteStore, hours: int, client: str, wanted: dict[str, tuple[str, ...]], by: str
) -> None:
    at = now() - DAY
    store.append(records(odd_rows(at)))
    store.append(records(odd_rows(at), 2))
    where = Filter(at + 5 * MINUTE, at + hours * HOUR, client=client, **wanted)  # type: ignore[arg-type]
    expected: dict[str, list[Record]] = {}
    for record in store.search(where, 1000).records:
        expected.setdefault(getattr(record, by), []).append(record)
    assert {top.key: (top.count, top.clients, top.score, top.last) for top in store.top(where, by, 100)} == {
        key: (
            sum(record.count for record in found), len({record.client for record in found}),
            max(record.score for record in found), max(record.last for record in found),
        )
        for key, found in expected.items()
    }  # fmt: skip


def test_what_a_batch_keeps_of_itself_follows_each_of_its_rows(store: SqliteStore) -> None:
    at = now()
    rows = [observation(f"{i}.example.com", at - i * HOUR) for i in range(6)]
    for number in (1, 2, 1):  # the last is a repeat
        store.append(records(rows, number)[: 6 - number], [promise(rows, number, at)])
    store.append(records([observation("too.old.example.com", 5)], 3), [promise(rows[:1], 3, at)])

    def both() -> list[tuple[int, int, int]]:
        kept = list(store.reconcile(0, at + 1, kept=True))
        assert kept == list(store.reconcile(0, at + 1))
        return [(state.batch, state.stored, state.dead) for state in kept]

    assert both() == [(1, 5, 0), (2, 4, 0), (3, 0, 1)]
    store.retain(at - 3 * HOUR)
    assert both() == [(1, 4, 0), (2, 4, 0), (3, 0, 1)]
    writer = store._open_writer(create=False)
    writer.execute("DELETE FROM records WHERE qname = '0.example.com'")  # whoever does it, and however
    writer.execute("DELETE FROM dead")
    assert both() == [(1, 3, 0), (2, 3, 0), (3, 0, 0)]
    writer.execute("DROP TRIGGER records_gone")
    writer.execute("DELETE FROM records")
    assert [state.stored for state in store.reconcile(0, at + 1)] == [0, 0, 0]  # a proof reads the rows


def test_the_malicious_roll_ups_hold_each_bad_query_and_lose_it_by_age(store: SqliteStore) -> None:
    at = now()
    for number, time in enumerate((at - 9 * DAY, at - HOUR), 1):
        rows = [observation("good.org", time), observation("bad.net", time, tier="block", label="malicious", count=3)]
        store.append(records(rows, number))
    for expected in (6, 3):
        for table, held in NAMED:
            direct = f"SELECT sum(count) FROM records r JOIN dims d ON d.id = r.dim WHERE {held}"
            assert store._all(direct) == store._all(f"SELECT sum(count) FROM {table}") == [(expected,)]
        store.retain(at - 5 * DAY)


def popular(first: int, days: int, clients: range) -> list[Observation]:
    """A row for each client, name and day from `first` on: two names of a domain that are popular, one that is not."""
    return [
        observation(name, first + day * DAY + i * MINUTE, client=f"192.0.2.{i}", count=count)
        for day in range(days)
        for i in clients
        for name, count in (("a.example.com", 40), ("b.example.com", 30), ("c.example.org", 1))
    ]


def clients_of(store: SqliteStore, where: Filter, by: str) -> dict[str, int]:
    """Distinct clients by what a search finds; those of a long range are counted by whole days."""
    found: dict[str, set[str]] = {}
    for record in store.search(msgspec.structs.replace(where, start=where.start // DAY * DAY), 10_000).records:
        found.setdefault(getattr(record, by), set()).add(record.client)
    return {key: len(clients) for key, clients in found.items()}


def listed(store: SqliteStore) -> list[tuple[str, int]]:
    """The keys and days whose clients stand in lists, once the appends have made all that there will be."""
    for _ in range(20):
        store.append([])
    found: list[tuple[str, int]] = store._all("SELECT key, time FROM askers ORDER BY key, time")
    return found


@pytest.mark.parametrize("by", ["qname", "registered"])
def test_clients_from_the_lists_of_days_that_are_over_are_those_that_a_search_finds(
    store: SqliteStore, by: str
) -> None:
    today = now() // DAY * DAY
    first = today - 4 * DAY
    where = Filter(first + HOUR, today + DAY)
    store.append(records(popular(first, 4, range(8)) + popular(today, 1, range(6, 12))))
    days = [first + day * DAY for day in range(3)]  # the fourth may just be over, and settles still
    names = {(key, day) for key in ("a.example.com", "b.example.com", "example.com") for day in days}
    assert names <= set(listed(store)) and not {key for key, _ in listed(store)} & {"c.example.org", "example.org"}
    assert {top.key: top.clients for top in store.top(where, by)} == clients_of(store, where, by)

    late = [observation("a.example.com", first + DAY + HOUR, client=f"198.51.100.{i}") for i in range(3)]
    store.append(records(late, 2))
    assert {top.key: top.clients for top in store.top(where, by)} == clients_of(store, where, by)
    assert names <= set(store._all("SELECT key, time FROM askers"))


def test_a_resolver_that_is_always_late_keeps_no_day_from_its_lists(store: SqliteStore) -> None:
    today = now() // DAY * DAY
    first = today - 5 * DAY
    store.append(records(popular(first, 5, range(8))))
    for number in range(20):  # each with a row in time and one that is not
        late = observation("a.example.com", first + number, client=f"198.51.100.{number % 2}", count=30)
        store.append(records([late, observation("d.example.com", now())], 2 + number))
    days = {time for key, time in store._all("SELECT key, time FROM askers") if key == "a.example.com"}
    assert days >= {first + day * DAY for day in range(4)}
    where = Filter(first, today + DAY)
    assert {top.key: top.clients for top in store.top(where, "qname")} == clients_of(store, where, "qname")


def test_a_repeated_late_batch_leaves_the_lists_alone(store: SqliteStore) -> None:
    rows = popular(now() // DAY * DAY - 3 * DAY, 2, range(8))
    store.append(records(rows))
    expected = listed(store)
    store.append(records(rows))
    assert store._all("SELECT key, time FROM askers ORDER BY key, time") == expected


def test_lists_of_clients_go_with_their_day(store: SqliteStore) -> None:
    first = now() // DAY * DAY - 4 * DAY
    store.append(records(popular(first, 3, range(8))))
    assert first in {day for _, day in listed(store)}
    store.retain(first + DAY)
    assert {day for _, day in store._all("SELECT key, time FROM askers")} == {first + DAY, first + 2 * DAY}


def test_retention_reads_the_scattered_roll_ups_only_where_an_hour_or_a_day_is_over(store: SqliteStore) -> None:
    """Ten million rows have two gigabytes of them, and it comes each ten minutes."""
    day = now() // DAY * DAY - 9 * DAY
    times = [day + 10 * HOUR, day + 15 * HOUR, day + DAY + HOUR]
    rows = [observation(f"n{i}.example.com", at, tier="alert", label="malicious") for i, at in enumerate(times)]
    store.append(records(rows))
    said: list[str] = []
    store._open_writer(create=False).set_trace_callback(said.append)

    def read(before: int) -> set[str]:
        said.clear()
        store.retain(before)
        return {table for table in (*HOURLY, *DAILY) if any(f"FROM {table} " in line for line in said)}

    def left(table: str) -> int:
        return int(store._all(f"SELECT count(DISTINCT time) FROM {table}")[0][0])

    read(day)
    assert read(day + 9 * HOUR) == read(day + 10 * HOUR + 600_000) == set()
    assert read(day + 11 * HOUR) == set(HOURLY) and {left(table) for table in HOURLY} == {2}
    assert read(day + 20 * HOUR) == set(HOURLY) and {left(table) for table in HOURLY} == {1}
    assert left("asked") == left("days") == 2
    assert read(day + DAY) == set(DAILY)  # the last hour of the day went long before
    assert left("asked") == left("days") == 1
    assert read(day + 3 * DAY) == {*HOURLY, *DAILY}
    assert {left(table) for table in ("records", "hours", *HOURLY, *DAILY)} == {0}


def test_outcomes_that_no_row_has_any_more_go_with_their_day(store: SqliteStore) -> None:
    """Who asks for each type of query there is would else have every later question look at hundreds of them."""
    day = now() // DAY * DAY - 9 * DAY
    store.append(records([observation(at=day, qtype=f"TYPE{number}") for number in range(300, 400)]))
    store.append(records([observation(at=day + DAY + HOUR), observation(at=day, qtype="MX")], 2))
    store.retain(day + DAY + HOUR + 1000)
    assert [kind for (kind,) in store._all("SELECT qtype FROM dims")] == ["A"]
    store.append(records([observation(at=day + DAY + HOUR + 2000, qtype="MX")], 3))
    assert {top.key: top.count for top in store.top(Filter(day, day + 3 * DAY), "qtype")} == {"A": 1, "MX": 1}


def test_a_page_is_found_by_few_statements_however_many_outcomes_match(store: SqliteStore) -> None:
    at = now() - HOUR
    store.append(records([observation(at=at + n, qtype=f"TYPE{300 + n}") for n in range(200)]))
    said: list[str] = []
    store._reader().set_trace_callback(said.append)
    page = store.search(Filter(at, at + HOUR, label=("benign",)), 10)
    assert [record.qtype for record in page.records] == [f"TYPE{499 - n}" for n in range(10)]
    page = store.search(Filter(at, at + HOUR, label=("benign",)), 10, page.cursor)
    assert [record.qtype for record in page.records] == [f"TYPE{489 - n}" for n in range(10)]
    assert len(said) < 10


def test_a_store_of_the_third_version_gets_its_lists_of_clients_with_the_next_appends(store: SqliteStore) -> None:
    today = now() // DAY * DAY
    where = Filter(today - 5 * DAY, today + DAY)
    store.append(records(popular(today - 5 * DAY, 5, range(8))))
    older(store, 3, OF_VERSION_2, "DROP TABLE askers", "DELETE FROM meta WHERE name = 'askers'")
    assert store.check() == [
        f"store {store.path}: schema version 3, expected {len(MIGRATIONS)}; run `verdict store init`"
    ]
    store.initialise()
    assert store.check() == []
    assert {top.key: top.clients for top in store.top(where, "qname")} == clients_of(store, where, "qname")
    assert len(listed(store)) >= 3 * 4
    assert {top.key: top.clients for top in store.top(where, "qname")} == clients_of(store, where, "qname")


def test_a_store_of_a_newer_verdict_is_told_and_left_alone(store: SqliteStore) -> None:
    store.append(records([observation()]))
    store.close()
    other = store._connect(create=False)
    other.execute("PRAGMA user_version = 99")
    told = f"schema version 99, expected at most {len(MIGRATIONS)}: a newer Verdict wrote it"
    assert store.check() == [f"store {store.path}: {told}"]
    for _ in range(2):  # the second time too: the lock of the first is our own
        with pytest.raises(Misconfigured, match=told):
            store.append(records([observation()], 2))
    other.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    assert store.append(records([observation()], 2)) == []


@pytest.mark.parametrize("later", [False, True], ids=["up to now", "with later records"])
@pytest.mark.parametrize(
    "wanted", [{}, {"name": "h1.site2.com"}, {"registered": "site2.com"}, {"client": "192.0.2.3"}], ids=str
)
def test_a_range_that_ends_after_the_newest_record_counts_what_a_search_finds(
    store: SqliteStore, wanted: dict[str, str], later: bool
) -> None:
    end = now() // DAY * DAY - 5 * HOUR + 13 * MINUTE
    rows = [
        observation(
            f"h{i % 2}.site{i % 3}.com", end - 1 - i * 17 * MINUTE, client=f"192.0.2.{i % 5}", count=1 + i % 6,
            rcode="NXDOMAIN" if i % 4 else "NOERROR",
        )
        for i in range(240)
    ]  # fmt: skip
    rows.append(observation("h1.site2.com", end - 2 * HOUR, client="192.0.2.3", count=1 << 32))
    if later:
        rows += [observation("h1.site2.com", end + 30 * MINUTE, client="192.0.2.3", count=1000)]
    store.append(records(rows))
    where = Filter(end - 50 * HOUR, end, **wanted)  # type: ignore[arg-type]
    found = store.search(where, 1000).records
    for by in ("qname", "registered", "client"):
        counts: Counter[str] = Counter()
        for record in found:
            counts[getattr(record, by)] += record.count
        assert {top.key: top.count for top in store.top(where, by, 100)} == dict(counts)
        assert store.top(where, by, 1)[0].count == max(counts.values())
    for interval in (7 * MINUTE, 2 * HOUR, 3 * DAY):
        cells: Counter[tuple[int, str, str]] = Counter()
        for record in found:
            cells[record.time - record.time % interval, record.rcode, record.label] += record.count
        cube = store.cube(where, interval, ("rcode", "label"))
        assert {(cell.time, *cell.keys): cell.count for cell in cube} == dict(cells)
        assert [(cell.time, cell.keys) for cell in cube] == sorted((cell.time, cell.keys) for cell in cube)
