"""What goes for good of Elasticsearch's documents and of their history: what privacy asks of incidents, and what a list
that is replaced each day would have grow for ever."""

from collections.abc import Sequence
from typing import Any

from elasticsearch import Elasticsearch

from verdicts.store import DECISION_KINDS, REPLACED_KINDS, Misconfigured
from verdicts.store.elastic_client import ElasticSettings, translated

PAGE = 1000  # documents in one request


class Forgets:
    """`forget` and `forget_history` of `ElasticStore`."""

    client: Elasticsearch
    settings: ElasticSettings
    readonly: bool

    def forget(self, kind: str, before: int) -> int:
        """Remove a kind's documents and history from before a time; see `StateStore.forget`."""
        if kind in DECISION_KINDS:
            raise ValueError(f"kind {kind!r}: a decision is not forgotten")
        if self.readonly:
            raise Misconfigured("store: opened for reading only")
        gone = self._delete(f"{self.settings.prefix}-state", [{"term": {"kind": kind}}, _older_than(before)])
        self.forget_history(kind, before)
        return gone

    def forget_history(self, kind: str, before: int) -> None:
        """Remove a kind's history from before a time; see `StateStore.forget_history`."""
        if kind in DECISION_KINDS - REPLACED_KINDS:
            raise ValueError(f"kind {kind!r}: the history of a decision is kept")
        if self.readonly:
            raise Misconfigured("store: opened for reading only")
        # A commit of several kinds stays: it is a person's.
        others: list[dict[str, Any]] = [{"term": {"kinds": other}} for other in sorted(DECISION_KINDS - {kind})]
        self._delete(f"{self.settings.prefix}-history", [{"term": {"kinds": kind}}, _older_than(before)], others)

    def _delete(self, index: str, terms: list[dict[str, Any]], unless: Sequence[dict[str, Any]] = ()) -> int:
        """Delete what matches, page by page, and spare what somebody writes meanwhile."""
        query = {"bool": {"filter": terms, "must_not": list(unless)}}
        gone = 0
        while True:
            with translated():
                hits = self.client.search(
                    index=index, query=query, size=PAGE, source=False, seq_no_primary_term=True
                ).body["hits"]["hits"]  # fmt: skip
                if not hits:
                    return gone
                operations = [
                    {
                        "delete": {
                            "_id": hit["_id"],
                            "if_seq_no": hit["_seq_no"],
                            "if_primary_term": hit["_primary_term"],
                        }
                    }
                    for hit in hits
                ]
                results = self.client.bulk(index=index, operations=operations, refresh=True).body["items"]
            removed: int = sum(result["delete"]["status"] == 200 for result in results)
            gone += removed
            if not removed:  # others write all of them, or the server is busy: another time
                return gone


def _older_than(time: int) -> dict[str, Any]:
    return {"range": {"time": {"lt": time}}}
