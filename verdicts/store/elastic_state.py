"""Documents, their history and the epoch, as they are read from Elasticsearch (written: elastic_commit)."""

from collections.abc import Iterator
from typing import Any

from elasticsearch import NotFoundError

from verdicts.store import EXPIRED, Document, Unavailable
from verdicts.store.elastic_client import translated
from verdicts.store.elastic_commit import PART, Commits, changes_of, document_of, id_of
from verdicts.store.elastic_forget import Forgets


class State(Commits, Forgets):
    """The `StateStore` half of `ElasticStore`."""

    def get(self, kind: str, key: str) -> Document | None:
        """One document, or None when it is absent or removed."""
        with translated():
            try:
                found = self.client.get(index=self._state, id=id_of(kind, key)).body
            except NotFoundError:
                return None
        document = document_of(found["_source"])
        return document if document.body is not None else None

    def scan(self, kind: str, prefix: str = "", after: str = "") -> Iterator[Document]:
        """All present documents of a kind under a key prefix, in key order, beyond `after`."""
        for hit in self._walk(kind, prefix, source=True, start=after):
            yield document_of(hit["_source"])

    def keys(self, kind: str, prefix: str = "") -> Iterator[str]:
        """The keys of all present documents of a kind under a prefix, in order."""
        for hit in self._walk(kind, prefix, source=False):
            yield hit["sort"][0]

    def expiring(self, before: int) -> list[Document]:
        """The present list entries that expire before a time."""
        if not self.readonly:  # the writer comes by regularly: the time to finish what another one left half applied
            with self._commit_lock, translated():
                self._finish_others()
        terms: list[dict[str, Any]] = [{"term": {"present": True}}, {"range": {"expires": {"lt": before}}}]
        hits = self._states(terms, size=EXPIRED, sort=[{"expires": "asc"}])
        return [document_of(hit["_source"]) for hit in hits]

    def changes(self, kind: str, since: int, limit: int = 1000) -> list[Document] | None:
        """Documents of a kind changed after epoch `since`; None when there are more than `limit`."""
        terms: list[dict[str, Any]] = [{"term": {"kind": kind}}, {"range": {"epoch": {"gt": since}}}]
        hits: list[dict[str, Any]] = []
        while len(hits) <= limit:
            size = min(limit + 1 - len(hits), 10 * PART)
            more: dict[str, Any] = {"search_after": hits[-1]["sort"]} if hits else {}
            page = self._states(terms, size=size, sort=[{"epoch": "asc"}, {"key": "asc"}], **more)
            hits += page
            if len(page) < size:
                return [document_of(hit["_source"]) for hit in hits]
        return None

    def history(self, kind: str = "", key: str = "", limit: int = 100, before: int | None = None) -> list[Document]:
        """Past changes, newest first, each with the body it replaced."""
        terms: list[dict[str, Any]] = []
        if before is not None:
            terms.append({"range": {"time": {"lt": before}}})
        if kind:
            terms.append({"term": {"kinds": kind}})
        if key:
            terms.append({"term": {"keys": key}})
        found: list[Document] = []
        after: list[Any] | None = None
        size = 5  # at first: one may hold PART changes
        while len(found) < limit:
            more: dict[str, Any] = {} if after is None else {"search_after": after}
            with translated():
                hits = self.client.search(
                    index=self._history, query={"bool": {"filter": terms}}, size=size,
                    sort=[{"sequence": "desc"}, {"part": "asc"}], **more,
                ).body["hits"]["hits"]  # fmt: skip
                happened = self._happened([hit["_source"] for hit in hits])
            for commit in happened:
                found += [d for d in _past(commit) if kind in ("", d.kind) and key in ("", d.key)]
            if len(hits) < size:
                break
            after, size = hits[-1]["sort"], min(4 * size, 100)
        return found[:limit]

    def _happened(self, sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """These without the parts of commits that others came before."""
        numbers = sorted({source["sequence"] for source in sources if source["part"] >= 0})
        commits: dict[int, str] = {}
        if numbers:
            ids = [f"c-{number:012d}" for number in numbers]
            items = self.client.mget(index=self._history, ids=ids, source=["sequence", "uuid"]).body["docs"]
            commits = {i["_source"]["sequence"]: i["_source"]["uuid"] for i in items if i.get("found")}
        return [s for s in sources if s["part"] < 0 or commits.get(s["sequence"]) == s["uuid"]]

    def _walk(self, kind: str, prefix: str, source: bool, start: str = "") -> Iterator[dict[str, Any]]:
        terms: list[dict[str, Any]] = [{"term": {"kind": kind}}, {"term": {"present": True}}]
        if prefix:
            terms.append({"prefix": {"key": prefix}})
        after: list[Any] | None = [start] if start else None
        while True:
            # A key is a value of the column it is sorted by: not even the id is unpacked for it.
            more: dict[str, Any] = {} if source else {"filter_path": "hits.hits.sort", "stored_fields": "_none_"}
            more |= {} if after is None else {"search_after": after}
            hits = self._states(terms, size=10 * PART, sort=[{"key": "asc"}], source=source, **more)
            yield from hits
            if len(hits) < 10 * PART:
                return
            after = hits[-1]["sort"]

    def _states(self, terms: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
        with translated():
            try:
                found = self.client.search(index=self._state, query={"bool": {"filter": terms}}, **more)
            except NotFoundError as error:
                raise Unavailable(f"store {self.settings.prefix}: not set up; run `verdict store init`") from error
            # Of an answer that a filter left empty not even the frame is there.
            hits: list[dict[str, Any]] = found.body.get("hits", {}).get("hits", [])
        return hits


def _past(commit: dict[str, Any]) -> list[Document]:
    changes = changes_of(commit)
    return [
        Document(
            c.kind, c.key, c.body, commit["sequence"], commit["time"], commit["author"], commit["note"], c.previous
        )
        for c in changes
    ]
