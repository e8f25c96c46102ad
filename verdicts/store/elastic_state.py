"""Documents, their history and the epoch, as they are read from Elasticsearch (written: elastic_commit)."""

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, NotFoundError

from verdicts.store import EXPIRED, Document
from verdicts.store.elastic_client import translated
from verdicts.store.elastic_commit import Commits
from verdicts.store.elastic_documents import changes_of, commit_id, document_of, id_of
from verdicts.store.elastic_forget import Forgets

MANY = 1000  # documents that are got at once
PAGE = 10_000  # hits in one answer: `index.max_result_window` as Elasticsearch comes
SLICES = 3  # in which all keys are read at once: one is decoded while the server makes the next
KEEP_ALIVE = "2m"  # between two pages of one slice


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

    def get_many(self, kind: str, keys: Sequence[str]) -> list[Document]:
        """Those of some documents that are there."""
        found: list[Document] = []
        for start in range(0, len(keys), MANY):
            ids = [id_of(kind, key) for key in keys[start : start + MANY]]
            with translated():
                items = self.client.mget(index=self._state, ids=ids).body["docs"]
            found += [document_of(item["_source"]) for item in items if item.get("found")]
        return [document for document in found if document.body is not None]

    def scan(self, kind: str, prefix: str = "", after: str = "") -> Iterator[Document]:
        """All present documents of a kind under a key prefix, in key order, beyond `after`."""
        last: list[Any] | None = [after] if after else None
        while True:
            more: dict[str, Any] = {} if last is None else {"search_after": last}
            hits = self._states(_present(kind, prefix), size=PAGE, sort=[{"key": "asc"}], **more)
            for hit in hits:
                yield document_of(hit["_source"])
            if len(hits) < PAGE:
                return
            last = hits[-1]["sort"]

    def keys(self, kind: str, prefix: str = "") -> Iterator[str]:
        """The keys of all present documents of a kind under a prefix, in the order of the disk: to sort each page
        costs the server more than to read it."""
        with self._standing() as standing, ThreadPoolExecutor(SLICES) as threads, _uncollected():
            parts = threads.map(lambda part: self._keys_of(standing, _present(kind, prefix), part), range(SLICES))
            found = list(chain.from_iterable(parts))
        yield from found

    def _keys_of(self, standing: str, terms: list[dict[str, Any]], part: int) -> list[str]:
        """The keys of one slice of a standing view."""
        found: list[str] = []
        more: dict[str, Any] = {}
        while True:
            with translated():
                # A key is read from its column: not even the id is unpacked for it.
                answer = self.client.search(
                    pit={"id": standing, "keep_alive": KEEP_ALIVE}, slice={"id": part, "max": SLICES}, size=PAGE,
                    query={"bool": {"filter": terms}}, sort=["_shard_doc"], source=False, stored_fields="_none_",
                    docvalue_fields=[{"field": "key"}], track_total_hits=False, allow_partial_search_results=False,
                    filter_path="hits.hits.fields.key,hits.hits.sort", **more,
                ).body  # fmt: skip
            # Of an answer that a filter left empty not even the frame is there.
            hits: list[dict[str, Any]] = answer.get("hits", {}).get("hits", [])
            found += [hit["fields"]["key"][0] for hit in hits]
            if len(hits) < PAGE:
                return found
            more["search_after"] = hits[-1]["sort"]

    @contextmanager
    def _standing(self) -> Iterator[str]:
        """The id of a view of the documents that no later change reaches."""
        with translated():
            try:
                found: str = self.client.open_point_in_time(index=self._state, keep_alive=KEEP_ALIVE)["id"]
            except NotFoundError as error:
                raise self._not_set_up() from error
        try:
            yield found
        finally:
            try:
                self.client.options(ignore_status=404).close_point_in_time(id=found)
            except (ApiError, TransportError):
                pass  # it ends by itself

    def expiring(self, before: int) -> list[Document]:
        """The present list entries that expire before a time."""
        if not self.readonly:  # the writer comes by regularly: the time to finish what another one left half applied
            with self._commit_lock, translated():
                self._finish_others()
        terms: list[dict[str, Any]] = [{"term": {"present": True}}, {"range": {"expires": {"lt": before}}}]
        hits = self._states(terms, size=EXPIRED, sort=[{"expires": "asc"}])
        return [document_of(hit["_source"]) for hit in hits]

    def changes(self, kind: str, since: int, limit: int = 1000) -> list[Document] | None:
        """Documents of a kind changed after commit `since`; None when there are more than `limit`."""
        terms: list[dict[str, Any]] = [{"term": {"kind": kind}}, {"range": {"epoch": {"gt": since}}}]
        hits: list[dict[str, Any]] = []
        while len(hits) <= limit:
            size = min(limit + 1 - len(hits), PAGE)
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
            terms.append({"bool": {"should": [{"term": {"keys": key}}, *_spanning(key)]}})
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
            ids = [commit_id(number) for number in numbers]
            items = self.client.mget(index=self._history, ids=ids, source=["sequence", "uuid"]).body["docs"]
            commits = {i["_source"]["sequence"]: i["_source"]["uuid"] for i in items if i.get("found")}
        return [s for s in sources if s["part"] < 0 or commits.get(s["sequence"]) == s["uuid"]]

    def _states(self, terms: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
        with translated():
            try:
                found = self.client.search(index=self._state, query={"bool": {"filter": terms}}, **more)
            except NotFoundError as error:
                raise self._not_set_up() from error
        hits: list[dict[str, Any]] = found.body["hits"]["hits"]
        return hits


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: among the hits of a million keys there are none, and looking for them took three
    times as long as reading them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _present(kind: str, prefix: str) -> list[dict[str, Any]]:
    terms: list[dict[str, Any]] = [{"term": {"kind": kind}}, {"term": {"present": True}}]
    return terms + ([{"prefix": {"key": prefix}}] if prefix else [])


def _spanning(key: str) -> list[dict[str, Any]]:
    """Parts that may hold a key: those whose first key is not behind it and whose last is not before it."""
    ends = [{"range": {"keys": {"lte": key}}}, {"range": {"keys": {"gte": key}}}]
    return [{"bool": {"filter": [{"range": {"part": {"gte": 0}}}, *ends]}}]


def _past(commit: dict[str, Any]) -> list[Document]:
    changes = changes_of(commit)
    return [
        Document(
            c.kind, c.key, c.body, commit["sequence"], commit["time"], commit["author"], commit["note"], c.previous
        )
        for c in changes
    ]
