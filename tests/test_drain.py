"""From a spool to a store that refuses, hangs and comes back: everything arrives, nothing twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.stores import batch_of, now, observation, sqlite_url
from tests.waiting import until
from verdicts import names
from verdicts.drain import MISCONFIGURED_RETRY_S, Drain, entry, promise_of, unpack
from verdicts.records import Record
from verdicts.spool import new_spool
from verdicts.store import Filter, Misconfigured, Promise, Rejected, Unavailable, open_store

LIMIT = 64 << 20


class Moody:
    """A store that raises what it was told to before it takes anything."""

    def __init__(self, *moods: Exception) -> None:
        self.moods = list(moods)
        self.got: list[Record] = []
        self.promised: list[Promise] = []

    def append(self, records: Sequence[Record], promises: Sequence[Promise]) -> list[Rejected]:
        if self.moods:
            raise self.moods.pop(0)
        self.got += records
        self.promised += promises
        return []


def spooled(root: Path, batches: int = 3) -> Any:
    spool = new_spool(root, LIMIT)
    for number in range(1, batches + 1):
        batch = batch_of([observation(f"{i}.example.com") for i in range(4)], number)
        spool.append(entry(now(), msgspec.json.encode(batch)))
    return spool


def drain_of(root: Path, store: Any, waits: list[float]) -> Drain:
    return Drain(root, spooled(root), LIMIT, store, wait=waits.append)


def test_everything_arrives_once_the_store_takes_it(tmp_path: Path) -> None:
    store, waits = Moody(Unavailable("429"), Unavailable("503")), list[float]()
    drain = drain_of(tmp_path, store, waits)
    assert drain.step()
    assert len(store.got) == 12 and [promise.batch for promise in store.promised] == [1, 2, 3]
    assert drain.status()["spool_bytes"] == 0 and drain.state == "healthy"
    assert len(waits) == 2 and 0 < waits[0] <= 0.1 < waits[1] * 2


def test_a_store_that_takes_little_at_a_time_gets_each_record_once(tmp_path: Path) -> None:
    """Else a bulk that never gets through whole would be offered from its start for ever."""

    class Narrow(Moody):
        def append(self, records: Sequence[Record], promises: Sequence[Promise]) -> list[Rejected]:
            if len(records) > 600:
                raise Unavailable("429")
            return super().append(records, promises)

    spool = new_spool(tmp_path, LIMIT)
    for number in (1, 2, 3):
        batch = batch_of([observation(f"{i}.example.com") for i in range(1000)], number)
        spool.append(entry(now(), msgspec.json.encode(batch)))
    store, waits = Narrow(), list[float]()
    assert Drain(tmp_path, spool, LIMIT, store, wait=waits.append).step()
    assert len(store.got) == len({record.id for record in store.got}) == 3000
    assert [promise.batch for promise in store.promised] == [1, 2, 3]
    assert len(waits) < 10


def test_a_misconfiguration_pauses_and_says_so(tmp_path: Path) -> None:
    states: list[dict[str, Any]] = []
    drain = Drain(
        tmp_path, spooled(tmp_path), LIMIT, Moody(Misconfigured("401 no such key")),
        wait=lambda seconds: states.append({**drain.status(), "wait": seconds}),
    )  # fmt: skip
    drain.step()
    assert [(s["store"], s["error"], s["wait"]) for s in states] == [
        ("misconfigured", "401 no such key", MISCONFIGURED_RETRY_S)
    ]


def test_what_a_store_says_that_takes_nothing_is_logged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("verdicts.drain.TELL_AGAIN_S", -1.0)
    drain = drain_of(tmp_path, Moody(Unavailable("no route"), Unavailable("index [log-1] blocked by")), [])
    drain.step()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == ["store unavailable no route", "store unavailable for 0 minutes: index [log-1] blocked by"]


def test_a_drain_that_is_stopped_leaves_everything_on_disk(tmp_path: Path) -> None:
    store = Moody(*[Unavailable("down")] * 5)
    drain = Drain(tmp_path, spooled(tmp_path), LIMIT, store, wait=lambda _: drain._stopping.set())
    assert not drain.step()
    assert store.got == [] and drain.status()["spool_bytes"] > 0


def test_an_unexpected_error_neither_ends_the_thread_nor_loses_an_entry(tmp_path: Path) -> None:
    store = Moody(RuntimeError("a bug"))
    drain = Drain(tmp_path, spooled(tmp_path), LIMIT, store, wait=lambda _: None)
    drain.start()
    until(lambda: len(store.got) >= 12)
    drain.stop()
    assert len(store.got) == 12


def test_an_orphan_is_drained_and_its_folder_goes(tmp_path: Path) -> None:
    spooled(tmp_path).close()
    store = Moody()
    drain = Drain(tmp_path, new_spool(tmp_path, LIMIT), LIMIT, store, wait=lambda _: None)
    while drain.step():
        pass
    assert len(store.got) == 12 and len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_an_orphan_is_drained_beside_one_that_cannot_be_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As root leaves one, who once started the cluster of another user."""
    for name in ("0-first", "zz-last"):
        (tmp_path / name / "lock").mkdir(parents=True)  # it refuses root too
    spooled(tmp_path).close()
    store = Moody()
    drain = Drain(tmp_path, new_spool(tmp_path, LIMIT), LIMIT, store, wait=lambda _: None)
    assert drain.step() and len(store.got) == 12
    assert "0-first is not read" in caplog.text and "zz-last is not read" in caplog.text


def test_an_orphan_is_drained_while_resolvers_keep_reporting(tmp_path: Path) -> None:
    left = batch_of([observation("left.example.com")], boot="ab" * 16)
    orphan = new_spool(tmp_path, LIMIT)
    orphan.append(entry(now(), msgspec.json.encode(left)))
    orphan.close()
    own = spooled(tmp_path, 1)

    class Busy(Moody):
        def append(self, records: Sequence[Record], promises: Sequence[Promise]) -> list[Rejected]:
            own.append(entry(now(), msgspec.json.encode(batch_of([observation()], 10 + len(self.promised)))))
            return super().append(records, promises)

    store = Busy()
    drain = Drain(tmp_path, own, LIMIT, store, wait=lambda _: None)
    for _ in range(4):
        assert drain.step()
    assert "left.example.com" in {record.qname for record in store.got}


def test_an_entry_that_is_no_batch_is_set_aside(tmp_path: Path) -> None:
    spool = spooled(tmp_path, 1)
    spool.append(entry(now(), b'{"resolver": 5}'))
    store = Moody()
    drain = Drain(tmp_path, spool, LIMIT, store, wait=lambda _: None)
    drain.step()
    assert len(store.got) == 4
    assert (tmp_path / "undecodable.jsonl").read_bytes() == b'{"resolver": 5}\n'
    assert (tmp_path / "undecodable.jsonl").stat().st_mode & 0o077 == 0  # it says who asked for what


def test_an_entry_that_a_defect_keeps_from_becoming_records_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split(name: str) -> names.Parts:
        if name == "1.example.com":
            raise IndexError("a defect")
        return names.Parts("", name, "")

    spool, store = new_spool(tmp_path, LIMIT), Moody()
    bad, good = (msgspec.json.encode(batch_of([observation(f"{n}.example.com")], n)) for n in (1, 2))
    spool.append(entry(now(), bad))
    spool.append(entry(now(), good))
    with monkeypatch.context() as broken:
        broken.setattr(names, "split", split)
        Drain(tmp_path, spool, LIMIT, store, wait=lambda _: None).step()
    assert [record.qname for record in store.got] == ["2.example.com"]
    assert (tmp_path / "undecodable.jsonl").read_bytes() == bad + b"\n"


def test_a_hostile_name_does_not_stop_the_log(tmp_path: Path) -> None:
    r"""A label of a dot and a public suffix, `\.com`, was split into nothing: the drain tried it again for ever."""
    spool, store = new_spool(tmp_path / "spool", LIMIT), open_store(sqlite_url(tmp_path))
    store.initialise()
    for number, qname in enumerate(("\\.com", "\\.co.uk", "www.example.com"), 1):
        spool.append(entry(now(), msgspec.json.encode(batch_of([observation(qname)], number))))
    Drain(tmp_path / "spool", spool, LIMIT, store).step()
    found = store.search(Filter(now() - 60_000, now() + 60_000)).records
    assert {record.qname for record in found} == {"\\.com", "\\.co.uk", "www.example.com"}
    store.close()
    spool.close()


def test_what_an_older_plugin_reports_of_types_that_nobody_assigned_is_held_as_one() -> None:
    batch = batch_of([observation(qtype=qtype) for qtype in ("TYPE4711", "TYPE4712", "TYPE65535", "TYPE65399", "A")])
    records, [promise], bad = unpack([entry(now(), msgspec.json.encode(batch))])
    assert [record.qtype for record in records] == ["other", "other", "other", "TYPE65399", "A"]
    assert (promise.rows, bad) == (5, [])


def test_an_empty_batch_promises_nothing() -> None:
    assert unpack([entry(now(), msgspec.json.encode(batch_of([])))]) == ([], [], [])


def test_a_promise_has_the_same_time_whenever_the_batch_comes() -> None:
    at = now()
    batch = batch_of([observation(at=at - 5000), observation(at=at - 4000)])
    assert promise_of(batch, at).time == promise_of(batch, at + 3_600_000).time == at - 4000


def test_a_crash_between_the_stores_answer_and_the_trim_doubles_nothing(tmp_path: Path) -> None:
    store = open_store(sqlite_url(tmp_path))
    store.initialise()
    spool = spooled(tmp_path / "spool")
    records, promises, _ = unpack(spool.read(1 << 20)[0])
    store.append(records, promises)  # the store has it, and the process dies before it trims
    spool.close()
    drain = Drain(tmp_path / "spool", new_spool(tmp_path / "spool", LIMIT), LIMIT, store, wait=lambda _: None)
    while drain.step():
        pass
    at = now()
    everything = Filter(at - 60_000, at + 60_000)
    assert sum(bucket.count for bucket in store.histogram(everything, 60_000)) == 12
    assert [(s.rows, s.stored) for s in store.reconcile(at - 60_000, at + 60_000)] == [(4, 4)] * 3
    store.close()


def test_a_batch_repeated_through_another_replica_is_stored_once(tmp_path: Path) -> None:
    store = open_store(sqlite_url(tmp_path))
    store.initialise()
    batch = msgspec.json.encode(batch_of([observation("a.example.com", count=5)]))
    for replica in ("one", "two"):
        spool = new_spool(tmp_path / replica, LIMIT)
        spool.append(entry(now(), batch))
        assert Drain(tmp_path / replica, spool, LIMIT, store).step()
    at = now()
    assert sum(bucket.count for bucket in store.histogram(Filter(at - 60_000, at + 1000), 60_000)) == 5
    store.close()


@pytest.mark.parametrize("mode", ["whole", "truncated", "keyed"])
def test_a_clients_address_is_changed_before_it_reaches_the_disk(tmp_path: Path, mode: str) -> None:
    from verdicts.keeper import Keeper
    from verdicts.privacy import anonymiser

    keeper = Keeper(sqlite_url(tmp_path), tmp_path / "spool", LIMIT, anonymiser(mode, b"k" * 16))
    keeper.drain.stop()
    keeper.keep(msgspec.json.encode(batch_of([observation(client="192.0.2.77")])))
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("spool/*/*.seg"))
    assert (b"192.0.2.77" in raw) == (mode == "whole")
    keeper.close()
