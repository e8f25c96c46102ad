"""Aggregations by the values of a field, an empty one among them, and what is read of their buckets."""

from collections.abc import Callable, Iterator
from typing import Any

from verdicts.store.elastic_filter import FIELDS

ALWAYS = ("resolver", "label", "tier", "action", "enforced")  # no document is without
COUNT = {"sum": {"field": "verdict.count"}}


def without(field: str) -> dict[str, Any]:
    """The query for documents without a value of the field."""
    return {"bool": {"must_not": [{"exists": {"field": field}}]}}


ADDRESS = {"exists": {"field": "client.ip"}}
NO_ADDRESS = without("client.ip")


def by_values(by: str, terms: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Aggregations by a field's values; a client is an address or, where it is none, a text in a field of its own."""
    if by not in FIELDS:
        raise ValueError(f"field {by!r}: expected one of {', '.join(FIELDS)}")
    field = FIELDS[by]
    found: dict[str, Any] = {"k": {"terms": {"field": field, **terms}, "aggs": inner}}
    if by == "client":
        other = {"field": "client.address", "missing": "", **terms}
        found["rest"] = {"filter": NO_ADDRESS, "aggs": {"texts": {"terms": other, "aggs": inner}}}
    elif by not in ALWAYS:  # beside the values: as `missing` among them, ranking names costs twice as much
        found["rest"] = {"filter": without(field), "aggs": inner}
    return found


def values_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The buckets of `by_values` in a whole answer or in a bucket of one; there is none where there is no index."""
    found = answer if "k" in answer else answer.get("aggregations", {})
    known: list[dict[str, Any]] = found.get("k", {}).get("buckets", [])
    rest = found.get("rest", {"doc_count": 0})
    if not rest["doc_count"]:
        return known
    return [*known, *(rest["texts"]["buckets"] if "texts" in rest else [{"key": "", **rest}])]


def key_of(bucket: dict[str, Any]) -> str:
    """The value that a bucket stands for, as text."""
    return str(bucket.get("key_as_string", bucket["key"]))


def pages_of(ask: Callable[..., Any], sources: list[dict[str, Any]], size: int, inner: dict[str, Any]) -> Iterator[Any]:
    """The answers of a search, asked with `aggs`, that hold every group of the sources' values, `size` in each."""
    groups: dict[str, Any] = {"size": size, "sources": sources}
    while True:
        answer = ask(aggs={"g": {"composite": groups, "aggs": inner}})
        yield answer
        if len(groups_of(answer)) < size:
            return
        groups = {**groups, "after": answer["aggregations"]["g"]["after_key"]}


def groups_of(answer: Any) -> list[dict[str, Any]]:
    """The buckets of an answer of `pages_of`; there is none where there is no index."""
    found: list[dict[str, Any]] = answer.get("aggregations", {}).get("g", {}).get("buckets", [])
    return found
