"""An ingress replica in step with its store, and without one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import sqlite_url
from verdicts.follower import Follower
from verdicts.lists import Lists, entry, prevalence, removal
from verdicts.policy import ListHit
from verdicts.snapshot import BadSnapshot, Snapshot, load, save
from verdicts.store import Document, Epoch, Store, Unavailable, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(sqlite_url(tmp_path))
    opened.initialise()
    yield opened
    opened.close()


@pytest.fixture
def follower(store: Store, tmp_path: Path) -> Iterator[Follower]:
    following = Follower(sqlite_url(tmp_path), tmp_path / "snapshot")
    yield following
    following.close()


def test_a_poll_takes_up_lists_policy_tokens_and_ranks(store: Store, follower: Follower) -> None:
    store.commit(
        [
            entry("blocklist", "bad.org"),
            *prevalence(["google.com"]),
            Document("policy", "policy", {"paused": True, "overrides": [{"client": "192.0.2.0/24", "mode": "off"}]}),
            Document("token", "abc", {"role": "resolver"}),
        ],
        "ann",
    )
    assert follower.poll()
    assert follower.view.lists.match("x.bad.org") == ListHit("blocklist", "bad.org")
    assert follower.view.lists.rank("google.com") == 1
    assert follower.policy.paused and follower.view.policy.overrides == [{"client": "192.0.2.0/24", "mode": "off"}]
    assert list(follower.view.of_kind("token")) == ["abc"] and follower.stale_since is None
    assert follower.epoch == store.epoch()


def test_a_poll_without_a_change_changes_nothing(store: Store, follower: Follower) -> None:
    follower.poll()
    view = follower.view
    assert not follower.poll() and follower.view is view


@pytest.mark.parametrize("at_once", [True, False])
def test_a_list_of_a_newer_release_decides_nothing_and_stops_nothing(
    store: Store, follower: Follower, at_once: bool
) -> None:
    if not at_once:
        follower.poll()
    store.commit([Document("list", "greylist/new.org", {"list": "greylist"}), entry("blocklist", "bad.org")], "ann")
    assert follower.poll() and follower.stale_since is None
    assert follower.view.lists.match("bad.org") and follower.view.lists.match("new.org") is None


def test_what_cannot_be_followed_shows(store: Store, follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    store.commit([entry("blocklist", "bad.org")], "ann")
    follower.poll()
    store.commit([entry("benign", "good.org")], "ann")
    with monkeypatch.context() as broken:
        broken.setattr(Lists, "apply", lambda *_: {}["greylist"])
        assert not follower.poll()
        assert follower.stale_since is not None and follower.error == "KeyError: 'greylist'"
        assert follower.view.lists.match("bad.org")  # as of before
    assert follower.poll() and follower.stale_since is None


def test_small_and_large_changes_are_both_followed(
    store: Store, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.follower.MAX_FOLLOWED", 1000)
    follower.poll()
    store.commit([entry("blocklist", f"n{i}.org") for i in range(1500)], "ann")
    follower.poll()
    assert len(follower.view.lists) == 1500
    store.commit([removal("blocklist", "n7.org")], "ann")
    follower.poll()
    assert len(follower.view.lists) == 1499 and follower.view.lists.match("n7.org") is None


def test_a_resolver_hears_of_the_suffixes_changed_since_its_epoch(store: Store, follower: Follower) -> None:
    follower.poll()
    first = store.commit([entry("blocklist", "a.org")], "ann")
    follower.poll()
    store.commit([entry("benign", "b.org")], "ann")
    store.commit([removal("blocklist", "a.org")], "ann")
    follower.poll()
    generation = first.generation
    assert follower.changes_since(0, generation) == (["a.org", "b.org"], False)
    assert follower.changes_since(first.number + 1, generation) == (["a.org"], False)
    assert follower.changes_since(follower.epoch.number, generation) == ([], False)


def test_a_policy_change_says_refresh(store: Store, follower: Follower) -> None:
    follower.poll()
    before = follower.epoch
    store.commit([Document("policy", "policy", {"cache_ttl": 30})], "ann")
    follower.poll()
    assert follower.changes_since(before.number, before.generation) == ([], True)


@pytest.mark.parametrize(("epoch", "generation"), [(0, "another"), (99, "")])
def test_who_saw_another_store_believes_nothing(store: Store, follower: Follower, epoch: int, generation: str) -> None:
    store.commit([entry("blocklist", "a.org")], "ann")
    follower.poll()
    assert follower.changes_since(epoch, generation) == (None, True)


def test_too_many_changes_are_none(store: Store, follower: Follower) -> None:
    follower.poll()
    for part in range(2):
        store.commit([entry("blocklist", f"n{part}x{i}.org") for i in range(900)], "ann")
        follower.poll()
    assert follower.changes_since(0) == (None, False)


def test_a_policy_that_does_not_fit_leaves_the_former(store: Store, follower: Follower) -> None:
    store.commit([Document("policy", "policy", {"cache_ttl": 30})], "ann")
    follower.poll()
    store.commit([Document("policy", "policy", {"cache_ttl": "soon"})], "ann")
    follower.poll()
    assert follower.policy.cache_ttl == 30


def test_a_restart_without_the_store_decides_as_before(store: Store, follower: Follower, tmp_path: Path) -> None:
    store.commit([entry("honeypot", "trap.org"), Document("policy", "policy", {"paused": True})], "ann")
    follower.poll()
    follower.save()
    again = Follower(f"sqlite:///{tmp_path}/gone.db", tmp_path / "snapshot")
    assert not again.poll()
    assert (
        again.loaded and again.view.lists.match("trap.org") == ListHit("honeypot", "trap.org") and again.policy.paused
    )
    assert again.epoch == follower.epoch
    assert again.stale_since is not None and "no such file" in again.error


def test_without_store_and_snapshot_nothing_is_loaded(tmp_path: Path) -> None:
    follower = Follower(f"sqlite:///{tmp_path}/none.db", tmp_path / "none")
    assert not follower.poll() and not follower.loaded


def test_a_store_that_goes_away_leaves_the_view_and_comes_back() -> None:
    class Sometimes:
        away = False

        def epoch(self) -> Epoch:
            if self.away:
                raise Unavailable("away")
            return Epoch(0, "g")

        def changes(self, *_: object) -> list[Document]:
            return []

        scan = keys = changes

    store = Sometimes()
    follower = Follower(store)  # type: ignore[arg-type]
    follower.poll()
    store.away = True
    follower.poll()
    assert follower.loaded and follower.stale_since is not None and follower.error == "away"
    store.away = False
    follower.poll()
    assert follower.stale_since is None


def test_a_change_while_the_snapshot_is_written_is_in_force_at_once_and_in_the_next(
    store: Store, follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(path: Path, snapshot: Snapshot) -> None:
        if not follower.view.lists.holds("blocklist", "b.org"):
            store.commit([entry("blocklist", "b.org")], "ann")
            follower.poll()
        save(path, snapshot)

    monkeypatch.setattr("verdicts.follower.save", slowly)
    store.commit([entry("blocklist", "a.org")], "ann")
    follower.poll()
    follower.save()
    assert follower.view.lists.holds("blocklist", "b.org")
    assert load(tmp_path / "snapshot").epoch.number == 1  # type: ignore[union-attr]
    follower.save()
    again = Follower(f"sqlite:///{tmp_path}/gone.db", tmp_path / "snapshot")
    assert again.view.lists.holds("blocklist", "b.org") and again.epoch == follower.epoch


def test_a_view_that_the_snapshot_holds_is_not_written_again(store: Store, follower: Follower, tmp_path: Path) -> None:
    follower.poll()
    follower.save()
    written = (tmp_path / "snapshot").stat().st_ino
    follower.poll()
    follower.save()
    assert (tmp_path / "snapshot").stat().st_ino == written


@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_a_damaged_snapshot_is_refused(store: Store, follower: Follower, tmp_path: Path, damage: str) -> None:
    store.commit([entry("blocklist", "a.org")], "ann")
    follower.poll()
    follower.save()
    raw = (tmp_path / "snapshot").read_bytes()
    broken = {"cut": raw[:-3], "flip": raw[:-1] + bytes([raw[-1] ^ 1]), "other": b"not a snapshot"}[damage]
    (tmp_path / "snapshot").write_bytes(broken)
    with pytest.raises(BadSnapshot):
        load(tmp_path / "snapshot")
    assert not Follower(f"sqlite:///{tmp_path}/none.db", tmp_path / "snapshot").loaded
