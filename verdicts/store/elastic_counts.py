"""Counting what the log in Elasticsearch has of a range: most of it from the roll-up.

`PREFIX-rollup-DAY` (`elastic_rollup`) has a document for each quarter of an hour and combination of the values of the
fields that have few (`ROLLED`): how many queries, and of how many `rows` of the log it was made. Its fields have the
log's names, so that one question answers from either.

Rows of the log are only ever added, so what such a document says can fall behind the log and never run ahead of it. If
the documents of a time are made of as many rows as the log has of it, each of them says what the log says. So both
numbers are asked for together with the counts, day by day, and where they differ the log itself is asked: late rows,
writers that write at once or stopped half-way make a day slow until it is rolled up anew, and no count wrong.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from elasticsearch import Elasticsearch

from verdicts.store import Filter, Unavailable
from verdicts.store.elastic_client import ElasticSettings, in_words, translated, trouble
from verdicts.store.elastic_filter import query_of, span_of, within
from verdicts.store.elastic_schema import ROLLED, end_of, index_of

QUARTER, HOUR, DAY = 900_000, 3_600_000, 86_400_000  # milliseconds
LAGS = 300_000  # milliseconds after its end from which a quarter is looked for: its rows came, it was made and is shown
LONGEST = 400  # days; what is older, as a longer retention keeps it, is counted from the log
ROWS = {"sum": {"field": "rows"}}  # of the log, as the roll-up says
LOG_ROWS = {"value_count": {"field": "@timestamp"}}  # as the log says: a bucket's own count is weighted by _doc_count

Question = tuple[str, dict[str, Any]]  # indices, and the body of a search


class Counts:
    """What `cube` of `ElasticStore` counts by."""

    client: Elasticsearch
    settings: ElasticSettings

    def in_parts(self, where: Filter, aggs: dict[str, Any]) -> list[dict[str, Any]]:
        """What the aggregations find in a range, in parts: of whole days from the roll-up where it says what the log
        says, of the rest from the log. Counts that stand in several parts are to be summed."""
        start, end = _middle(where, int(time.time() * 1000))
        if start >= end:
            return [_found(answer) for answer in self.ask_many([self._in_log(where, aggs)])]
        ends = [part for part in ((where.start, start), (end, where.end)) if part[0] < part[1]]
        days = list(_days_of(start, end))
        questions = [self._in_log(_within(where, *part), aggs) for part in ends]
        questions += [self._in_rollup(_within(where, *day), aggs) for day in days]
        questions += [self.rows(*day) for day in days]
        found = self.ask_many(questions)
        rolled, rows = found[len(ends) : -len(days)], found[-len(days) :]
        parts = [_found(answer) for answer in found[: len(ends)]]
        behind: list[tuple[int, int]] = []
        for day, answer, counted in zip(days, rolled, rows, strict=True):
            if made_of(answer) == rows_of(counted):
                parts.append(_found(answer).get("wanted", {}))
            elif behind and behind[-1][1] == day[0]:
                behind[-1] = behind[-1][0], day[1]
            else:
                behind.append(day)
        if behind:
            again = self.ask_many([self._in_log(_within(where, *part), aggs) for part in behind])
            parts += [_found(answer) for answer in again]
        return parts

    def ask_many(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Searches that are put together, and their answers."""
        lines = [part for index, body in questions for part in ({"index": index, "ignore_unavailable": True}, body)]
        with translated():
            answers: list[dict[str, Any]] = self.client.msearch(searches=lines).body["responses"]
        for answer, (_, body) in zip(answers, questions, strict=True):
            if "error" in answer:
                raise trouble(answer["status"], in_words(answer["error"]))
            _demand_whole(answer, body["query"])
        return answers

    def search_log(self, **body: Any) -> Any:
        """A search of the log."""
        return self.search_in("log", **body)

    def search_in(self, name: str, **body: Any) -> Any:
        """A search of all indices of a set that rotates."""
        answer = self.search_part(name, **body)
        _demand_whole(answer, body["query"])
        return answer

    def search_part(self, name: str, **body: Any) -> Any:
        """The same where shards may be lost; `lost` tells."""
        with translated():
            return self.client.search(
                index=f"{self.settings.prefix}-{name}-*", ignore_unavailable=True, track_total_hits=False, **body
            ).body

    def _in_log(self, where: Filter, aggs: dict[str, Any]) -> Question:
        body = {"size": 0, "track_total_hits": False, "query": query_of(where), "aggs": aggs}
        return f"{self.settings.prefix}-log-*", body

    def _in_rollup(self, where: Filter, aggs: dict[str, Any]) -> Question:
        """Within one day, with the rows of which all of it is made: both of one state of the index."""
        found = {"rows": ROWS, "wanted": {"filter": query_of(where), "aggs": aggs}}
        return self.day("rollup", where.start), all_of(where.start, where.end, found)

    def rows(self, start: int, end: int) -> Question:
        """How many rows the log has of a time within a day, which its index of times tells without reading them."""
        return f"{self.day('log', start)}*", {**all_of(start, end, {}), "track_total_hits": True}

    def day(self, name: str, start: int) -> str:
        """The index of a set for a day."""
        return index_of(self.settings.prefix, name, start, "day")


def tells(where: Filter, interval: int, by: Sequence[str]) -> bool:
    """True where the roll-up can tell what is asked."""
    plain = not (where.name or where.registered or where.client) and where.min_score is None and where.max_score is None
    return plain and interval % QUARTER == 0 and set(by) <= set(ROLLED)


def _middle(where: Filter, now: int) -> tuple[int, int]:
    """The whole quarters of a range that should be rolled up; none where the first is not before the second."""
    last = min(where.end, now - LAGS) // QUARTER * QUARTER
    return max(-(-where.start // QUARTER) * QUARTER, last - LONGEST * DAY), last


def _within(where: Filter, start: int, end: int) -> Filter:
    return msgspec.structs.replace(where, start=start, end=end)


def _days_of(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The range, cut where a day ends."""
    while start < end:
        last = min(end, start // DAY * DAY + DAY)
        yield start, last
        start = last


def all_of(start: int, end: int, aggs: dict[str, Any]) -> dict[str, Any]:
    """The body of a search for all of a time."""
    query = {"bool": {"filter": within(start, end)}}
    return {"size": 0, "track_total_hits": False, "query": query, "aggs": aggs}


def made_of(answer: dict[str, Any]) -> int:
    """Of how many rows what was found in the roll-up is made."""
    return int(_found(answer).get("rows", {}).get("value", 0))


def rows_of(answer: dict[str, Any]) -> int:
    """The answer to `rows`."""
    return int(answer["hits"]["total"]["value"])


def lost(answer: dict[str, Any], query: dict[str, Any]) -> Unavailable | None:
    """The error of a shard that may hold some of the query's time and is lost, or was too busy: Elasticsearch answers
    without it, and every count may be too low."""
    start, end = span_of(query)
    for failure in answer["_shards"].get("failures", ()):
        index = failure.get("index") or ""
        last = end_of(index)
        if last is None or (start < last and last - DAY < end):
            return Unavailable(f"Elasticsearch: no answer from a shard of {index}: {failure['reason'].get('type')}")
    return None


def _demand_whole(answer: dict[str, Any], query: dict[str, Any]) -> None:
    if (error := lost(answer, query)) is not None:
        raise error


def _found(answer: dict[str, Any]) -> dict[str, Any]:
    """The aggregations of an answer; there are none where there is no index."""
    found: dict[str, Any] = answer.get("aggregations", {})
    return found
