"""A commit to a real Elasticsearch whose answers are lost, or that puts off what comes after it: it happens once, and
who asked for it is told so."""

import uuid
from collections.abc import Iterator

import pytest

from tests.elastic import shared_url
from tests.fault_proxy import FaultProxy, proxy_to
from verdicts.store import Document, Misconfigured
from verdicts.store.elastic import ElasticStore

pytestmark = pytest.mark.elastic


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with proxy_to(shared_url()) as running:
        yield running


@pytest.fixture(params=[1, 2], ids=["one host", "two hosts"])
def store(request: pytest.FixtureRequest, proxy: FaultProxy) -> Iterator[ElasticStore]:
    """Its first host answers as the proxy lets it. Of two the client asks the other where an answer is lost."""
    hosts = [proxy.url, proxy.url.replace("127.0.0.1", "localhost")][: request.param]
    url = ",".join([hosts[0], *(host.removeprefix("http://") for host in hosts[1:])])
    opened = ElasticStore(f"{url}/?prefix=c{uuid.uuid4().hex[:12]}&replicas=0&timeout=5")
    opened.initialise()
    yield opened
    proxy.faults = []
    opened.client.indices.delete(index=f"{opened.settings.prefix}-*")
    opened.close()


@pytest.mark.parametrize("fault", ["reset", "half"])
@pytest.mark.parametrize("expect", [None, 0])
def test_a_commit_whose_answer_is_lost_happens_once_and_is_told_as_made(
    proxy: FaultProxy, store: ElasticStore, expect: int | None, fault: str
) -> None:
    proxy.spoils, proxy.faults = "op_type=create", [fault]
    told = store.commit([Document("policy", "policy", {"n": 1})], "ann", expect=expect)
    assert proxy.met[fault] == 1
    assert told.number == 1 and store.epoch() == told
    assert [(change.epoch, change.author) for change in store.history("policy")] == [(1, "ann")]


ONE_HOST = pytest.mark.parametrize("store", [1], indirect=True)
AFTERWARDS = pytest.mark.parametrize(
    ("spoils", "fault"),
    [("-state/_bulk", "mixed"), ("-state/_bulk", 429), ("_refresh", 503), ("version_type", 429)],
    ids=["documents", "a bulk", "the refresh", "the head"],
)


@ONE_HOST
@AFTERWARDS
def test_what_is_put_off_of_a_commit_is_sent_again(
    proxy: FaultProxy, store: ElasticStore, spoils: str, fault: str | int
) -> None:
    proxy.spoils, proxy.faults = spoils, [fault, fault]
    keys = [f"blocklist/n{i:02}.org" for i in range(40)]
    told = store.commit([Document("list", key, {"n": 1}) for key in keys], "ann")
    assert proxy.faults == [] and (fault != "mixed" or {"403", "429", "503"} <= set(proxy.met))
    assert store.epoch() == told and list(store.scan("list")) == store.changes("list", 0)
    assert sorted(store.keys("list")) == keys


@ONE_HOST
@AFTERWARDS
def test_a_commit_that_happened_is_told_with_its_epoch_and_comes_into_force_later(
    proxy: FaultProxy, store: ElasticStore, spoils: str, fault: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verdicts.store.elastic_commit.PATIENCE_S", 0.0)
    proxy.spoils, proxy.faults = spoils, [fault]
    wanted = [Document("list", f"blocklist/n{i:02}.org", {"n": 1}) for i in range(40)]
    told = store.commit(wanted, "ann", expect=0)
    assert told.number == 1 and store.epoch().number == 0
    store.expiring(0)  # a chore of every keeper
    assert store.epoch() == told and len(store.changes("list", 0) or []) == 40
    assert {change.epoch for change in store.history("list")} == {1}
    assert store.commit([Document("label", "n.org", {})], "ann") == told  # no decision: the epoch stays


@ONE_HOST
def test_a_commit_that_the_store_refuses_to_apply_says_that_it_is_made(proxy: FaultProxy, store: ElasticStore) -> None:
    proxy.spoils, proxy.faults = "-state/_bulk", [403]
    with pytest.raises(Misconfigured, match="commit 1 is made, and not in force: .* 403"):
        store.commit([Document("policy", "policy", {"n": 1})], "ann")
    store.expiring(0)
    assert store.epoch().number == 1
