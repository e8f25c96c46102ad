"""Rankings of the log in Elasticsearch.

What is told of a ranking's rows (distinct clients, extremes) costs several times what it costs to find which they are.
So that is found first, by the numbers that give the order alone, and then the rows are counted: exactly, since nothing
else is. Where most rows of the log match, even the order costs much; it is then found by how many queries the documents
stand for, and the server bounds what a value can have that a shard did not list: where that is not less than what the
last of the ranking has, they are ranked as where few rows match.
"""

from typing import Any

from verdicts import names
from verdicts.ecs import is_address
from verdicts.store import MAX_FREQUENT, MAX_TOP, Filter, Top, check_limit
from verdicts.store.elastic_counts import Counts
from verdicts.store.elastic_filter import FIELDS, any_of, query_of
from verdicts.store.elastic_values import COUNT, NO_ADDRESS, by_values, key_of, values_of, without

KEYS = ("qname", "registered", "client")  # fields of many values
TIERS = ("none", "alert", "block")
# Where each order finds its number in a bucket; of several it is the sum.
TOP_ORDERS = {
    "count": (("count",),), "clients": (("clients",), ("others", "clients")), "score": (("score",),),
    "enforced": (("enforced", "count"),),
}  # fmt: skip
DEPTH = 10  # values that are listed for each one wanted
# One document stands for as many queries as it counts, but for those of none, which stand for one.
_COUNTED = {"range": {"verdict.count": {"gte": 1}}}


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
            "enforced": {"filter": {"term": {"verdict.enforced": True}}, "aggs": {"count": COUNT}},
        }
        query, terms = query_of(where), _ranked(limit, order)
        if by in KEYS and not (where.name or where.registered or where.client):
            first = self._highest(query, by, limit) if order == "count" and _is_wide(where) else None
            if first is None:
                ordering = {name: inner[name] for name in ("count", *(path[0] for path in TOP_ORDERS[order]))}
                answer = self.search_log(size=0, query=query, aggs=by_values(by, terms, ordering))
                ranks = sorted(
                    (*(-rank for rank in _ranks(bucket, order)), key_of(bucket)) for bucket in values_of(answer)
                )
                first = sorted(str(rank[-1]) for rank in ranks[:limit])
            query = {"bool": {"filter": [query, *_only(by, first)]}}
        answer = self.search_log(size=0, query=query, aggs=by_values(by, terms, inner))
        found = [_top(bucket) for bucket in values_of(answer)]
        found.sort(key=lambda top: (-getattr(top, order), -top.count, top.key))
        return found[:limit]

    def frequent(self, where: Filter, by: str, limit: int) -> list[str]:
        """The values of the field `by` with the most queries."""
        check_limit(limit, MAX_FREQUENT)
        terms = {"size": max(limit, 1), "shard_size": MAX_FREQUENT}
        counted = {"bool": {"filter": [query_of(where), _COUNTED]}}
        answer = self.search_log(size=0, query=counted, aggs=by_values(by, terms, {}))
        found = sorted(values_of(answer), key=lambda bucket: (-bucket["doc_count"], key_of(bucket)))
        return [key_of(bucket) for bucket in found[:limit]]

    def _highest(self, query: dict[str, Any], by: str, limit: int) -> list[str] | None:
        """Values among which the `limit` with the most queries are for certain, or None where that cannot be told."""
        depth = DEPTH * limit + 100
        terms = {"size": depth, "shard_size": depth, "show_term_doc_count_error": True}
        counted = {"bool": {"filter": [query, _COUNTED]}}
        answer = self.search_log(size=0, query=counted, aggs=by_values(by, terms, {}))
        found = answer.get("aggregations", {})
        lists = [part for part in (found.get("k"), found.get("rest", {}).get("texts")) if part]
        # An empty value's bucket is no member of a list, and has all that it counts.
        least = {key_of(bucket): (bucket["doc_count"], 0) for bucket in values_of(answer)}
        elsewhere = 0
        for part in lists:
            for bucket in part["buckets"]:
                least[key_of(bucket)] = bucket["doc_count"], bucket["doc_count_error_upper_bound"]
            if part["buckets"] and (part["sum_other_doc_count"] or part["doc_count_error_upper_bound"]):
                last = part["buckets"][-1]["doc_count"]
                elsewhere = max(elsewhere, last + part["doc_count_error_upper_bound"])
        if len(least) < limit:  # those of no queries are wanted too
            return None
        needed = sorted((count for count, _ in least.values()), reverse=True)[limit - 1]
        if elsewhere >= needed:
            return None
        return sorted(key for key, (count, error) in least.items() if count + error >= needed)


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


def _is_wide(where: Filter) -> bool:
    """True where a filter leaves most rows: then finding which rank highest first is worth a search of its own."""
    narrow = where.name or where.registered or where.client or where.enforced or where.min_score is not None
    lists = (where.label and "benign" not in where.label) or (where.tier and "none" not in where.tier)
    return not narrow and not lists


def _only(by: str, keys: list[str]) -> list[dict[str, Any]]:
    """The query for documents with one of these values."""
    if by == "client":
        addresses = [key for key in keys if is_address(key)]
        texts = [key for key in keys if key and not is_address(key)]
        either: list[dict[str, Any]] = [{"terms": {FIELDS[by]: addresses}}, {"terms": {"client.address": texts}}]
        if "" in keys:
            either.append({"bool": {"filter": [NO_ADDRESS, without("client.address")]}})
        return [{"bool": {"should": either, "minimum_should_match": 1}}]
    found = [any_of(FIELDS[by], tuple(keys))]
    if by == "qname" and "" not in keys:  # a name is found by its registered domain
        domains = {suffix for key in keys for suffix in names.suffixes(key) or [key]}
        found.append({"terms": {FIELDS["registered"]: sorted(domains)}})
    return found


def _distinct(field: str) -> dict[str, Any]:
    return {"cardinality": {"field": field, "precision_threshold": 3000}}


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
