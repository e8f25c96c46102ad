"""Questions to the log in Elasticsearch. Every number sums `verdict.count`; document counts are never shown."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from elasticsearch import Elasticsearch

from verdicts import names
from verdicts.ecs import is_address, record_of
from verdicts.store import BatchState, Bucket, Cell, Filter, Page, Top
from verdicts.store.elastic_client import ElasticSettings, translated

FIELDS = {
    "qname": "dns.question.name", "registered": "dns.question.registered_domain",
    "suffix": "dns.question.top_level_domain", "qtype": "dns.question.type", "client": "client.ip",
    "resolver": "observer.name", "mode": "verdict.mode",
    "label": "verdict.label", "tier": "verdict.tier", "action": "verdict.action", "enforced": "verdict.enforced",
    "source": "verdict.source", "rule": "verdict.rule", "model": "verdict.model", "reason": "verdict.reason",
    "rcode": "dns.response_code",
}  # fmt: skip
ALWAYS = ("resolver", "label", "tier", "action", "enforced")  # no document is without
LISTS = ("resolver", "qtype", "label", "tier", "action", "source", "rcode", "model", "reason")
TIERS = ("none", "alert", "block")
PAGE_BATCHES = 500
MAX_RESULTS = 10_000  # `index.max_result_window` as Elasticsearch comes
MAX_VALUES = 1000  # of one field in a histogram or cube
SORT = (
    {"@timestamp": "desc"}, {"verdict.batch": "desc"}, {"verdict.row": "desc"}, {"_seq_no": "desc"},
    {"verdict.boot": "desc"},
)  # fmt: skip
TOP_ORDERS = {
    "count": ("count",), "clients": ("clients", "others>clients"), "score": ("score",), "enforced": ("enforced>count",),
}  # fmt: skip


class LogReads:
    """`search`, `histogram`, `cube`, `top`, `reconcile` and `discarded` of `ElasticStore`."""

    client: Elasticsearch
    settings: ElasticSettings

    def search(self, where: Filter, limit: int = 100, cursor: str | None = None) -> Page:
        """One page of records, newest first."""
        more: dict[str, Any] = {} if cursor is None else {"search_after": _sort_values(cursor)}
        size = min(limit + 1, MAX_RESULTS)  # one more than asked for tells whether another page follows
        hits = self._log(size=size, query=query_of(where), sort=list(SORT), **more)["hits"]["hits"]
        records = [record_of(hit["_id"], hit["_source"]) for hit in hits[:limit]]
        another = 0 < len(records) and len(hits) == size  # where there is no room for one more, that page may be empty
        return Page(records, _cursor(hits[len(records) - 1]["sort"]) if another else None)

    def histogram(self, where: Filter, interval: int, by: str = "tier") -> list[Bucket]:
        """Counts per interval and value of `by`, in order of time and value."""
        return [Bucket(cell.time, cell.keys[0], cell.count) for cell in self.cube(where, interval, (by,))]

    def cube(self, where: Filter, interval: int, by: Sequence[str]) -> list[Cell]:
        """Counts per interval and values of the fields `by`, in order of both."""
        if interval < 1:
            raise ValueError(f"interval {interval}: expected 1 millisecond or more")
        values: dict[str, Any] = {"count": _COUNT}
        for field in reversed(by):
            values = _by(field, {"size": MAX_VALUES}, values)
        times = {"field": "@timestamp", "fixed_interval": f"{interval}ms", "min_doc_count": 1}
        answer = self._log(size=0, query=query_of(where), aggs={"t": {"date_histogram": times, "aggs": values}})
        return [
            Cell(int(bucket["key"]), keys, count)
            for bucket in _buckets(answer, "t")
            for keys, count in sorted(_leaves(bucket, len(by)))
            if count
        ]

    def top(self, where: Filter, by: str, limit: int = 20, order: str = "count") -> list[Top]:
        """The highest values of the field `by`."""
        if order not in TOP_ORDERS:
            raise ValueError(f"order {order!r}: expected one of {', '.join(TOP_ORDERS)}")
        terms = {
            "size": max(limit, 1), "shard_size": 10 * limit + 100,
            "order": [*({path: "desc"} for path in TOP_ORDERS[order]), {"count": "desc"}, {"_key": "asc"}],
        }  # fmt: skip
        inner = {
            "count": _COUNT,
            "clients": _distinct("client.ip"),
            "others": {"filter": _NO_ADDRESS, "aggs": {"clients": _distinct("client.address")}},
            "score": {"max": {"field": "verdict.score"}},
            "generated": {"max": {"field": "verdict.generated"}},
            "first": {"max": {"field": "@timestamp"}},
            "last": {"max": {"field": "verdict.last"}},  # where it is not the first
            "tiers": {"terms": {"field": "verdict.tier", "size": len(TIERS)}},
            "enforced": {"filter": {"term": {"verdict.enforced": True}}, "aggs": {"count": _COUNT}},
        }
        found = [
            _top(bucket) for bucket in _values(self._log(size=0, query=query_of(where), aggs=_by(by, terms, inner)))
        ]
        found.sort(key=lambda top: (-getattr(top, order), -top.count, top.key))
        return found[:limit]

    def reconcile(self, start: int, end: int) -> Iterator[BatchState]:
        """Each batch reported in the range, with what was stored of it."""
        after: list[Any] | None = None
        seen: set[tuple[str, str, int]] = set()
        query = {"range": {"@timestamp": {"gte": start, "lt": end}}}
        sort = [{"@timestamp": "asc"}, {"resolver": "asc"}, {"boot": "asc"}, {"batch": "asc"}]
        while True:
            more: dict[str, Any] = {} if after is None else {"search_after": after}
            hits = self._search("batches", size=PAGE_BATCHES, query=query, sort=sort, **more)["hits"]["hits"]
            pages = [hit["_source"] for hit in hits]
            stored, dead = self._counted("log", pages), self._counted("dead", pages)
            for promise in pages:
                key = promise["resolver"], promise["boot"], promise["batch"]
                if key in seen:  # the same promise, repeated into the next day's index
                    continue
                seen.add(key)
                yield BatchState(
                    *key, promise["@timestamp"], promise["seen"], promise["discarded"], promise["rows"],
                    stored.get(key, 0), dead.get(key, 0),
                )  # fmt: skip
            if len(hits) < PAGE_BATCHES:
                return
            after = hits[-1]["sort"]

    def discarded(self, start: int, end: int) -> int:
        """How many queries the reports of the range had to leave out."""
        query = {"range": {"@timestamp": {"gte": start, "lt": end}}}
        answer = self._search("batches", size=0, query=query, aggs={"n": {"sum": {"field": "discarded"}}})
        return int(answer.get("aggregations", {}).get("n", {}).get("value", 0))

    def _counted(self, name: str, promises: list[dict[str, Any]]) -> dict[tuple[str, str, int], int]:
        """How many documents of each batch a set of indices holds."""
        prefix = "verdict." if name == "log" else ""
        resolver_field = "observer.name" if name == "log" else "resolver"
        engines: dict[tuple[str, str], list[int]] = defaultdict(list)
        for promise in promises:
            engines[promise["resolver"], promise["boot"]].append(promise["batch"])
        counts: dict[tuple[str, str, int], int] = {}
        for (resolver, boot), batches in engines.items():
            terms = [{"term": {f"{prefix}boot": boot}}, {"term": {resolver_field: resolver}}]
            between = {"range": {f"{prefix}batch": {"gte": min(batches), "lte": max(batches)}}}
            groups = {"terms": {"field": f"{prefix}batch", "include": sorted(set(batches)), "size": len(batches)}}
            rows = {"rows": {"value_count": {"field": "@timestamp"}}}  # a bucket's own count is weighted by _doc_count
            answer = self._search(
                name, size=0, query={"bool": {"filter": [*terms, between]}}, aggs={"b": {**groups, "aggs": rows}}
            )
            for bucket in _buckets(answer, "b"):
                counts[resolver, boot, int(bucket["key"])] = int(bucket["rows"]["value"])
        return counts

    def _log(self, **body: Any) -> Any:
        return self._search("log", **body)

    def _search(self, name: str, **body: Any) -> Any:
        with translated():
            return self.client.search(
                index=f"{self.settings.prefix}-{name}-*", ignore_unavailable=True, track_total_hits=False, **body
            ).body


_COUNT = {"sum": {"field": "verdict.count"}}


def _without(field: str) -> dict[str, Any]:
    return {"bool": {"must_not": [{"exists": {"field": field}}]}}


_NO_ADDRESS = _without("client.ip")


def _distinct(field: str) -> dict[str, Any]:
    return {"cardinality": {"field": field, "precision_threshold": 3000}}


def query_of(where: Filter) -> dict[str, Any]:
    """A `Filter` as a query of filters alone: nothing is scored."""
    found: list[dict[str, Any]] = [{"range": {"@timestamp": {"gte": where.start, "lt": where.end}}}]
    if where.name:
        found += _name(where.name)
    if where.registered:
        found.append({"term": {FIELDS["registered"]: where.registered}})
    if where.client:
        field = "client.ip" if "/" in where.client or is_address(where.client) else "client.address"
        found.append({"term": {field: where.client}})
    for field in LISTS:
        wanted = getattr(where, field)
        if wanted:
            found.append(_any_of(FIELDS[field], wanted))
    if where.enforced is not None:
        found.append({"term": {FIELDS["enforced"]: where.enforced}})
    if where.min_score is not None or where.max_score is not None:
        limits = {"gte": where.min_score, "lte": where.max_score}
        found.append({"range": {"verdict.score": {key: value for key, value in limits.items() if value is not None}}})
    return {"bool": {"filter": found}}


def _any_of(field: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Any of the values; an empty one stands for a field that is left out."""
    terms = {"terms": {field: [value for value in wanted if value]}}
    if "" not in wanted:
        return terms
    return {
        "bool": {"should": [terms, {"bool": {"must_not": {"exists": {"field": field}}}}], "minimum_should_match": 1}
    }


def _name(name: str) -> list[dict[str, Any]]:
    field = FIELDS["qname"]
    if "*" in name:
        return [{"wildcard": {field: {"value": name.replace("\\", "\\\\").replace("?", "\\?")}}}]
    if not name.startswith("."):
        # The name has no index, its registered domain has: whichever of its suffixes that was when it was written.
        return [{"terms": {FIELDS["registered"]: names.suffixes(name) or [name]}}, {"term": {field: name}}]
    zone = name[1:]
    below = {"wildcard": {field: {"value": "*" + name.replace("\\", "\\\\").replace("?", "\\?")}}}
    found: list[dict[str, Any]] = [{"bool": {"should": [{"term": {field: zone}}, below], "minimum_should_match": 1}}]
    if not names.is_public_suffix(zone):
        found.append({"term": {FIELDS["registered"]: names.split(zone).registered}})
    return found


def _by(by: str, terms: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Aggregations by a field's values; a client is an address or, where it is none, a text in a field of its own."""
    if by not in FIELDS:
        raise ValueError(f"field {by!r}: expected one of {', '.join(FIELDS)}")
    field = FIELDS[by]
    found: dict[str, Any] = {"k": {"terms": {"field": field, **terms}, "aggs": inner}}
    if by == "client":
        other = {"field": "client.address", "missing": "", **terms}
        found["rest"] = {"filter": _NO_ADDRESS, "aggs": {"texts": {"terms": other, "aggs": inner}}}
    elif by not in ALWAYS:  # beside the values: as `missing` among them, ranking names costs twice as much
        found["rest"] = {"filter": _without(field), "aggs": inner}
    return found


def _values(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The buckets of `_by` in a whole answer or in a bucket of one; there is none where there is no index."""
    found = answer if "k" in answer else answer.get("aggregations", {})
    known: list[dict[str, Any]] = found.get("k", {}).get("buckets", [])
    rest = found.get("rest", {"doc_count": 0})
    if not rest["doc_count"]:
        return known
    return [*known, *(rest["texts"]["buckets"] if "texts" in rest else [{"key": "", **rest}])]


def _leaves(bucket: dict[str, Any], fields: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """Values and count of each of the innermost buckets, `fields` deep."""
    if fields == 0:
        yield (), int(bucket["count"]["value"])
        return
    for value in _values(bucket):
        for keys, count in _leaves(value, fields - 1):
            yield (_key(value), *keys), count


def _key(bucket: dict[str, Any]) -> str:
    return str(bucket.get("key_as_string", bucket["key"]))


def _top(bucket: dict[str, Any]) -> Top:
    tiers = {tier["key"] for tier in bucket["tiers"]["buckets"]}
    return Top(
        key=_key(bucket), count=int(bucket["count"]["value"]),
        clients=int(bucket["clients"]["value"]) + int(bucket["others"]["clients"]["value"]),
        score=bucket["score"]["value"] or 0.0, generated=bucket["generated"]["value"] or 0.0,
        last=int(max(bucket["first"]["value"] or 0, bucket["last"]["value"] or 0)),
        tier=next((tier for tier in reversed(TIERS) if tier in tiers), "none"),
        enforced=int(bucket["enforced"]["count"]["value"]),
    )  # fmt: skip


def _buckets(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The buckets of an aggregation; there is none where there is no index."""
    found: list[dict[str, Any]] = answer.get("aggregations", {}).get(name, {}).get("buckets", [])
    return found


def _cursor(sort: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(sort)).decode()


def _sort_values(cursor: str) -> list[Any]:
    try:
        values = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=list[int | str])
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise ValueError(f"cursor {cursor!r}: expected one that a page gave") from error
    return list(values)
