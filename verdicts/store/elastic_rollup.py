"""How the roll-up of the log is made; what it is, and why it may be late, says `elastic_counts`.

Any number of writers may make it at the same time: a document's id follows from what it counts.
"""

import hashlib
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec

from verdicts.store import Misconfigured, Unavailable
from verdicts.store.elastic_client import in_words, translated, trouble
from verdicts.store.elastic_counts import DAY, HOUR, LOG_ROWS, QUARTER, ROWS, Counts, all_of, made_of, rows_of
from verdicts.store.elastic_schema import ROLLED, end_of
from verdicts.store.elastic_values import COUNT

SETTLES = 120_000  # milliseconds after its end in which most rows of a quarter have come
BUDGET_S = 3.0  # of one `roll_up`: other chores wait for it
PAGE = 2000  # combinations of one hour in one answer

_encode = msgspec.json.Encoder(order="deterministic").encode


class Rollups(Counts):
    """`roll_up` of `ElasticStore`."""

    readonly: bool
    _known_indices: set[str]
    _ensure_index: Callable[[str], None]

    def roll_up(self, now: int) -> int:
        """Bring the roll-up to what the log says of all quarters that are over, as far as a few seconds allow; the
        documents written. See `LogStore.roll_up`."""
        if self.readonly:
            raise Misconfigured("store: opened for reading only")
        until = time.monotonic() + BUDGET_S
        written = 0
        for start, end in self._days(now):
            question = self.day("rollup", start), all_of(start, end, {"rows": ROWS})
            rolled, log = self.ask_many([question, self.rows(start, end)])
            if made_of(rolled) == rows_of(log):
                continue
            hours = self._behind(start, end)
            random.shuffle(hours)  # so that several writers seldom make the same
            for hour in hours:
                written += self._roll_hour(hour, min(hour + HOUR, end))
                if time.monotonic() > until:
                    return written
        return written

    def _days(self, now: int) -> list[tuple[int, int]]:
        """The days of which the log has an index, newest first, up to the quarter that is over."""
        with translated():
            found = self.client.indices.get(index=f"{self.settings.prefix}-log-*", features=["aliases"])
        last = (now - SETTLES) // QUARTER * QUARTER
        days = {(end - 1) // DAY * DAY for index in found if (end := end_of(index)) is not None}
        return [(day, min(day + DAY, last)) for day in sorted(days, reverse=True) if day < last]

    def _behind(self, start: int, end: int) -> list[int]:
        """The hours of a day for which the roll-up is not made of as many rows as the log has."""
        hours = {"date_histogram": {"field": "@timestamp", "fixed_interval": f"{HOUR}ms", "min_doc_count": 1}}
        # The log last: so it is never behind what others roll up meanwhile.
        known = self._by_hour(self.day("rollup", start), all_of(start, end, {"t": {**hours, "aggs": {"rows": ROWS}}}))
        found = self._by_hour(
            f"{self.day('log', start)}*", all_of(start, end, {"t": {**hours, "aggs": {"rows": LOG_ROWS}}})
        )
        if any(rows > found.get(hour, 0) for hour, rows in known.items()):  # somebody took rows from the log
            index = self.day("rollup", start)
            with translated():
                self.client.indices.delete(index=index, ignore_unavailable=True)
            self._known_indices.discard(index)
            known = {}
        return [hour for hour, rows in found.items() if rows != known.get(hour, 0)]

    def _by_hour(self, index: str, body: dict[str, Any]) -> dict[int, int]:
        [answer] = self.ask_many([(index, body)])
        buckets = answer.get("aggregations", {}).get("t", {}).get("buckets", [])
        return {int(bucket["key"]): int(bucket["rows"]["value"]) for bucket in buckets}

    def _roll_hour(self, start: int, end: int) -> int:
        """Write the documents of one hour."""
        index = self.day("rollup", start)
        if index not in self._known_indices:
            self._ensure_index(index)
        sources: list[dict[str, Any]] = [
            {"time": {"date_histogram": {"field": "@timestamp", "fixed_interval": f"{QUARTER}ms"}}}
        ]
        sources += [{name: {"terms": {"field": path, "missing_bucket": True}}} for name, path in ROLLED.items()]
        cells: dict[str, Any] = {"composite": {"size": PAGE, "sources": sources}}
        cells["aggs"] = {"count": COUNT, "rows": LOG_ROWS}
        written = 0
        while True:
            [answer] = self.ask_many([(f"{self.day('log', start)}*", all_of(start, end, {"cells": cells}))])
            found = answer.get("aggregations", {}).get("cells", {})
            written += self._write(index, [_document(bucket) for bucket in found.get("buckets", [])])
            if len(found.get("buckets", [])) < PAGE:
                return written
            cells["composite"]["after"] = found["after_key"]

    def _write(self, index: str, documents: list[tuple[str, dict[str, Any]]]) -> int:
        if not documents:
            return 0
        operations = [part for key, body in documents for part in ({"index": {"_id": key}}, body)]
        with translated():
            answer = self.client.bulk(index=index, operations=operations).body
        for item in answer["items"]:
            result = item["index"]
            if result["status"] == 404:
                self._known_indices.discard(index)
                raise Unavailable(f"Elasticsearch: {index} went while it was written")
            if result["status"] >= 300:
                raise trouble(result["status"], in_words(result.get("error", {})))
        return len(documents)


def _document(bucket: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Id and body of what one bucket counts; a value that is left out in the log is left out here."""
    key = bucket["key"]
    body: dict[str, Any] = {ROLLED[name]: key[name] for name in ROLLED if key[name] is not None}
    body["@timestamp"] = key["time"]
    identifier = hashlib.blake2b(_encode(body), digest_size=16).hexdigest()
    return identifier, {**body, "verdict.count": int(bucket["count"]["value"]), "rows": int(bucket["rows"]["value"])}
