"""Documents of Elasticsearch that go for good, with their history: what privacy asks of incidents."""

from collections.abc import Sequence
from typing import Any

from elasticsearch import Elasticsearch

from verdicts.store import DECISION_KINDS, Misconfigured
from verdicts.store.elastic_client import ElasticSettings, translated

PAGE = 1000  # documents in one request


class Forgets:
    """`forget` of `ElasticStore`."""

    client: Elasticsearch
    settings: ElasticSettings
    readonly: bool

    def forget(self, kind: str, before: int) -> int:
        """Remove a kind's documents and history from before a time; see `StateStore.forget`."""
        if kind in DECISION_KINDS:
            raise ValueError(f"kind {kind!r}: a decision is not forgotten")
        if self.readonly:
            raise Misconfigured("store: opened for reading only")
        old = {"range": {"time": {"lt": before}}}
        gone = self._delete(f"{self.settings.prefix}-state", [{"term": {"kind": kind}}, old])
        # A commit of several kinds stays: it is a person's.
        others: list[dict[str, Any]] = [{"term": {"kinds": other}} for other in sorted(DECISION_KINDS)]
        self._delete(f"{self.settings.prefix}-history", [{"term": {"kinds": kind}}, old], others)
        return gone

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
