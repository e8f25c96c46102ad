"""A commit to a real Elasticsearch whose answers are lost, or that puts off what comes after it: it happens once, and
who asked for it is told so."""

import uuid
from collections.abc import Iterator

import pytest

from tests.elastic import shared_url
from tests.fault_proxy import FaultProxy, proxy_to
from verdicts.store import Document
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
