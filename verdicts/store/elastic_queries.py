"""Questions to the log in Elasticsearch. Every number sums `verdict.count`; document counts are never shown."""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import msgspec

from verdicts.ecs import record_of
from verdicts.store import MAX_DOMAINS, BatchState, Bucket, Cell, Filter, Page, Unavailable
from verdicts.store.elastic_counts import LOG_ROWS, lost, tells
from verdicts.store.elastic_filter import FIELDS, query_of, within
from verdicts.store.elastic_top import Tops
from verdicts.store.elastic_values import COUNT, by_values, groups_of, key_of, pages_of, values_of

PAGE_BATCHES = 500
PAGE_GROUPS = 10_000
MAX_RESULTS = 10_000  # `index.max_result_window` as Elasticsearch comes
# Of one field in a histogram or cube: as many buckets as Elasticsearch puts into an answer as it comes, so that of more
# it says so and leaves none out.
MAX_VALUES = 65_536
SORT = (
    {"@timestamp": "desc"}, {"verdict.batch": "desc"}, {"verdict.row": "desc"}, {"_seq_no": "desc"},
    {"verdict.boot": "desc"},
)  # fmt: skip

_Long = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Place = tuple[_Long, _Long, _Long, _Long, str]  # the values of SORT


BatchKey = tuple[str, str, int]  # resolver, boot and number


class LogReads(Tops):
    """`search`, `histogram`, `cube`, `domains`, `reconcile` and `discarded`, and by `Tops` `top` and `frequent`, of
    `ElasticStore`."""

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
        seen: set[BatchKey] = set()
        query = {"bool": {"filter": within(start, end)}}
        sort = [{"@timestamp": "asc"}, {"resolver": "asc"}, {"boot": "asc"}, {"batch": "asc"}]
        while True:
            more: dict[str, Any] = {} if after is None else {"search_after": after}
            hits = self.search_in("batches", size=PAGE_BATCHES, query=query, sort=sort, **more)["hits"]["hits"]
            pages = [hit["_source"] for hit in hits]
            stored, no_rows = self._rows(pages)
            dead, no_letters = self._letters(pages)
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
        terms = [*within(start, end), {"range": {"discarded": {"gt": 0}}}]
        query = {"bool": {"filter": terms}}
        total = 0
        # Batch by batch: one without rows that is sent again after midnight stands in the next day's index too.
        ask = partial(self.search_in, "batches", size=0, query=query)
        for answer in pages_of(
            ask, _by("resolver", "boot", "batch"), PAGE_GROUPS, {"n": {"max": {"field": "discarded"}}}
        ):
            total += sum(int(bucket["n"]["value"]) for bucket in groups_of(answer))
        return total

    def _rows(self, promises: list[dict[str, Any]]) -> tuple[dict[BatchKey, int], Unavailable | None]:
        """How many rows of each batch the log holds, and why it may hold more."""
        counts: dict[BatchKey, int] = {}
        error: Unavailable | None = None
        for (resolver, boot), batches in _engines(promises).items():
            query = _of_engine({"observer.name": resolver, "verdict.boot": boot}, "verdict.batch", batches)
            groups = {"terms": {"field": "verdict.batch", "include": batches, "size": len(batches)}}
            answer = self.search_part("log", size=0, query=query, aggs={"b": {**groups, "aggs": {"rows": LOG_ROWS}}})
            error = error or lost(answer, query)
            for bucket in _buckets(answer, "b"):
                counts[resolver, boot, int(bucket["key"])] = int(bucket["rows"]["value"])
        return counts, error

    def _letters(self, promises: list[dict[str, Any]]) -> tuple[dict[BatchKey, int], Unavailable | None]:
        """How many rows of each batch are dead letters, and why more may be: a row that was sent again after midnight
        has one in the next day's index too, and counts once."""
        counts: Counter[BatchKey] = Counter()
        error: Unavailable | None = None
        for (resolver, boot), batches in _engines(promises).items():
            query = _of_engine({"resolver": resolver, "boot": boot}, "batch", batches)
            ask = partial(self.search_part, "dead", size=0, query=query)
            for answer in pages_of(ask, _by("batch", "row"), PAGE_GROUPS, {}):
                error = error or lost(answer, query)
                counts.update((resolver, boot, int(bucket["key"]["batch"])) for bucket in groups_of(answer))
        return counts, error


def _by(*fields: str) -> list[dict[str, Any]]:
    return [{field: {"terms": {"field": field}}} for field in fields]


def _engines(promises: list[dict[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """The batches of each engine, in their order."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for promise in promises:
        found[promise["resolver"], promise["boot"]].add(promise["batch"])
    return {engine: sorted(batches) for engine, batches in found.items()}


def _of_engine(engine: dict[str, str], field: str, batches: list[int]) -> dict[str, Any]:
    """What an engine sent from the first of some batches to the last."""
    terms: list[dict[str, Any]] = [{"term": {name: value}} for name, value in engine.items()]
    return {"bool": {"filter": [*terms, {"range": {field: {"gte": batches[0], "lte": batches[-1]}}}]}}


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
        values = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=_Place)
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"cursor {cursor!r}: expected one that a page gave") from error
    return list(values)
