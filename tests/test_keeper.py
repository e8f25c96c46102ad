"""What a replica of the verdict log does beside draining, on either store: expiry, retention, other chores."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stores import around, now, observation, promise, records, settled
from verdicts.arguments import DAY_MS
from verdicts.follower import Follower
from verdicts.keeper import Clock, Keeper
from verdicts.lists import entry, prevalence
from verdicts.policy import ListHit
from verdicts.store import Document, Misconfigured, Store, Unavailable
from verdicts.store.elastic import ElasticStore
from verdicts.store.sqlite import SqliteStore


@pytest.fixture
def keeper(url: str, store: Store, tmp_path: Path) -> Keeper:
    made = Keeper(store, tmp_path / "spool", 1 << 20, retention_days=5)
    made._stopping.set()  # the chores are done by the test
    made._chore_thread.join()
    return made


def test_an_entry_is_in_force_until_its_time_and_resolvers_hear_of_its_end(store: Store, keeper: Keeper) -> None:
    at = now()
    soon = [entry("blocklist", "soon.org", expires=at + 500, author="ann"), entry("benign", "ever.org")]
    store.commit(soon, "ann", "feed")
    follower = Follower(store)
    follower.poll()
    before = follower.epoch
    keeper.do_chores(at)
    follower.poll()
    assert follower.epoch == before and follower.view.lists.match("www.soon.org") == ListHit("blocklist", "soon.org")
    keeper.do_chores(at + 501)
    follower.poll()
    assert follower.view.lists.match("www.soon.org") is None and follower.view.lists.match("ever.org") is not None
    assert follower.changes_since(before.number, before.generation) == (["soon.org"], False)
    [change] = store.history("list", limit=1)
    assert (change.author, change.key, change.body) == ("expiry", "blocklist/soon.org", None)
    assert change.previous is not None and change.previous["author"] == "ann"
    keeper.close()


def test_a_feed_whose_entries_expire_together_goes_at_once(
    store: Store, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite_state", "elastic_state"):
        monkeypatch.setattr(f"verdicts.store.{module}.EXPIRED", 10)
    at = now()
    store.commit([entry("blocklist", f"n{i}.org", expires=at + i % 2) for i in range(50)], "ann", "feed")
    assert len(store.expiring(at + 10)) == 10
    keeper.do_chores(at + 10)
    assert list(store.keys("list")) == []
    keeper.close()


def test_an_entry_that_another_keeper_expired_a_moment_before_is_no_failure(
    store: Store, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now()
    store.commit([entry("blocklist", "a.org", expires=at - 1), entry("blocklist", "b.org", expires=at + 10)], "ann")
    due = store.expiring(at)
    store.commit([Document(d.kind, d.key, None) for d in due], "expiry")
    with monkeypatch.context() as patch:
        patch.setattr(store, "expiring", lambda _: due)  # as it read them before the other one wrote
        keeper.do_chores(at)
    keeper.do_chores(at + 11)
    assert [d.key for d in store.history("list", limit=2)] == ["blocklist/b.org", "blocklist/a.org"]
    keeper.close()


def test_the_past_of_the_prevalence_list_goes_after_a_week_and_the_list_stays(store: Store, keeper: Keeper) -> None:
    store.commit(list(prevalence(["a.org", "b.org"])), "feed")
    store.commit([Document("policy", "policy", {})], "root")
    settled(store)
    at = now()
    keeper.do_chores(at)
    assert len(store.history()) == 2
    keeper._retained_at, keeper._clock = 0.0, Clock()  # as after a restart
    keeper.do_chores(at + 8 * DAY_MS)
    settled(store)
    assert [change.kind for change in store.history()] == ["policy"]
    assert [run.body for run in store.scan("prevalence")] == [{"first": 1, "names": "a.org\nb.org"}]
    keeper.close()


def test_records_promises_and_incidents_go_by_their_age(store: Store, keeper: Keeper) -> None:
    at = now()
    for number, age in enumerate((9 * DAY_MS, 0), 1):
        rows = [observation(f"n{number}.example.com", at - age)]
        store.append(records(rows, number), [promise(rows, number, at - age)])
    store.commit([Document("incident", "k", {"client": "192.0.2.1"}), entry("benign", "a.org")], "verdict")
    settled(store)
    keeper.do_chores(at)
    settled(store)
    assert [r.qname for r in store.search(around(at - 9 * DAY_MS)).records] == []
    assert [r.qname for r in store.search(around(at)).records] == ["n2.example.com"]
    assert [state.batch for state in store.reconcile(at - 20 * DAY_MS, at + 1)] == [2]
    assert [d.key for d in store.scan("incident")] == ["k"]  # written today
    keeper._retained_at, keeper._clock = 0.0, Clock()  # as after a restart
    keeper.do_chores(at + 6 * DAY_MS)
    settled(store)
    assert list(store.scan("incident")) == [] and [d.key for d in store.scan("list")] == ["benign/a.org"]
    keeper.close()


def test_a_clock_that_jumps_deletes_nothing_for_an_hour(
    store: Store, keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    at, counted = now(), [0.0]
    keeper._clock = Clock(lambda: counted[0])
    rows = [observation("n1.example.com", at)]
    store.append(records(rows, 1), [promise(rows, 1, at)])
    store.commit([entry("blocklist", "soon.org", expires=at + 7 * DAY_MS)], "ann")
    settled(store)

    def kept(time: int) -> bool:
        counted[0] += 700.0
        keeper._retained_at = 0.0
        keeper.do_chores(time)
        settled(store)
        found = store.search(around(at)).records != [], list(store.keys("list")) != []
        assert found[0] == found[1]
        return found[0]

    assert kept(at) and kept(at + 60 * DAY_MS) and "set by 60.0 days" in caplog.text
    assert kept(at)  # it was set right
    assert kept(at + 60 * DAY_MS) and all(kept(at + 60 * DAY_MS + 700_000 * n) for n in range(1, 6))
    assert not kept(at + 60 * DAY_MS + 700_000 * 6)  # and now it stays
    keeper.close()


def test_incidents_go_where_something_else_deletes_the_records(
    store: Store, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key without `delete_index`, as docs/store.md allows."""

    def refuse(before: int) -> int:
        raise Misconfigured("Elasticsearch: 403 security_exception: action [indices:admin/delete] is unauthorized")

    store.commit([Document("incident", "k", {"client": "192.0.2.1"})], "verdict")
    monkeypatch.setattr(store, "retain", refuse)
    with pytest.raises(Misconfigured):
        keeper.do_chores(now() + 6 * DAY_MS)
    settled(store)
    assert list(store.scan("incident")) == []
    keeper.close()


def test_records_go_where_a_full_disk_takes_no_commit(url: str, store: Store, keeper: Keeper) -> None:
    """Elasticsearch at its flood stage blocks all indices of a node, and lets them only be deleted."""
    at = now()
    rows = [observation("old.example.com", at - 9 * DAY_MS)]
    store.append(records(rows), [promise(rows, at=at - 9 * DAY_MS)])
    store.commit([entry("blocklist", "soon.org", expires=at - 1), Document("incident", "k", {})], "ann")
    settled(store)
    blocked = _block_commits(store)
    with pytest.raises((Unavailable, sqlite3.IntegrityError)):
        keeper.do_chores(at + 6 * DAY_MS)
    blocked()
    settled(store)
    assert store.search(around(at - 9 * DAY_MS)).records == []
    keeper.close()


def _block_commits(store: Store) -> Callable[[], object]:
    """Have every commit refused; the way back."""
    if isinstance(store, SqliteStore):
        with store._transaction() as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON commits BEGIN SELECT raise(ABORT, 'full'); END")
        return lambda: None
    assert isinstance(store, ElasticStore)
    index = f"{store.settings.prefix}-state,{store.settings.prefix}-history"
    put, name = store.client.indices.put_settings, "index.blocks.read_only_allow_delete"
    put(index=index, settings={name: True})
    return lambda: put(index=index, settings={name: None})
