"""Records into Elasticsearch: `create` bulks with our own ids, so that a repeat meets its first copy.

A record's index is chosen by its own time, never by the clock, so that every repeat goes to the same index. What
the server says of each item decides: 201 and 409 are stored, 429, 5xx and a cluster block are sent again, 401 and
403 stop everything, any other refusal makes a dead letter, and so does the write block of an index that is long over:
nobody will lift it, and what is sent again holds up all that comes after it. A bulk that is too large (413) is sent in
halves.
"""

import random
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from elasticsearch import ApiError, BadRequestError, Elasticsearch, NotFoundError

from verdicts.ecs import document_of
from verdicts.records import Record
from verdicts.store import Misconfigured, Promise, Rejected, Unavailable
from verdicts.store.admission import parse_id, refusal
from verdicts.store.elastic_client import ElasticSettings, put_off, translated, trouble
from verdicts.store.elastic_schema import ROTATED, end_of, index_body, index_of

RETAINED = "retained"  # beside the documents: up to when the retention has removed
BULK_BYTES = 4 << 20
RESENDS = 3  # of the items that were put off, before the whole call is given back to the caller
RESEND_S = 0.1
OVER_MS = 86_400_000  # after its end an index with a write block gets no more rows: lifecycle management, or a person

_encode = msgspec.json.Encoder().encode


class Item(NamedTuple):
    """One document to create; `record` is set where a refusal makes a dead letter."""

    place: str  # the index
    id: str
    body: bytes
    record: Record | None = None


class Outcome(NamedTuple):
    """What became of the items of one bulk."""

    again: list[Item]
    refused: list[tuple[Item, str]]
    reason: str  # of the last item that was put off


class LogWrites:
    """`append`, `retain` and `retained_to` of `ElasticStore`."""

    client: Elasticsearch
    settings: ElasticSettings
    readonly: bool
    _known_indices: set[str]

    def append(self, records: Sequence[Record], promises: Sequence[Promise] = ()) -> list[Rejected]:
        """Store each record and promise once; see `LogStore.append`."""
        if self.readonly:
            raise Misconfigured("store: opened for reading only")
        now = int(time.time() * 1000)
        prefix, per = self.settings.prefix, self.settings.per
        items: list[Item] = []
        rejected: list[Rejected] = []
        for record in records:
            reason = refusal(record, now)
            if reason is not None:
                rejected.append(Rejected(record, reason))
                continue
            index = index_of(prefix, "log", record.time, per)
            # Of one shard, `_seq_no` parts what has the same time.
            document = document_of(record, row=self.settings.shards > 1)
            items.append(Item(index, record.id, _encode(document), record))
        refused = self._not_there(self._create(items), now)
        rejected += [Rejected(item.record, reason) for item, reason in refused if item.record is not None]
        # Promises come last: a batch that shows as promised has had its rows sent.
        letters = [_letter(index_of(prefix, "dead", now, per), rejection, now) for rejection in rejected]
        kept = [_kept(index_of(prefix, "batches", promise.time, per), promise) for promise in promises]
        left = self._create(letters + kept)
        shut = [item for item, reason in left if _is_shut(item.place, reason, now)]
        if shut:  # a promise is found by its time, wherever it stands
            present = index_of(prefix, "batches", now, per)
            left = [(item, reason) for item, reason in left if not _is_shut(item.place, reason, now)]
            left += self._create([item._replace(place=present) for item in shut])
        for item, reason in left:
            raise Misconfigured(f"index {item.place}: {reason}; run `verdict store check`")
        return rejected

    def retain(self, before: int) -> int:
        """Delete the rotated indices that end before a time; return how many."""
        if self.readonly:
            raise Misconfigured("store: opened for reading only")
        patterns = [f"{self.settings.prefix}-{name}-*" for name in ROTATED]
        with translated():
            found = self.client.indices.get(index=patterns, features=["aliases"])
            old = [index for index in found if (end := end_of(index)) is not None and end <= before]
            for index in old:  # one by one: a long list would not fit into a URL
                self.client.indices.delete(index=index, ignore_unavailable=True)
                self._known_indices.discard(index)
            state = f"{self.settings.prefix}-state"
            if before > self.retained_to():
                self.client.index(index=state, id=RETAINED, document={"kind": RETAINED, "time": before})
        return len(old)

    def retained_to(self) -> int:
        """Up to when the retention has removed so far; 0: it never did."""
        with translated():
            try:
                return int(self.client.get(index=f"{self.settings.prefix}-state", id=RETAINED).body["_source"]["time"])
            except NotFoundError:
                return 0

    def _create(self, items: list[Item]) -> list[tuple[Item, str]]:
        """Create every item; return the refused ones with the reason. Raises `Unavailable` or `Misconfigured`."""
        for index in {item.place for item in items} - self._known_indices:
            self._ensure_index(index)
        refused: list[tuple[Item, str]] = []
        outcome = Outcome(items, [], "")
        for attempt in range(RESENDS + 1):
            if attempt:
                time.sleep(RESEND_S * 2**attempt * random.uniform(0.5, 1.0))
            pending, outcome = outcome.again, Outcome([], [], "")
            for bulk in _bulks(pending):
                result = self._send(bulk)
                refused += result.refused
                outcome = Outcome(outcome.again + result.again, [], result.reason or outcome.reason)
            if not outcome.again:
                return refused
        raise Unavailable(f"Elasticsearch put off {len(outcome.again)} of {len(items)} documents: {outcome.reason}")

    def _not_there(self, refused: list[tuple[Item, str]], now: int) -> list[tuple[Item, str]]:
        """The refused items without those that are stored: where an index is shut, a repeat does not meet its first
        copy."""
        shut = [item for item, reason in refused if _is_shut(item.place, reason, now)]
        if not shut:
            return refused
        with translated():
            docs = [{"_index": item.place, "_id": item.id} for item in shut]
            found = self.client.mget(docs=docs, source=False).body["docs"]
        there = {item.id for item, one in zip(shut, found, strict=True) if one.get("found")}
        return [(item, reason) for item, reason in refused if item.id not in there]

    def _send(self, bulk: list[Item]) -> Outcome:
        operations = [
            part for item in bulk for part in (_encode({"create": {"_index": item.place, "_id": item.id}}), item.body)
        ]
        with translated():
            try:
                answered = self.client.bulk(
                    operations=operations,  # type: ignore[arg-type]  # lines of JSON as bytes pass through
                    filter_path="errors,items.create.status,items.create.error.type,items.create.error.reason",
                ).body
            except ApiError as error:
                if error.status_code != 413 or len(bulk) == 1:
                    raise
                answered = None
        if answered is None:  # what stands between, such as a proxy, takes less at a time
            half = len(bulk) // 2
            first, second = self._send(bulk[:half]), self._send(bulk[half:])
            return Outcome(first.again + second.again, first.refused + second.refused, second.reason or first.reason)
        if not isinstance(answered, dict) or "errors" not in answered:
            raise Unavailable("Elasticsearch: a bulk was answered with something else")
        if answered["errors"] is False:
            return Outcome([], [], "")
        results = answered.get("items", [])
        if len(results) != len(bulk):
            raise Unavailable(f"Elasticsearch: {len(results)} results for {len(bulk)} documents")
        return self._sort_out(bulk, [result["create"] for result in results])

    def _sort_out(self, bulk: list[Item], results: list[dict[str, Any]]) -> Outcome:
        again: list[Item] = []
        refused: list[tuple[Item, str]] = []
        last, now = "", int(time.time() * 1000)
        for item, result in zip(bulk, results, strict=True):
            status = result["status"]
            if status in (200, 201, 409):
                continue
            error = result.get("error", {})
            reason = f"{error.get('type')}: {error.get('reason')}"
            if status == 404:  # the index went between our look and the bulk (retention, or a person)
                self._known_indices.discard(item.place)
                raise Unavailable(f"Elasticsearch: {reason}")
            problem = trouble(status, reason)
            if _is_shut(item.place, reason, now):
                refused.append((item, reason))
            elif isinstance(problem, Unavailable):
                again.append(item)
                last = put_off(status, reason)
            elif status in (401, 403):
                raise problem
            else:
                refused.append((item, reason))
        return Outcome(again, refused, last)

    def _ensure_index(self, index: str) -> None:
        """Create a rotated index with its mapping: without it, a server without our template would guess one."""
        name = index.removeprefix(self.settings.prefix + "-").partition("-")[0]
        body = index_body(self.settings.prefix, name, self.settings.shards, self.settings.replicas)
        body.pop("aliases", None)  # the template gives it: asked for here, it would take the privilege `manage`
        with translated():
            try:
                self.client.indices.create(index=index, **body)
            except BadRequestError as error:
                if "resource_already_exists_exception" not in str(error):
                    raise
            except ApiError as error:
                # A key that may not create indices still writes where the template makes them.
                if error.status_code != 403 or "cluster_block" in str(error) or not self._template_there(name):
                    raise
        self._known_indices.add(index)

    def _template_there(self, name: str) -> bool:
        try:
            return bool(self.client.indices.exists_index_template(name=f"{self.settings.prefix}-{name}"))
        except ApiError:
            return False


def _bulks(items: list[Item]) -> list[list[Item]]:
    """Items in bulks of at most BULK_BYTES each (or one item)."""
    bulks: list[list[Item]] = []
    size = BULK_BYTES
    for item in items:
        if size + len(item.body) > BULK_BYTES:
            bulks.append([])
            size = 0
        bulks[-1].append(item)
        size += len(item.body) + 120  # and its action line
    return bulks


def _is_shut(index: str, reason: str, now: int) -> bool:
    """True where an index that is over refuses for a block of its own: write (8) or read-only (5), not the flood stage
    (12), which passes."""
    end = end_of(index)
    return end is not None and end + OVER_MS <= now and re.search(r"\[FORBIDDEN/[58]/index ", reason) is not None


def _letter(index: str, rejection: Rejected, now: int) -> Item:
    resolver, boot, batch, row = parse_id(rejection.record.id) or ("", "", 0, 0)
    body = {
        "@timestamp": now, "resolver": resolver, "boot": boot, "batch": batch, "row": row,
        "reason": rejection.reason, "record": _encode(rejection.record).decode(),
    }  # fmt: skip
    return Item(index, rejection.record.id[:500], _encode(body))


def _kept(index: str, promise: Promise) -> Item:
    body = {"@timestamp": promise.time, **promise._asdict()}
    del body["time"]
    return Item(index, f"{promise.resolver}-{promise.boot}-{promise.batch}", _encode(body))
