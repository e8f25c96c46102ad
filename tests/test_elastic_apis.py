"""Which of the APIs that the store stands on the test server has: the first thing to look at when a version changes."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elasticsearch import ApiError, ConflictError, Elasticsearch

from tests.elastic import shared_url
from verdicts.store.elastic_client import connect, settings_of

pytestmark = pytest.mark.elastic


@pytest.fixture(scope="module")
def client() -> Iterator[Elasticsearch]:
    opened = connect(settings_of(f"{shared_url()}/"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def index(client: Elasticsearch) -> Iterator[str]:
    name = f"probe-{uuid.uuid4().hex[:8]}"
    kinds = {"t": "date", "k": "keyword", "i": "ip", "l": "long", "h": "half_float", "b": "boolean"}
    client.indices.create(
        index=name, aliases={f"{name}-alias": {}}, mappings={"properties": {f: {"type": k} for f, k in kinds.items()}}
    )
    document = {"t": 1000, "k": "a", "i": "192.0.2.1", "l": 1, "h": 0.5, "b": True, "_doc_count": 3}
    client.index(index=name, id="1", document=document, refresh=True)
    yield name
    client.indices.delete(index=name)


def standing(client: Elasticsearch, index: str) -> Any:
    found = client.open_point_in_time(index=index, keep_alive="1m")["id"]
    hits = [
        hit
        for part in range(2)
        for hit in client.search(
            pit={"id": found}, slice={"id": part, "max": 2}, sort=["_shard_doc"], source=False,
            stored_fields="_none_", docvalue_fields=["k"],
        )["hits"]["hits"]
    ]  # fmt: skip
    assert client.close_point_in_time(id=found)["succeeded"]
    return [hit["fields"]["k"] for hit in hits if "fields" in hit]


Use = Callable[[Elasticsearch, str], Any]
USED: dict[str, Use] = {
    "cluster health": lambda c, i: c.cluster.health()["status"],
    "node versions": lambda c, i: c.nodes.info(filter_path="nodes.*.version")["nodes"],
    "search by alias": lambda c, i: c.search(index=f"{i}-alias")["hits"]["hits"],
    "get by id": lambda c, i: c.get(index=i, id="1")["found"],
    "mget": lambda c, i: c.mget(index=i, ids=["1"])["docs"][0]["found"],
    "bulk create": lambda c, i: c.bulk(index=i, operations=[{"create": {"_id": "1"}}, {"k": "b"}])["errors"],
    "external versions": lambda c, i: c.index(index=i, id="2", version=4, version_type="external_gte", document={}),
    "msearch": lambda c, i: c.msearch(searches=[{"index": f"{i}*"}, {"size": 0}])["responses"][0]["hits"]["total"],
    "bulk index": lambda c, i: not c.bulk(index=i, operations=[{"index": {"_id": "3"}}, {"k": "c"}])["errors"],
    "composite buckets": lambda c, i: c.search(
        index=i,
        aggs={"a": {"composite": {"sources": [
            {"t": {"date_histogram": {"field": "t", "fixed_interval": "1000ms"}}},
            {"k": {"terms": {"field": "k", "missing_bucket": True}}},
        ]}}},
    )["aggregations"]["a"]["buckets"],
    "search_after": lambda c, i: c.search(index=i, sort=[{"t": "desc"}], search_after=[2000])["hits"]["hits"],
    "a point in time, in slices": lambda c, i: standing(c, i),
    "wildcard and prefix": lambda c, i: c.search(
        index=i, query={"bool": {"filter": [{"wildcard": {"k": {"value": "*a"}}}, {"prefix": {"k": "a"}}]}}
    )["hits"]["hits"],
    "a network of addresses": lambda c, i: c.search(index=i, query={"term": {"i": "192.0.2.0/24"}})["hits"]["hits"],
    "date histogram": lambda c, i: c.search(
        index=i, aggs={"a": {"date_histogram": {"field": "t", "fixed_interval": "1000ms"}}}
    )["aggregations"]["a"]["buckets"],
    "terms, sums and cardinality": lambda c, i: c.search(
        index=i,
        aggs={"a": {"terms": {"field": "k", "missing": ""}, "aggs": {
            "s": {"sum": {"field": "l"}}, "c": {"cardinality": {"field": "i"}}, "m": {"max": {"field": "h"}},
            "f": {"filter": {"term": {"b": True}}},
        }}},
    )["aggregations"]["a"]["buckets"],
    "index blocks": lambda c, i: c.indices.get_settings(index=i, flat_settings=True)[i]["settings"],
    "mappings": lambda c, i: c.indices.get_mapping(index=i)[i]["mappings"]["properties"],
    "refresh": lambda c, i: c.indices.refresh(index=i)["_shards"]["successful"],
}  # fmt: skip


@pytest.mark.parametrize("api", USED)
def test_an_api_that_the_store_uses_is_there(client: Elasticsearch, index: str, api: str) -> None:
    assert USED[api](client, index)


def test_a_bucket_counts_by_doc_count_and_value_count_does_not(client: Elasticsearch, index: str) -> None:
    aggs = {"a": {"terms": {"field": "k"}, "aggs": {"v": {"value_count": {"field": "t"}}}}}
    [bucket] = client.search(index=index, query={"term": {"k": "a"}}, aggs=aggs)["aggregations"]["a"]["buckets"]
    assert (bucket["doc_count"], bucket["v"]["value"]) == (3, 1)


def test_a_create_of_what_is_there_is_a_conflict(client: Elasticsearch, index: str) -> None:
    with pytest.raises(ConflictError):
        client.create(index=index, id="1", document={})


ABSENT: dict[str, Use] = {
    "index lifecycle": lambda c, i: c.ilm.get_status(),
    "API keys": lambda c, i: c.security.get_api_key(),
    "the banner": lambda c, i: c.info(),
}


@pytest.mark.parametrize("api", ABSENT)
def test_what_this_server_lacks_the_store_does_not_use(client: Elasticsearch, index: str, api: str) -> None:
    with pytest.raises(ApiError):
        ABSENT[api](client, index)
