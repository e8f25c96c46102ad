"""Questions to the log in Elasticsearch. Every number sums `verdict.count`; document counts are never shown."""

import base64
import binascii
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from verdicts.ecs import record_of
from verdicts.store import MAX_DOMAINS, BatchState, Bucket, Cell, Filter, Page, Unavailable
from verdicts.store.elastic_counts import lost, tells
from verdicts.store.elastic_filter import FIELDS, query_of, within
from verdicts.store.elastic_top import Tops
from verdicts.store.elastic_values import COUNT, by_values, key_of, values_of

PAGE_BATCHES = 500
MAX_RESULTS = 10_000  # `index.max_result_window` as Elasticsearch comes
MAX_VALUES = 1000  # of one field in a histogram or cube
SORT = (
    {"@timestamp": "desc"}, {"verdict.batch": "desc"}, {"verdict.row": "desc"}, {"_seq_no": "desc"},
    {"verdict.boot": "desc"},
)  # fmt: skip


class LogReads(Tops):
    """`search`, `histogram`, `cube`, `domains`, `reconcile` and `discarded`, and by `Tops` `top`, of `ElasticStore`."""

    def search(self, where: Filter, limit: int = 100, cursor: str | None = None) -> Page:
        """One page of records, newest first."""
        more: dict[str, Any] = {} if cursor is None else {"search_after": _sort_values(cursor)}
        size = min(limit + 1, MAX_RESULTS)  # one more than asked for tells whether another page follows
        hits = self.search_log(size=size, query=query_of(where), sort=list(SORT), **more)["hits"]["hits"]
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
        values: dict[str, Any] = {"count": COUNT}
        for field in reversed(by):
            values = by_values(field, {"size": MAX_VALUES}, values)
        times = {"field": "@timestamp", "fixed_interval": f"{interval}ms", "min_doc_count": 1}
        aggs = {"t": {"date_histogram": times, "aggs": values}}
        if tells(where, interval, by):
            parts = self.in_parts(where, aggs)
        else:
            parts = [self.search_log(size=0, query=query_of(where), aggs=aggs).get("aggregations", {})]
        counts: Counter[tuple[int, tuple[str, ...]]] = Counter()
        for part in parts:
            for bucket in part.get("t", {}).get("buckets", []):
                for keys, count in _leaves(bucket, len(by)):
                    counts[int(bucket["key"]), keys] += count
        return [Cell(moment, keys, count) for (moment, keys), count in sorted(counts.items()) if count]

    def domains(self, where: Filter, registered: Sequence[str]) -> dict[str, int]:
        """Queries of each of some registered domains."""
        asked = {"terms": {FIELDS["registered"]: sorted(set(registered) - {""})}}
        wanted = {"bool": {"filter": [query_of(where), asked]}}
        aggs = by_values("registered", {"size": MAX_DOMAINS}, {"count": COUNT})
        found = values_of(self.search_log(size=0, query=wanted, aggs=aggs))
        return {key_of(bucket): count for bucket in found if (count := int(bucket["count"]["value"]))}

    def reconcile(self, start: int, end: int, kept: bool = False) -> Iterator[BatchState]:
        """Each batch reported in the range, with what was stored of it."""
        after: list[Any] | None = None
        seen: set[tuple[str, str, int]] = set()
        query = {"bool": {"filter": within(start, end)}}
        sort = [{"@timestamp": "asc"}, {"resolver": "asc"}, {"boot": "asc"}, {"batch": "asc"}]
        while True:
            more: dict[str, Any] = {} if after is None else {"search_after": after}
            hits = self.search_in("batches", size=PAGE_BATCHES, query=query, sort=sort, **more)["hits"]["hits"]
            pages = [hit["_source"] for hit in hits]
            stored, no_rows = self._counted("log", pages)
            dead, no_letters = self._counted("dead", pages)
            for promise in pages:
                key = promise["resolver"], promise["boot"], promise["batch"]
                if key in seen:  # the same promise, repeated into the next day's index
                    continue
                seen.add(key)
                found = BatchState(
                    *key, promise["@timestamp"], promise["seen"], promise["discarded"], promise["rows"],
                    stored.get(key, 0), dead.get(key, 0),
                )  # fmt: skip
                error = no_rows or no_letters
                if found.missing > 0 and error is not None:  # they may be where nobody answered
                    raise error
                yield found
            if len(hits) < PAGE_BATCHES:
                return
            after = hits[-1]["sort"]

    def discarded(self, start: int, end: int) -> int:
        """How many queries the reports of the range had to leave out."""
        query = {"bool": {"filter": within(start, end)}}
        answer = self.search_in("batches", size=0, query=query, aggs={"n": {"sum": {"field": "discarded"}}})
        return int(answer.get("aggregations", {}).get("n", {}).get("value", 0))

    def _counted(
        self, name: str, promises: list[dict[str, Any]]
    ) -> tuple[dict[tuple[str, str, int], int], Unavailable | None]:
        """How many documents of each batch a set of indices holds, and why it may hold more."""
        prefix = "verdict." if name == "log" else ""
        resolver_field = "observer.name" if name == "log" else "resolver"
        engines: dict[tuple[str, str], list[int]] = defaultdict(list)
        for promise in promises:
            engines[promise["resolver"], promise["boot"]].append(promise["batch"])
        counts: dict[tuple[str, str, int], int] = {}
        error: Unavailable | None = None
        for (resolver, boot), batches in engines.items():
            terms = [{"term": {f"{prefix}boot": boot}}, {"term": {resolver_field: resolver}}]
            between = {"range": {f"{prefix}batch": {"gte": min(batches), "lte": max(batches)}}}
            groups = {"terms": {"field": f"{prefix}batch", "include": sorted(set(batches)), "size": len(batches)}}
            rows = {"rows": {"value_count": {"field": "@timestamp"}}}  # a bucket's own count is weighted by _doc_count
            query = {"bool": {"filter": [*terms, between]}}
            answer = self.search_part(name, size=0, query=query, aggs={"b": {**groups, "aggs": rows}})
            error = error or lost(answer, query)
            for bucket in _buckets(answer, "b"):
                counts[resolver, boot, int(bucket["key"])] = int(bucket["rows"]["value"])
        return counts, error


def _leaves(bucket: dict[str, Any], fields: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """Values and count of each of the innermost buckets, `fields` deep."""
    if fields == 0:
        yield (), int(bucket["count"]["value"])
        return
    for value in values_of(bucket):
        for keys, count in _leaves(value, fields - 1):
            yield (key_of(value), *keys), count


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
