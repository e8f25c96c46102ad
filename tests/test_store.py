"""One contract, two stores: what holds of the embedded store holds of Elasticsearch (contract 4)."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.stores import (
    BOOT,
    MINUTE,
    SQLITE_ONLY,
    around,
    batch_of,
    now,
    observation,
    promise,
    records,
    settled,
    sqlite_url,
)
from verdicts.arguments import DAY_MS
from verdicts.observations import check
from verdicts.store import Conflict, Document, Filter, Misconfigured, Promise, Store, Unavailable, open_store
from verdicts.store.sqlite import SqliteStore

Make = Callable[..., Store]

KINDS: list[dict[str, Any]] = [
    {"label": "benign"},
    {"label": "unknown", "reason": "timeout"},
    {"label": "malicious", "tier": "alert"},
    {"label": "malicious", "tier": "block", "enforced": True, "action": "nxdomain"},
]


# The log


def test_a_record_comes_back_as_it_went(store: Store) -> None:
    at = now()
    row = observation(
        "a\\.b\\000.example.co.uk", at, qtype="TYPE262", client="2001:db8::1", label="malicious", tier="block", count=7,
        action="nxdomain", enforced=True, rule="generated>=0.9", rcode="NXDOMAIN", score=0.75, generated=0.984375,
        latency_sum=5000, latency_max=900, addresses=["192.0.2.7", "2001:db8::7"], targets=["t.example.net"],
        last=at + 900,
    )  # fmt: skip
    wanted = records([row])
    assert store.append(wanted) == []
    settled(store)
    assert store.search(around(at)).records == wanted


@pytest.mark.parametrize(
    "cursor",
    ["", "abc", "é", "1.2.3", "1", "-1.5", "9" * 30 + ".1", "WzFd", "WzEsMiwzLDQsNV0=", "WzEsMiwzLDRlMzAsIngiXQ=="],
)
def test_a_cursor_that_no_page_gave_is_refused_by_name(store: Store, cursor: str) -> None:
    store.append(records([observation()]))
    settled(store)
    with pytest.raises(ValueError, match="cursor .*: expected one that a page gave") as caught:
        store.search(around(now()), 10, cursor)
    assert repr(cursor) in str(caught.value)


def test_a_batch_of_the_highest_number_is_stored(store: Store) -> None:
    at, last = now(), 1 << 53
    rows = [observation(at=at)]
    check(batch_of(rows, last))
    assert store.append(records(rows, last), [promise(rows, last)]) == []
    settled(store)
    assert [record.id for record in store.search(around(at)).records] == [f"edge-1-{BOOT}-{last}-0"]
    assert [(state.batch, state.missing) for state in store.reconcile(at - MINUTE, at + MINUTE)] == [(last, 0)]


def test_a_count_up_to_the_contract_s_bound_is_stored_whole(store: Store) -> None:
    at = now()
    rows = [observation("a.org", at, count=1 << 32), observation("b.org", at, count=(1 << 31) + 5)]
    assert store.append(records(rows), [promise(rows)]) == []
    settled(store)
    assert {record.count for record in store.search(around(at)).records} == {1 << 32, (1 << 31) + 5}
    assert [cell.count for cell in store.cube(around(at), 1, ())] == [(1 << 32) + (1 << 31) + 5]
    assert [state.missing for state in store.reconcile(at - MINUTE, at + MINUTE)] == [0]


def test_a_repeat_changes_nothing(store: Store) -> None:
    at = now()
    rows = [observation(f"{i}.example.com", at, count=3) for i in range(10)]
    store.append(records(rows[:6]), [promise(rows)])
    store.append(records(rows), [promise(rows)])
    settled(store)
    assert sum(bucket.count for bucket in store.histogram(around(at), MINUTE)) == 30
    assert len(store.search(around(at)).records) == 10


def test_a_repeat_within_one_call_changes_nothing(store: Store) -> None:
    at = now()
    wanted = records([observation(at=at)])
    store.append(wanted + wanted)
    settled(store)
    assert len(store.search(around(at)).records) == 1


def test_what_no_store_takes_is_dead_lettered_and_does_not_stop_the_rest(store: Store) -> None:
    at = now()
    rows = [observation("good.example.com", at), observation("bad.example.com", at=5)]
    rejected = store.append(records(rows), [promise(rows, at=at)])
    assert [(item.record.qname, "time 5" in item.reason) for item in rejected] == [("bad.example.com", True)]
    settled(store)
    [state] = store.reconcile(at - MINUTE, at + MINUTE)
    assert (state.rows, state.stored, state.dead, state.missing) == (2, 1, 1, 0)


def test_a_client_that_is_no_address_is_kept(store: Store) -> None:
    at = now()
    store.append(records([observation(at=at, client="5f2a" * 8)]))
    settled(store)
    assert len(store.search(around(at, client="5f2a" * 8)).records) == 1


def test_a_reconciliation_tells_each_batch_once_however_many_have_one_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite_queries", "elastic_queries"):
        monkeypatch.setattr(f"verdicts.store.{module}.PAGE_BATCHES", 3)
    at = now()
    rows = [observation(at=at)]
    for number in range(1, 12):
        store.append(records(rows, number), [promise(rows, number, at - number // 8)])
    settled(store)
    for kept in (False, True):
        found = [(state.time, state.batch) for state in store.reconcile(at - MINUTE, at + 1, kept)]
        assert sorted(number for _, number in found) == list(range(1, 12)) and found == sorted(found)


def test_dead_letters_of_a_batch_that_went_by_its_age_are_no_other_batch_s(store: Store) -> None:
    """As of an import of a log that reaches back further than a store takes."""
    at = now()
    rows = [observation("a.example.com", at - 401 * DAY_MS), observation("b.example.com", at - 399 * DAY_MS)]
    store.append(records(rows), [promise(rows, at=at - 399 * DAY_MS)])
    settled(store)
    store.retain(at - 30 * DAY_MS)
    settled(store)
    assert list(store.reconcile(0, at + 1)) == []
    rows = [observation("c.example.com", at), observation("d.example.com", at)]
    store.append(records(rows, 2)[:1], [promise(rows, 2, at)])
    settled(store)
    for kept in (False, True):
        [state] = store.reconcile(0, at + 1, kept)
        assert (state.batch, state.stored, state.dead, state.missing) == (2, 1, 0, 1)


def test_a_dead_letter_that_is_written_again_the_next_day_hides_no_missing_row(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.store.elastic_queries.PAGE_GROUPS", 2)
    at = now()
    rows = [observation(f"{i}.example.com", at - (500 * DAY_MS if i < 3 else 0)) for i in range(5)]
    sent = records(rows)[:3]
    store.append(sent)
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: (at + DAY_MS) / 1000)
        assert len(store.append(sent, [promise(rows, at=at)])) == 3
    settled(store)
    for kept in (False, True):
        [state] = store.reconcile(at, at + 1, kept)
        assert (state.rows, state.stored, state.dead, state.missing) == (5, 0, 3, 2)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>.example.com", "\\000\\255.example.com", "=cmd.example.com"]
)
def test_a_hostile_name_is_data(store: Store, name: str) -> None:
    at = now()
    wanted = records([observation(name, at)])
    store.append(wanted)
    settled(store)
    assert store.search(around(at, name=wanted[0].qname)).records == wanted


def test_pages_cover_all_records_once_newest_first(store: Store) -> None:
    at = now()
    rows = [observation(f"{i}.example.com", at - i % 5) for i in range(25)]
    store.append(records(rows))
    settled(store)
    seen, cursor = [], None
    while True:
        page = store.search(around(at), 7, cursor)
        seen += page.records
        cursor = page.cursor
        if cursor is None:
            break
    assert len({record.id for record in seen}) == len(seen) == 25
    assert [record.time for record in seen] == sorted((record.time for record in seen), reverse=True)
    for limit in (25, 9_999, 10_000, 20_000):  # Elasticsearch answers 10,000 at once and no more
        whole = store.search(around(at), limit)
        assert (whole.records, whole.cursor) == (seen, None), limit


def test_the_range_ends_before_its_end(store: Store) -> None:
    at = now()
    store.append(records([observation(at=at)]))
    settled(store)
    assert store.search(Filter(at - 1, at)).records == []
    assert len(store.search(Filter(at, at + 1)).records) == 1


FILTERS = {
    "exact name": ({"name": "a.example.com"}, {"a"}),
    "suffix": ({"name": ".example.com"}, {"a", "apex", "deep"}),
    "suffix below the registered domain": ({"name": ".a.example.com"}, {"a", "deep"}),
    "suffix is no string end": ({"name": ".ample.com"}, set()),
    "wildcard": ({"name": "*xq*"}, {"deep", "other"}),
    "registered domain": ({"registered": "example.net"}, {"other", "bad"}),
    "client": ({"client": "192.0.2.9"}, {"a"}),
    "clients of a network": ({"client": "192.0.2.0/24"}, {"a", "apex", "deep", "bad"}),
    "clients of an odd network": ({"client": "192.0.2.8/30"}, {"a"}),
    "clients of a network of version 6": ({"client": "2001:db8::/32"}, {"other"}),
    "all clients of version 6": ({"client": "::/0"}, {"other"}),
    "tier": ({"tier": ("block",)}, {"bad"}),
    "one of two tiers": ({"tier": ("block", "alert")}, {"bad", "deep"}),
    "label and rcode": ({"label": ("benign",), "rcode": ("NXDOMAIN",)}, {"apex"}),
    "resolver": ({"resolver": ("edge-1",)}, {"a", "apex", "deep", "other", "bad"}),
    "another resolver": ({"resolver": ("edge-2",)}, set()),
    "enforced": ({"enforced": True}, {"bad"}),
    "not enforced": ({"enforced": False}, {"a", "apex", "deep", "other"}),
    "score from": ({"min_score": 0.75}, {"bad"}),
    "score to": ({"max_score": 0.25}, {"a", "apex", "other"}),
    "no reason": ({"reason": ("",)}, {"a", "apex", "deep", "bad"}),
    "reason": ({"reason": ("timeout", "")}, {"a", "apex", "deep", "bad", "other"}),
    "name and tier": ({"name": ".example.com", "tier": ("alert",)}, {"deep"}),
}


@pytest.mark.parametrize(
    ("network", "client"),
    [
        ("2001::/48", "2001:0:0:1::5"),
        ("2001:db8::/64", "2001:db8:0:0:1::"),
        ("::/16", "::1"),
        ("::/48", "0:0:0:1::"),
        ("2001:db8::/128", "2001:db8::"),
        ("2001:db8::7/128", "2001:db8::7"),
        ("192.0.2.1/32", "192.0.2.1"),
    ],
)
def test_a_client_of_a_network_is_found_however_its_zeros_are_left_out(store: Store, network: str, client: str) -> None:
    at = now()
    store.append(records([observation(at=at, client=client), observation(at=at, client="2001:db9::1")]))
    settled(store)
    assert [record.client for record in store.search(around(at, client=network)).records] == [client]


@pytest.mark.parametrize("case", FILTERS)
def test_a_filter_finds_what_it_says(store: Store, case: str) -> None:
    at = now()
    rows = {
        "a": observation("a.example.com", at, client="192.0.2.9"),
        "apex": observation("example.com", at, rcode="NXDOMAIN"),
        "deep": observation("xq.a.example.com", at, tier="alert", label="malicious", score=0.5),
        "other": observation("xq.example.net", at, client="2001:db8::5", reason="timeout", label="unknown"),
        "bad": observation(
            "b.example.net", at, tier="block", label="malicious", score=0.875, enforced=True, action="nxdomain"
        ),
    }
    store.append(records(list(rows.values())))
    settled(store)
    wanted, expected = FILTERS[case]
    found = {record.qname for record in store.search(around(at, **wanted)).records}
    assert found == {rows[name].qname for name in expected}


@pytest.mark.parametrize("case", FILTERS)
def test_a_histogram_and_a_ranking_count_what_a_search_finds(store: Store, case: str) -> None:
    at = now()
    rows = [
        observation("a.example.com", at, client="192.0.2.9", count=2),
        observation("example.com", at, rcode="NXDOMAIN", count=3),
        observation("xq.a.example.com", at, tier="alert", label="malicious", score=0.5, count=5),
        observation("xq.example.net", at, client="2001:db8::5", reason="timeout", label="unknown", count=7),
        observation(
            "b.example.net",
            at,
            tier="block",
            label="malicious",
            score=0.875,
            enforced=True,
            action="nxdomain",
            count=11,
        ),
    ]
    store.append(records(rows))
    settled(store)
    where = around(at, **FILTERS[case][0])
    expected = sum(record.count for record in store.search(where).records)
    assert sum(bucket.count for bucket in store.histogram(where, 60 * MINUTE)) == expected
    assert sum(bucket.count for bucket in store.histogram(where, 1000, "rcode")) == expected
    assert sum(top.count for top in store.top(where, "qname")) == expected
    assert sum(top.count for top in store.top(where, "tier")) == expected


@pytest.mark.parametrize("interval", [1000, MINUTE, 60 * MINUTE, 7 * MINUTE])
def test_a_histogram_sums_counts_by_interval_and_value(store: Store, interval: int) -> None:
    at = now() // (60 * MINUTE) * 60 * MINUTE - 60 * MINUTE
    times = [at + 10, at + 999, at + MINUTE, at + 61 * MINUTE, at - 1]
    store.append(records([observation(at=time, count=10 + i, last=time) for i, time in enumerate(times)]))
    settled(store)
    expected: dict[int, int] = {}
    for i, time in enumerate(times[:4]):
        bucket = time // interval * interval
        expected[bucket] = expected.get(bucket, 0) + 10 + i
    found = store.histogram(Filter(at, at + 62 * MINUTE), interval)
    assert {bucket.time: bucket.count for bucket in found} == expected


@pytest.mark.parametrize(
    "wanted", [{}, {"name": "a.example.com"}, {"registered": "example.com"}, {"client": "192.0.2.9"}]
)
@pytest.mark.parametrize(
    "by",
    [(), ("label", "tier"), ("tier", "label", "enforced"), ("rcode", "model"), ("client", "tier"), ("rule", "rcode")],
)
def test_a_cube_agrees_with_the_records(store: Store, wanted: dict[str, Any], by: tuple[str, ...]) -> None:
    at = now() // (60 * MINUTE) * 60 * MINUTE
    rows = [
        observation(
            f"{'a.' * (i % 2)}example.{'com' if i % 3 else 'net'}", at - i * 20 * MINUTE, client=f"192.0.2.{9 + i % 2}",
            count=1 + i, rcode=("NXDOMAIN", "NOERROR", "")[min(i % 5, 2)], **KINDS[i % len(KINDS)],
        )
        for i in range(40)
    ]  # fmt: skip
    store.append(records(rows))
    settled(store)
    where = Filter(at - 11 * 60 * MINUTE - 5, at - 25 * MINUTE, **wanted)
    for interval in (60 * MINUTE, 24 * 60 * MINUTE):
        expected: dict[tuple[int, tuple[str, ...]], int] = {}
        for record in store.search(where).records:
            keys = tuple(str(getattr(record, field)) for field in by)
            keys = tuple(key.lower() if key in ("True", "False") else key for key in keys)
            place = record.time // interval * interval, keys
            expected[place] = expected.get(place, 0) + record.count
        assert expected
        assert {(cell.time, cell.keys): cell.count for cell in store.cube(where, interval, by)} == expected
    for field in ("rcode", "rule"):
        counts: dict[str, int] = {}
        for record in store.search(where).records:
            key = getattr(record, field)
            counts[key] = counts.get(key, 0) + record.count
        assert {top.key: top.count for top in store.top(where, field)} == counts


def test_a_histogram_has_each_of_many_values(store: Store) -> None:
    at = now()
    rows = [observation(f"n{i}.com", at, count=2) for i in range(1200)]
    store.append(records(rows))
    settled(store)
    found = store.histogram(around(at), 60 * MINUTE, "registered")
    assert len({bucket.key for bucket in found}) == 1200 and sum(bucket.count for bucket in found) == 2400


def test_an_alias_target_counts_no_query(store: Store) -> None:
    at = now()
    store.append(records([observation(at=at), observation("t.example.net", at, count=0, target_of="www.example.com")]))
    settled(store)
    assert sum(bucket.count for bucket in store.histogram(around(at), MINUTE)) == 1


def test_a_ranking_counts_queries_clients_and_extremes(store: Store) -> None:
    at = now()
    rows = [
        observation("a.example.com", at, count=5, client="192.0.2.1", score=0.25),
        observation("a.example.com", at, count=1, client="192.0.2.2", score=0.5, generated=0.75, tier="alert",
                    label="malicious"),
        observation("b.example.net", at, count=4, client="192.0.2.1", enforced=True, tier="block", label="malicious"),
    ]  # fmt: skip
    store.append(records(rows))
    settled(store)
    first, second = store.top(around(at), "registered")
    assert (first.key, first.count, first.clients, first.score, first.generated) == ("example.com", 6, 2, 0.5, 0.75)
    assert (first.tier, second.tier, second.enforced) == ("alert", "block", 4)


@pytest.mark.parametrize(
    ("order", "first"), [("count", "a.org"), ("clients", "b.org"), ("score", "c.org"), ("enforced", "d.org")]
)
def test_a_ranking_is_ordered_as_asked(store: Store, order: str, first: str) -> None:
    at = now()
    rows = [observation("a.org", at, count=100), observation("c.org", at, score=0.875)]
    rows += [observation("b.org", at, client=f"192.0.2.{i}") for i in range(5)]
    rows += [observation("d.org", at, count=2, enforced=True)]
    store.append(records(rows))
    settled(store)
    assert store.top(around(at), "qname", 1, order)[0].key == first


def test_a_ranking_over_days_agrees_with_one_over_hours(store: Store) -> None:
    at = now()
    rows = [observation(f"{i % 3}.example.com", at - i * 600_000, client=f"192.0.2.{i}") for i in range(40)]
    store.append(records(rows))
    settled(store)
    short = store.top(Filter(at - 5 * 3_600_000, at + 1), "qname")
    assert [top.count for top in short] == [top.clients for top in short]
    long = store.top(Filter(at - 72 * 3_600_000, at + 1), "qname")
    assert [(top.count, top.clients) for top in long] == [(14, 14), (13, 13), (13, 13)]


def test_queries_of_several_domains_are_told_together(store: Store) -> None:
    at = now()
    rows = [observation(f"{i}.{name}", at, count=2) for name in ("a.com", "b.com", "c.com") for i in range(3)]
    store.append(records([*rows, observation("com", at), observation("d.com", at, count=0)]))
    settled(store)
    wanted = ["a.com", "", "c.com", "d.com", "absent.com"]
    assert store.domains(around(at), wanted) == {"a.com": 6, "c.com": 6}
    assert store.domains(around(at, tier=("block",)), wanted) == store.domains(around(at), []) == {}


@pytest.mark.parametrize("call", ["histogram", "top"])
def test_an_unknown_field_is_named_with_the_known_ones(store: Store, call: str) -> None:
    with pytest.raises(ValueError, match="'colour': expected one of .*qname"):
        if call == "top":
            store.top(around(now()), "colour")
        else:
            store.histogram(around(now()), MINUTE, "colour")


def test_reconciliation_tells_complete_batches_from_missing_rows(store: Store) -> None:
    at = now()
    rows = [observation(f"{i}.example.com", at, count=2) for i in range(10)]
    store.append(records(rows, 1), [promise(rows, 1, at)])
    store.append(records(rows, 2)[:7], [promise(rows, 2, at + 1)])
    store.append([], [Promise("edge-1", BOOT, 3, at + 2, 4, 4, 0)])
    settled(store)
    found = list(store.reconcile(at, at + 3))
    assert [(s.batch, s.rows, s.stored, s.missing) for s in found] == [(1, 10, 10, 0), (2, 10, 7, 3), (3, 0, 0, 0)]
    assert [(s.seen, s.discarded) for s in found] == [(20, 0), (20, 0), (4, 4)]
    assert list(store.reconcile(at, at + 3, kept=True)) == found


def test_what_reports_left_out_is_summed_over_any_range(store: Store) -> None:
    at = now()
    month = 30 * 86_400_000
    left_out = ((1, at - month, 5), (2, at - 1, 0), (3, at, 7), (4, at + 1, 11))
    store.append([], [Promise("edge-1", BOOT, number, when, 20, count, 0) for number, when, count in left_out])
    settled(store)
    assert [store.discarded(*span) for span in ((at - month, at + 1), (at, at + 2), (0, 1))] == [12, 18, 0]


def test_a_report_without_rows_that_comes_again_the_next_day_counts_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.store.elastic_queries.PAGE_GROUPS", 2)
    at = now()
    sent = [Promise("edge-1", BOOT, number, at - DAY_MS, 50, 50, 0) for number in range(1, 6)]
    store.append([], sent)
    store.append([], [each._replace(time=at) for each in sent])
    settled(store)
    assert store.discarded(at - 2 * DAY_MS, at + 1) == 250
    assert len(list(store.reconcile(at - 2 * DAY_MS, at + 1))) == 5


def test_retention_removes_what_is_older_and_leaves_the_rest(store: Store) -> None:
    at = now()
    old = at - 10 * 86_400_000
    store.append(records([observation("old.example.com", old)], 1), [promise([], 1, old)])
    store.append(records([observation("new.example.com", at)], 2), [promise([], 2, at)])
    settled(store)
    assert store.retained_to() == 0
    assert store.retain(at - 5 * 86_400_000) > 0
    store.retain(at - 6 * 86_400_000)  # a retention that was made longer brings nothing back
    assert store.retained_to() == at - 5 * 86_400_000
    everything = Filter(old - 86_400_000, at + 1)
    assert [record.qname for record in store.search(everything).records] == ["new.example.com"]
    assert [top.key for top in store.top(everything, "qname")] == ["new.example.com"]
    assert [state.batch for state in store.reconcile(0, at + 1)] == [2]


# What people decide


def test_a_commit_moves_the_epoch_and_is_read_back(store: Store) -> None:
    before = store.epoch()
    after = store.commit([Document("list", "benign/example.org", {"suffix": "example.org"})], "ann", "ours")
    assert after.number > before.number and after.generation == before.generation
    found = store.get("list", "benign/example.org")
    assert found is not None
    assert (found.body, found.author, found.note, found.epoch) == (
        {"suffix": "example.org"},
        "ann",
        "ours",
        after.number,
    )


def test_a_label_moves_no_epoch(store: Store) -> None:
    before = store.epoch()
    assert store.commit([Document("label", "example.org", {"label": "benign"})], "ann") == before == store.epoch()


def test_a_removed_document_is_gone_and_its_removal_is_a_change(store: Store) -> None:
    store.commit([Document("list", "benign/a.org", {"n": 1})], "ann")
    since = store.epoch().number
    store.commit([Document("list", "benign/a.org", None)], "ann")
    assert store.get("list", "benign/a.org") is None
    assert list(store.scan("list")) == [] == list(store.keys("list"))
    changes = store.changes("list", since)
    assert changes is not None and [(d.key, d.body) for d in changes] == [("benign/a.org", None)]


def test_changes_beyond_the_limit_are_none(store: Store) -> None:
    store.commit([Document("list", f"benign/{i}.org", {}) for i in range(5)], "ann")
    assert store.changes("list", 0, 4) is None
    assert len(store.changes("list", 0, 5) or []) == 5


def test_scan_and_keys_give_a_prefix_in_order(store: Store) -> None:
    names = ["blocklist/b.org", "benign/z.org", "benign/a.org"]
    store.commit([Document("list", name, {}) for name in names], "ann")
    assert [d.key for d in store.scan("list", "benign/")] == ["benign/a.org", "benign/z.org"]
    assert list(store.keys("list", "b")) == sorted(names)
    assert [d.key for d in store.scan("list", after="benign/a.org")] == ["benign/z.org", "blocklist/b.org"]
    assert [d.key for d in store.scan("list", "benign/", "benign/b")] == ["benign/z.org"]
    assert [d.key for d in store.scan("list", "blocklist/", "benign/z.org")] == ["blocklist/b.org"]
    assert list(store.scan("list", "benign/", "blocklist/b.org")) == []
    keys = ["a", "a\ud7ff", "a\ud7ffz", "a\ue000", "a\U0010ffff", "a\U0010ffffz", "b", "\U0010ffff", "\U0010ffffz"]
    store.commit([Document("incident", key, {}) for key in keys], "ann")
    for prefix in ("", *keys):
        found = [d.key for d in store.scan("incident", prefix)]
        assert sorted(found) == sorted(key for key in keys if key.startswith(prefix))


def test_expect_refuses_a_newer_document(store: Store) -> None:
    store.commit([Document("vetting", "a", {"n": 1})], "ann")
    first = store.get("vetting", "a")
    assert first is not None
    store.commit([Document("vetting", "a", {"n": 2})], "ben", expect=first.epoch)
    with pytest.raises(Conflict, match="vetting 'a'"):
        store.commit([Document("vetting", "a", {"n": 3}), Document("vetting", "b", {})], "cy", expect=first.epoch)
    assert store.get("vetting", "b") is None


def test_the_history_tells_what_each_change_replaced(store: Store) -> None:
    store.commit([Document("policy", "policy", {"n": 1})], "ann", "first")
    store.commit([Document("policy", "policy", {"n": 2}), Document("list", "benign/a.org", {})], "ben", "second")
    store.commit([Document("policy", "policy", None)], "cy")
    found = store.history("policy", "policy")
    assert [(d.body, d.previous, d.author) for d in found] == [
        (None, {"n": 2}, "cy"), ({"n": 2}, {"n": 1}, "ben"), ({"n": 1}, None, "ann"),
    ]  # fmt: skip
    assert len(store.history()) == 4
    assert len(store.history(limit=2)) == 2
    assert store.history(before=1) == []


def test_a_large_commit_is_one_commit(store: Store) -> None:
    epoch = store.commit((Document("list", f"blocklist/{i:05d}.org", {"n": i}) for i in range(2500)), "ann")
    assert len(list(store.keys("list"))) == 2500
    assert {d.epoch for d in store.scan("list")} == {epoch.number}
    assert [d.body for d in store.history("list", "blocklist/02400.org")] == [{"n": 2400}]


@pytest.mark.parametrize("size", [2, 50, 300, 1500])
def test_one_entry_s_history_is_found_in_a_commit_of_any_size(store: Store, size: int) -> None:
    def entries(note: str) -> list[Document]:
        return [Document("list", f"benign/{number:04}.org", {"note": note}) for number in range(0, 2 * size, 2)]

    settled(store)
    store.commit(entries("first"), "a")
    store.commit([Document("list", "benign/zz.org", {"note": "other"})], "b")
    store.commit(entries("second"), "c")
    for number in (0, 2 * (size // 2), 2 * size - 2):
        found = store.history("list", f"benign/{number:04}.org")
        assert [(d.body, d.previous) for d in found] == [
            ({"note": "second"}, {"note": "first"}), ({"note": "first"}, None),
        ]  # fmt: skip
    assert store.history("list", "benign/0001.org") == []  # between two that are there
    assert len(store.history("list", "benign/zz.org")) == 1


def test_a_list_entry_that_says_nothing_new_is_no_change(store: Store) -> None:
    def documents(created: int, note: str = "feed") -> list[Document]:
        body = {"suffix": "a.org", "note": note, "created": created, "expires": None, "author": f"ann {created}"}
        return [Document("list", f"blocklist/{i:02d}.org", body) for i in range(40)]

    first = store.commit(documents(1), "ann")
    assert store.commit(documents(2), "ben") == first == store.epoch()
    assert {d.author for d in store.scan("list")} == {"ann"}
    second = store.commit([*documents(3)[:39], *documents(3, "mine")[39:], Document("label", "x", {})], "cy")
    assert second.number > first.number
    assert [d.key for d in store.changes("list", first.number) or []] == ["blocklist/39.org"]
    assert [(d.key, d.author) for d in store.history("list", limit=2)][0] == ("blocklist/39.org", "cy")
    store.commit([Document("list", "blocklist/39.org", None)], "ann")
    again = store.commit(documents(4, "mine")[39:], "ann")
    assert [d.key for d in store.changes("list", second.number) or []] == ["blocklist/39.org"]
    assert again == store.epoch() and again.number > second.number
    store.commit([Document("list", f"blocklist/{i:02d}.org", None) for i in range(50)], "ann")  # ten were never there
    assert len(store.changes("list", again.number) or []) == 40 and list(store.keys("list")) == []
    gone = store.epoch()
    assert store.commit([Document("list", "blocklist/07.org", None)], "ann") == gone == store.epoch()


def test_a_commit_of_nothing_new_still_minds_what_it_expects(store: Store) -> None:
    store.commit([Document("list", "benign/a.org", {"note": "x"})], "ann")
    second = store.commit([Document("list", "benign/a.org", {"note": "y"})], "ben")
    with pytest.raises(Conflict):
        store.commit([Document("list", "benign/a.org", {"note": "y"})], "cy", expect=second.number - 1)


def test_a_list_among_many_others_replaces_its_own_alone(store: Store) -> None:
    def documents(names: range, note: str) -> list[Document]:
        return [Document("list", f"blocklist/{i:05d}.org", {"note": note}) for i in names]

    store.commit(documents(range(0, 3000), "old"), "ann")
    store.commit(documents(range(0, 3000, 100), "new"), "ann")  # far apart: most between are others
    store.commit(documents(range(2000, 3200), "new"), "ann")
    assert {d.key: d.body for d in store.scan("list")} == {
        d.key: d.body
        for i in range(3200)
        for d in documents(range(i, i + 1), "new" if i >= 2000 or i % 100 == 0 else "old")
    }
    found = store.history("list", limit=1300)
    assert len(found) == 1300 and sum(d.previous == {"note": "old"} for d in found) == 1020


def test_expiring_finds_entries_whose_time_has_come(store: Store) -> None:
    documents = [Document("list", f"benign/{i}.org", {"expires": expires}) for i, expires in enumerate((5, 500, None))]
    store.commit(documents, "ann")
    assert [d.key for d in store.expiring(100)] == ["benign/0.org"]


def test_what_is_no_list_entry_does_not_expire(store: Store) -> None:
    """A token that is over is still told of, and so is what was decided on a name."""
    others = [Document("token", "t1", {"expires": 5}), Document("vetting", "a.org", {"expires": 5})]
    store.commit(others, "ann")
    assert store.expiring(100) == []


@SQLITE_ONLY
def test_what_an_earlier_release_took_for_expiring_does_not_expire(store: Store, tmp_path: Path) -> None:
    store.commit([Document("token", "t1", {"expires": 5}), Document("list", "benign/a.org", {"expires": 6})], "ann")
    with sqlite3.connect(tmp_path / "verdict.db") as file:
        assert file.execute("UPDATE documents SET expires = 5 WHERE kind = 'token'").rowcount == 1
    file.close()
    assert [document.key for document in store.expiring(100)] == ["benign/a.org"]


def test_two_writers_lose_no_commit(url: str, store: Store) -> None:
    if url.startswith("sqlite"):  # it has one writer, and refuses the second
        store.commit([Document("list", "benign/a.org", {})], "ann")
        with pytest.raises(Unavailable, match="another process"):
            open_store(url).commit([Document("list", "benign/b.org", {})], "ben")
        return
    from concurrent.futures import ThreadPoolExecutor

    writers = [open_store(url) for _ in range(4)]

    def write(number: int) -> int:
        return writers[number % 4].commit([Document("list", f"benign/{number}.org", {})], "ann").number

    with ThreadPoolExecutor(4) as threads:
        epochs = list(threads.map(write, range(24)))
    for writer in writers:
        writer.close()
    assert len(list(store.keys("list"))) == 24
    assert store.epoch().number == 24 and max(epochs) == 24


def test_a_reader_may_not_write(url: str, store: Store) -> None:
    reader = open_store(url, readonly=True)
    assert reader.epoch() == store.epoch()
    with pytest.raises(Misconfigured):
        reader.commit([Document("list", "benign/a.org", {})], "ann")
    with pytest.raises(Misconfigured):
        reader.append(records([observation()]))
    reader.close()


def test_a_store_that_was_set_up_has_nothing_wrong(store: Store) -> None:
    assert store.check() == []


def test_a_store_that_was_not_set_up_says_so(url: str) -> None:
    opened = open_store(url)
    assert any("verdict store init" in problem for problem in opened.check())
    with pytest.raises(Unavailable):
        opened.epoch()
    opened.initialise()
    opened.close()


def test_several_documents_are_got_at_once(store: Store) -> None:
    many = [f"benign/{i}.org" for i in range(1200)]
    store.commit([Document("list", key, {"note": key}) for key in many], "ann")
    store.commit([Document("list", many[5], None)], "ann")
    found = {document.key: document for document in store.get_many("list", [*many, "benign/absent.org"])}
    assert sorted(found) == sorted(set(many) - {many[5]})
    assert found[many[7]] == store.get("list", many[7])
    assert store.get_many("list", []) == store.get_many("policy", many[:3]) == []


def test_setting_up_twice_keeps_the_generation(url: str, store: Store) -> None:
    before = store.epoch()
    store.initialise()
    assert store.epoch() == before


def test_forgetting_removes_a_kind_with_its_history_and_nothing_else(store: Store) -> None:
    store.commit([Document("incident", "old", {"client": "192.0.2.1"})], "verdict")
    store.commit([Document("incident", "old", {"client": "192.0.2.1", "state": "closed"})], "ann")
    store.commit([Document("list", "benign/a.org", {})], "ann")
    settled(store)
    before = max(document.time for document in store.history()) + 1
    assert store.forget("incident", before - 3_600_000) == 0
    assert store.get("incident", "old") is not None
    epoch = store.epoch()
    assert store.forget("incident", before) == 1
    settled(store)
    assert store.get("incident", "old") is None and list(store.scan("incident")) == []
    assert [document.key for document in store.history()] == ["benign/a.org"]
    assert store.epoch() == epoch
    store.commit([Document("incident", "new", {})], "verdict")
    assert [document.key for document in store.scan("incident")] == ["new"]


@SQLITE_ONLY
def test_of_a_commit_of_which_all_is_forgotten_nothing_is_left(store: Store) -> None:
    incident = Document("incident", "old", {})
    store.commit([incident], "verdict")
    store.commit([incident, Document("label", "a.org", {})], "ann")
    store.forget("incident", now() + 1)
    assert isinstance(store, SqliteStore)
    assert store._all("SELECT author FROM commits") == [("ann",)]


@SQLITE_ONLY
def test_a_file_is_for_its_owner_alone(store: Store, tmp_path: Path) -> None:
    row = observation()
    store.append(records([row]), [promise([row])])
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("verdict.db*")}
    assert len(modes) == 4 and set(modes.values()) == {"0o600"}, modes


@SQLITE_ONLY
def test_a_folder_that_cannot_be_is_unavailable(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=f"store {tmp_path}/file/verdict.db: "):
        open_store(sqlite_url(tmp_path / "file")).initialise()


def test_the_past_of_a_list_that_is_replaced_goes_and_the_list_stays(store: Store) -> None:
    runs = [Document("prevalence", f"{number:05d}", {"first": 1, "names": "a.org"}) for number in range(3)]
    store.commit([Document("list", "benign/a.org", {})], "ann")
    for author in ("feed", "feed again"):
        store.commit(runs, author)
    settled(store)
    epoch = store.epoch()
    store.forget_history("prevalence", now() - 3_600_000)
    settled(store)
    assert len(store.history("prevalence")) == 6
    store.forget_history("prevalence", now() + 1)
    settled(store)
    assert [document.key for document in store.history()] == ["benign/a.org"] and store.epoch() == epoch
    assert [document.body for document in store.scan("prevalence")] == [run.body for run in runs]
    store.commit(runs[:1], "feed, a third time")
    [change] = store.history("prevalence")
    assert change.previous == runs[0].body  # what undo would write back


def test_a_decision_is_never_forgotten(store: Store) -> None:
    with pytest.raises(ValueError, match="history of a decision"):
        store.forget_history("list", now())
    with pytest.raises(ValueError, match="decision"):
        store.forget("list", now())
