"""Rankings of the log in Elasticsearch.

What is told of a ranking's rows (distinct clients, extremes) costs several times what it costs to find which they are.
So that is found first, by the numbers that give the order alone, and then the rows are counted: exactly, since nothing
else is. Each index answers with the highest of its own, and says where it left out others: a value that it did not list
lacks that index's queries. Where few rows match, all is asked at once, and believed if no index left out any.

Which have the most queries is told for certain as long as a value that an index did not list cannot have more than the
last of the ranking: the server bounds that. Where it can, longer lists are asked for, and at last every value is
counted, page by page; but not where so much lies outside the lists that this would take longer than anybody waits.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from verdicts import names
from verdicts.observations import TIERS
from verdicts.store import MAX_FREQUENT, MAX_TOP, Filter, Top, check_limit
from verdicts.store.elastic_counts import Counts
from verdicts.store.elastic_filter import FIELDS, any_of, query_of
from verdicts.store.elastic_values import (
    ADDRESS,
    COUNT,
    NO_ADDRESS,
    by_values,
    groups_of,
    key_of,
    pages_of,
    values_of,
    without,
)

KEYS = ("qname", "registered", "client")  # fields of many values
# Where each order finds its number in a bucket; of several it is the sum.
TOP_ORDERS = {
    "count": (("count",),), "clients": (("clients",), ("others", "clients")), "score": (("score",),),
    "enforced": (("enforced", "count"),),
}  # fmt: skip
DEPTH = 10  # values that are listed for each one wanted
MORE = 100  # than are wanted by clients, of those with the most queries, have their clients counted
# One document stands for as many queries as it counts, but for those of none, which stand for one.
_COUNTED = {"range": {"verdict.count": {"gte": 1}}}
_ENFORCED = {"term": {"verdict.enforced": True}}
MAX_TERMS = 65_536  # in one query, as Elasticsearch comes
COUNTED_SINGLY = 20_000  # queries for values in no list of MAX_FREQUENT; to count as many takes most of a second


class Tops(Counts):
    """`top` and `frequent` of `ElasticStore`."""

    def top(self, where: Filter, by: str, limit: int = 20, order: str = "count") -> list[Top]:
        """The highest values of the field `by`."""
        if order not in TOP_ORDERS:
            raise ValueError(f"order {order!r}: expected one of {', '.join(TOP_ORDERS)}")
        check_limit(limit, MAX_TOP)
        inner = {
            "count": COUNT,
            "clients": _distinct("client.ip"),
            "others": {"filter": NO_ADDRESS, "aggs": {"clients": _distinct("client.address")}},
            "score": {"max": {"field": "verdict.score"}},
            "generated": {"max": {"field": "verdict.generated"}},
            "first": {"max": {"field": "@timestamp"}},
            "last": {"max": {"field": "verdict.last"}},  # where it is not the first
            "tiers": {"terms": {"field": "verdict.tier", "size": len(TIERS)}},
            "enforced": {"filter": _ENFORCED, "aggs": {"count": COUNT}},
        }
        query = query_of(where)
        if by not in KEYS or where.name or where.registered or where.client:
            answer = self.search_log(size=0, query=query, aggs=by_values(by, _ranked(limit, order), inner))
            if not any(part["doc_count_error_upper_bound"] for part in _lists(answer)):
                return _tops(answer, order, limit)
        if order in ("count", "enforced"):
            first = self._leaders(query, by, limit, order)
        else:
            ordering = {name: inner[name] for name in ("count", *(path[0] for path in TOP_ORDERS[order]))}
            answer = self.search_log(size=0, query=query, aggs=by_values(by, _ranked(limit, order), ordering))
            ranks = sorted((*(-rank for rank in _ranks(bucket, order)), key_of(bucket)) for bucket in values_of(answer))
            first = {str(rank[-1]) for rank in ranks[:limit]}
            if order == "clients" and any(part["doc_count_error_upper_bound"] for part in _lists(answer)):
                # Who has other clients each day may be among the first of no day, and has many queries of them all.
                first.update(self._highest(query, by, limit + MORE)[: limit + MORE])
        query = {"bool": {"filter": [query, *_only(by, sorted(first))]}}
        return _tops(
            self.search_log(size=0, query=query, aggs=by_values(by, _ranked(len(first), order), inner)), order, limit
        )

    def frequent(self, where: Filter, by: str, limit: int, order: str = "count") -> dict[str, int]:
        """The values of the field `by` with the most queries, or the highest score."""
        check_limit(limit, MAX_FREQUENT)
        terms: dict[str, Any] = {"size": max(limit, 1), "shard_size": MAX_FREQUENT}
        inner = {}
        if order == "score":
            inner = {"score": {"max": {"field": "verdict.score"}}}
            terms["order"] = [{"score": "desc"}, {"_count": "desc"}]
        answer = self.search_log(size=0, query=_also(query_of(where), _COUNTED), aggs=by_values(by, terms, inner))

        def rank(bucket: dict[str, Any]) -> tuple[float, int, str]:
            return -bucket["score"]["value"] if inner else 0.0, -bucket["doc_count"], key_of(bucket)

        return {key_of(bucket): bucket["doc_count"] for bucket in sorted(values_of(answer), key=rank)[:limit]}

    def _leaders(self, query: dict[str, Any], by: str, limit: int, order: str) -> set[str]:
        """Values among which the first `limit` are, in an order by queries."""
        found: set[str] = set()
        if order == "enforced":
            found.update(self._highest(_also(query, _ENFORCED), by, limit))
        if len(found) < limit:
            found.update(self._highest(query, by, limit))
        if len(found) < limit:  # those of no queries are wanted too
            terms = {"size": max(2 * limit, 1), "order": {"_key": "asc"}}
            uncounted = {"bool": {"filter": [query], "must_not": [_COUNTED]}}
            answer = self.search_log(size=0, query=uncounted, aggs=by_values(by, terms, {}))
            others = {key_of(bucket) for bucket in values_of(answer)} - found
            found.update(sorted(others)[: limit - len(found)])
        return found

    def _highest(self, query: dict[str, Any], by: str, limit: int) -> list[str]:
        """Values among which the `limit` with the most queries are, of such as have any."""
        counted = _also(query, _COUNTED)
        for depth in sorted({min(DEPTH * limit + 100, MAX_FREQUENT), MAX_FREQUENT}):
            terms = {"size": depth, "shard_size": depth, "show_term_doc_count_error": True}
            listed = _listed(self.search_log(size=0, query=counted, aggs=by_values(by, terms, {})), limit)
            if listed.certain:
                return listed.keys
        if listed.others > COUNTED_SINGLY:
            return listed.keys
        counts: Counter[str] = Counter()
        for key, count in self._each(counted, by):
            counts[key] += count  # an empty client may stand in the document, or none
        return heapq.nsmallest(limit, counts, key=lambda key: (-counts[key], key))

    def _each(self, query: dict[str, Any], by: str) -> Iterator[tuple[str, int]]:
        """Every value of a field, and for how many queries its documents stand."""
        places = [(FIELDS[by], query)]
        if by == "client":
            places = [("client.ip", _also(query, ADDRESS)), ("client.address", _also(query, NO_ADDRESS))]
        for field, wanted in places:
            ask = partial(self.search_log, size=0, query=wanted)
            for answer in pages_of(ask, [{"k": {"terms": {"field": field, "missing_bucket": True}}}], MAX_FREQUENT, {}):
                for bucket in groups_of(answer):
                    yield bucket["key"]["k"] or "", bucket["doc_count"]


class _Listed(NamedTuple):
    """What lists of the highest values tell: `keys` among which the highest of all are, if `certain`; at most so many
    queries are for `others` than the listed."""

    keys: list[str]
    certain: bool
    others: int


def _listed(answer: dict[str, Any], limit: int) -> _Listed:
    """What an answer by values that has how far each count may be too low tells of the `limit` highest."""
    # An empty value's bucket is no member of a list, and has all that it counts.
    least = {key_of(bucket): (bucket["doc_count"], 0) for bucket in values_of(answer)}
    elsewhere = others = 0
    for part in _lists(answer):
        for bucket in part["buckets"]:
            least[key_of(bucket)] = bucket["doc_count"], bucket["doc_count_error_upper_bound"]
        if part["buckets"] and (part["sum_other_doc_count"] or part["doc_count_error_upper_bound"]):
            last = part["buckets"][-1]["doc_count"]
            elsewhere = max(elsewhere, last + part["doc_count_error_upper_bound"])
            others += part["sum_other_doc_count"]
    ranked = sorted(least, key=lambda key: (-least[key][0], key))
    if len(ranked) <= limit:  # lists are longer: there is no other value
        return _Listed(ranked, True, 0)
    needed = least[ranked[limit - 1]][0]
    # One that has as many as the last of the ranking at most changes none of its numbers.
    maybe = [key for key in ranked[limit:] if sum(least[key]) > needed]
    room = limit + 100  # each costs a place in what is told
    return _Listed(ranked[:limit] + maybe[:room], elsewhere <= needed and len(maybe) <= room, others)


def _lists(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The lists in an answer by values, each of the highest that the indices listed."""
    found = answer.get("aggregations", {})
    return [part for part in (found.get("k"), found.get("rest", {}).get("texts")) if part]


def _ranked(limit: int, order: str) -> dict[str, Any]:
    """The settings of an aggregation by values that keeps the highest."""
    paths = [">".join(path) for path in TOP_ORDERS[order]]
    return {
        "size": max(limit, 1), "shard_size": DEPTH * limit + 100,
        "order": [*({path: "desc"} for path in paths), {"count": "desc"}, {"_key": "asc"}],
    }  # fmt: skip


def _ranks(bucket: dict[str, Any], order: str) -> tuple[float, float]:
    """What a bucket has of an order, and how many queries."""
    rank = 0.0
    for path in TOP_ORDERS[order]:
        found = bucket
        for name in path:
            found = found[name]
        rank += found["value"] or 0.0
    return rank, bucket["count"]["value"]


def _only(by: str, keys: list[str]) -> list[dict[str, Any]]:
    """The query for documents with one of these values."""
    if by == "client":
        addresses = [key for key in keys if names.is_address(key)]
        texts = [key for key in keys if not names.is_address(key)]  # an empty one too, which `ecs` writes
        either: list[dict[str, Any]] = [{"terms": {FIELDS[by]: addresses}}, {"terms": {"client.address": texts}}]
        if "" in keys:
            either.append({"bool": {"filter": [NO_ADDRESS, without("client.address")]}})
        return [{"bool": {"should": either, "minimum_should_match": 1}}]
    found = [any_of(FIELDS[by], tuple(keys))]
    if by == "qname" and "" not in keys:  # a name is found by its registered domain
        domains = {suffix for key in keys for suffix in names.suffixes(key) or [key]}
        if len(domains) <= MAX_TERMS:
            found.append({"terms": {FIELDS["registered"]: sorted(domains)}})
    return found


def _also(query: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"filter": [query, wanted]}}


def _distinct(field: str) -> dict[str, Any]:
    return {"cardinality": {"field": field, "precision_threshold": 3000}}


def _tops(answer: dict[str, Any], order: str, limit: int) -> list[Top]:
    found = [_top(bucket) for bucket in values_of(answer)]
    found.sort(key=lambda top: (-getattr(top, order), -top.count, top.key))
    return found[:limit]


def _top(bucket: dict[str, Any]) -> Top:
    tiers = {tier["key"] for tier in bucket["tiers"]["buckets"]}
    return Top(
        key=key_of(bucket), count=int(bucket["count"]["value"]),
        clients=int(bucket["clients"]["value"]) + int(bucket["others"]["clients"]["value"]),
        score=bucket["score"]["value"] or 0.0, generated=bucket["generated"]["value"] or 0.0,
        last=int(max(bucket["first"]["value"] or 0, bucket["last"]["value"] or 0)),
        tier=next((tier for tier in reversed(TIERS) if tier in tiers), "none"),
        enforced=int(bucket["enforced"]["count"]["value"]),
    )  # fmt: skip
