"""A real Elasticsearch that refuses, hangs, freezes and dies: what was acknowledged arrives once."""

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.elastic import ElasticServer, own_server, shared_url
from tests.fault_proxy import FaultProxy, proxy_to
from tests.stores import batch_of, now, observation, promise, records
from verdicts.drain import Drain, entry, unpack
from verdicts.spool import Spool, new_spool
from verdicts.store import Document, Filter, Misconfigured, Unavailable
from verdicts.store.elastic import ElasticStore

pytestmark = pytest.mark.elastic
LIMIT = 64 << 20
BATCHES, ROWS = 20, 50


def store_at(url: str, timeout: float = 5.0) -> ElasticStore:
    store = ElasticStore(f"{url}/?prefix=f{uuid.uuid4().hex[:12]}&replicas=0&timeout={timeout}")
    store.initialise()
    return store


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with proxy_to(shared_url()) as running:
        yield running


@pytest.fixture
def store(proxy: FaultProxy) -> Iterator[ElasticStore]:
    opened = store_at(proxy.url)
    opened.append(records([observation("warm.example.com", now() - 1000)], 99_999))  # the index is there
    yield opened
    proxy.faults = []
    opened.client.indices.delete(index=f"{opened.settings.prefix}-*")
    opened.close()


def filled(root: Path, batches: int = BATCHES) -> Spool:
    spool = new_spool(root, LIMIT)
    at = now()
    for number in range(1, batches + 1):
        rows = [observation(f"n{number}x{i}.example.com", at, count=2) for i in range(ROWS)]
        spool.append(entry(at, msgspec.json.encode(batch_of(rows, number))))
    return spool


def drained(root: Path, store: ElasticStore, spool: Spool | None = None) -> Drain:
    """A drain that has emptied its spool; it never waits long."""
    drain = Drain(root, spool or filled(root), LIMIT, store, wait=lambda _: None)
    while drain.step():
        pass
    return drain


def assert_once(store: ElasticStore, batches: int = BATCHES, dead: int = 0) -> None:
    """Every row is there once, and each batch adds up."""
    store.client.indices.refresh(index=f"{store.settings.prefix}-*")
    at = now()
    found = [s for s in store.reconcile(at - 3_600_000, at + 1) if s.batch != 99_999]
    assert [s.missing for s in found] == [0] * batches
    assert sum(s.stored for s in found) == batches * ROWS - dead and sum(s.dead for s in found) == dead
    where = Filter(at - 3_600_000, at + 1, name=".example.com")
    counted = sum(bucket.count for bucket in store.histogram(where, 3_600_000)) - 1  # the one that warmed up
    assert counted == 2 * (batches * ROWS - dead)


def test_a_bulk_of_mixed_answers_ends_with_every_row_once(
    proxy: FaultProxy, store: ElasticStore, tmp_path: Path
) -> None:
    proxy.faults = ["mixed"] * 6
    proxy.poison = b"n3x7.example"
    drained(tmp_path, store)
    assert {"201", "400", "403", "429", "503"} <= set(proxy.met)
    assert_once(store, dead=1)


@pytest.mark.parametrize("fault", ["reset", "half", 429, 503])
def test_a_broken_answer_is_asked_again(
    proxy: FaultProxy, store: ElasticStore, tmp_path: Path, fault: str | int
) -> None:
    proxy.faults = [fault, fault]
    drained(tmp_path, store)
    assert proxy.met[str(fault)] == 2
    assert_once(store)


def test_a_hang_ends_with_the_deadline(proxy: FaultProxy, store: ElasticStore, tmp_path: Path) -> None:
    hasty = ElasticStore(f"{proxy.url}/?prefix={store.settings.prefix}&replicas=0&timeout=0.5")
    hasty._known_indices = set(store._known_indices)
    proxy.faults = ["hang"]
    with pytest.raises(Unavailable, match="timed out"):
        hasty.append(records([observation("n1x0.example.com")], 1))
    hasty.close()
    drained(tmp_path, store)
    assert_once(store)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_pauses_and_says_so(proxy: FaultProxy, store: ElasticStore, tmp_path: Path, status: int) -> None:
    proxy.faults = [status]
    seen: list[str] = []
    drain = Drain(tmp_path, filled(tmp_path), LIMIT, store, wait=lambda _: seen.append(drain.status()["store"]))
    while drain.step():
        pass
    assert seen == ["misconfigured"] and drain.state == "healthy"
    assert_once(store)


def test_a_bulk_that_a_proxy_takes_for_too_large_is_sent_in_halves(
    proxy: FaultProxy, store: ElasticStore, tmp_path: Path
) -> None:
    proxy.faults = [413, 413]
    waits: list[str] = []
    drain = Drain(tmp_path, filled(tmp_path), LIMIT, store, wait=lambda _: waits.append(drain.error))
    while drain.step():
        pass
    assert waits == [] and proxy.met["413"] == 2
    assert_once(store)


def test_an_expiry_that_no_field_takes_stops_no_later_commit(store: ElasticStore) -> None:
    store.commit([Document("list", "benign/a.org", {"expires": 10**19})], "ann")
    store.commit([Document("list", "benign/b.org", {"expires": 5})], "ann")
    assert [document.key for document in store.expiring(1 << 62)] == ["benign/b.org"]


def test_a_bulk_of_refused_items_is_dead_lettered_with_the_reason(proxy: FaultProxy, store: ElasticStore) -> None:
    proxy.faults = ["mixed"]
    proxy.poison = b"example"
    rows = [observation("a.example.com"), observation("b.example.com")]
    rejected = store.append(records(rows), [promise(rows)])
    assert [item.reason for item in rejected] == ["document_parsing_exception: poisoned"] * 2


def test_an_index_that_is_read_only_is_waited_for(store: ElasticStore, tmp_path: Path) -> None:
    pattern = f"{store.settings.prefix}-log-*"
    store.client.indices.put_settings(index=pattern, settings={"index.blocks.read_only_allow_delete": True})
    waits: list[str] = []

    def lift(_: float) -> None:
        waits.append(drain.status()["store"])
        assert any("read_only" in problem for problem in store.check())
        store.client.indices.put_settings(index=pattern, settings={"index.blocks.read_only_allow_delete": None})

    drain = Drain(tmp_path, filled(tmp_path), LIMIT, store, wait=lift)
    while drain.step():
        pass
    assert waits == ["unavailable"]
    assert_once(store)


def test_a_crash_between_elasticsearchs_answer_and_the_trim_doubles_nothing(
    store: ElasticStore, tmp_path: Path
) -> None:
    spool = filled(tmp_path)
    got, promises, _ = unpack(spool.read(1 << 24)[0])
    store.append(got, promises)
    spool.close()  # the process is gone, nothing was trimmed
    drained(tmp_path, store, new_spool(tmp_path, LIMIT))
    assert_once(store)


_KILLED_BEFORE_THE_TRIM = """
import os, signal, sys
from pathlib import Path
from verdicts.drain import Drain
from verdicts.spool import Spool
from verdicts.store import open_store
Spool.trim = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
spool = Spool(Path(sys.argv[1]), 1 << 26)
Drain(spool.directory.parent, spool, 1 << 26, open_store(sys.argv[2])).step()
"""


def test_a_logger_killed_between_elasticsearchs_answer_and_the_trim_doubles_nothing(
    proxy: FaultProxy, store: ElasticStore, tmp_path: Path
) -> None:
    spool = filled(tmp_path)
    spool.close()
    url = f"{proxy.url}/?prefix={store.settings.prefix}&replicas=0"
    done = subprocess.run(
        [sys.executable, "-c", _KILLED_BEFORE_THE_TRIM, str(spool.directory), url], timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert_once(store)  # all of it is there, and still in the spool
    assert list(spool.directory.glob("*.seg"))
    heir = drained(tmp_path, store, new_spool(tmp_path, LIMIT))
    assert heir.stored == BATCHES * ROWS  # offered again
    assert_once(store)


def test_a_batch_repeated_through_another_replica_is_stored_once(store: ElasticStore, tmp_path: Path) -> None:
    other = ElasticStore(f"{shared_url()}/?prefix={store.settings.prefix}&replicas=0")
    spool = filled(tmp_path / "one")
    again = new_spool(tmp_path / "two", LIMIT)
    for raw in spool.read(1 << 24)[0]:
        again.append(raw)
    spool.rewind()
    drained(tmp_path / "one", store, spool)
    drained(tmp_path / "two", other, again)
    assert_once(store)
    other.close()


def test_a_mapping_that_another_made_is_named(store: ElasticStore) -> None:
    index = f"{store.settings.prefix}-log-2001.01.01"
    store.client.options(ignore_status=404).indices.delete_index_template(name=f"{store.settings.prefix}-log")
    store.client.index(index=index, document={"@timestamp": 5, "what": "guessed"})
    problems = store.check()
    assert any(index in problem and "not Verdict's" in problem for problem in problems)
    assert any("index template" in problem and "missing" in problem for problem in problems)


def test_a_half_applied_commit_is_finished_by_the_next_writer(
    store: ElasticStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "_apply", dies)
        with pytest.raises(KeyboardInterrupt):
            store.commit([Document("list", "benign/a.org", {"n": 1})], "ann")
    assert store.get("list", "benign/a.org") is None  # nobody saw a part of it
    store.commit([Document("list", "benign/b.org", {"n": 2})], "ben")
    assert sorted(store.keys("list")) == ["benign/a.org", "benign/b.org"]
    assert [d.author for d in store.history()] == ["ben", "ann"]


# A server of one's own, to freeze and to kill


SLOW_START = pytest.mark.timeout(900)  # two starts of a server


@pytest.fixture(scope="module")
def victim() -> Iterator[ElasticServer]:
    server = own_server()
    server.start()
    yield server
    server.kill()


@SLOW_START
def test_a_frozen_server_costs_time_and_no_row(victim: ElasticServer, tmp_path: Path) -> None:
    store = store_at(victim.url)
    store.append(records([observation("warm.example.com", now() - 1000)], 99_999))
    victim.freeze()
    states: list[str] = []

    def thaw(_: float) -> None:
        states.append(drain.state)
        victim.thaw()

    drain = Drain(tmp_path, filled(tmp_path), LIMIT, store, wait=thaw)
    while drain.step():
        pass
    assert states[0] == "unavailable"
    assert_once(store)
    store.close()


@SLOW_START
def test_a_killed_server_comes_back_with_every_row_it_took(victim: ElasticServer, tmp_path: Path) -> None:
    store = store_at(victim.url)
    store.append(records([observation("warm.example.com", now() - 1000)], 99_999))
    spool = filled(tmp_path)
    got, promises, _ = unpack(spool.read(1 << 24)[0])
    store.append(got[: len(got) // 2])
    victim.kill()
    with pytest.raises(Unavailable):
        store.append(got, promises)
    spool.rewind()
    victim.start()
    drained(tmp_path, store, spool)
    assert_once(store)
    store.close()


def test_the_wrong_port_is_unavailable_and_no_server_is_misconfigured(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        ElasticStore("http://127.0.0.1:9/?timeout=1").epoch()
    with pytest.raises(Misconfigured, match="api.key"):
        ElasticStore(f"http://127.0.0.1:9/?api_key_file={tmp_path}/api.key")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost", "expected a port"),
        ("http://localhost:9200/?per=week", "week"),
        ("http://localhost:9200/?colour=red", "colour"),
        ("http://localhost:9200/?shards=many", "int"),
    ],
)
def test_a_bad_url_says_what_was_expected(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        ElasticStore(url)
