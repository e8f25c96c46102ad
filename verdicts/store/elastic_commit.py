"""How documents are written to Elasticsearch: commits without scripts and without a lock.

A commit is one document `c-NUMBER` in the history, made with `create`: of two writers who want the same number, one
succeeds, and that is the moment at which the commit happens. Then its changes are written to the state documents,
each with the commit's number as external version, so that whoever finds a commit half applied can apply it again;
at last `head` moves to it, which is what readers take the epoch from. A commit of more than INLINE changes puts them
into parts `p-UUID-N` beforehand, in the order of their keys.

What searches find is enough for a writer: the head moves to a commit only once both indices were refreshed after it.
"""

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from elastic_transport import TransportError
from elasticsearch import ApiError, ConflictError, Elasticsearch, NotFoundError

from verdicts.ahead import ahead
from verdicts.store import DECISION_KINDS, Conflict, Document, Epoch, Misconfigured, Unavailable, says_the_same
from verdicts.store.elastic_client import ElasticSettings, translated, trouble
from verdicts.store.elastic_documents import (
    INLINE,
    Change,
    changes_of,
    commit_id,
    content_of,
    document_of,
    id_of,
    lines_of,
)

HEAD = "head"
PART = 1000  # changes in one document, and documents in one request
IN_FLIGHT = 3  # requests of one commit that look up or write its parts
FEW = 16  # documents that are asked for one by one
TRIES = 50  # commits of others that one commit gives way to
PATIENCE_S = 5.0  # with a part, or another request, of a commit that happened
FIRST_RETRY_S = 0.1

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")


class Commits:
    """`epoch` and `commit` of `ElasticStore`."""

    client: Elasticsearch
    settings: ElasticSettings
    readonly: bool
    _commit_lock: threading.Lock

    def epoch(self) -> Epoch:
        """The current epoch: one document by its id."""
        return _epoch_of(self._head())

    def commit(self, documents: Iterable[Document], author: str, note: str = "", expect: int | None = None) -> Epoch:
        """Write all documents or none, durably; see `StateStore.commit`."""
        if self.readonly:
            raise Misconfigured("store: opened for reading only")
        # In the order of their keys: so one range holds the documents of a part, and few others.
        wanted = {(document.kind, document.key): document for document in documents}
        ordered = [wanted[key] for key in sorted(wanted)]
        with self._commit_lock, translated():  # two threads of one process would only step on each other
            for _ in range(TRIES):
                head = self._finish_others()
                changes = [change for part in _each(self._against, _pieces(ordered), expect) for change in part]
                if ordered and not changes:
                    return _epoch_of(head)
                parts = list(_pieces(changes)) or [[]]
                commit = self._prepare(head["sequence"] + 1, parts, author, note)
                if not self._make(commit):
                    continue  # another writer took the number; its commit comes first
                self._bring_into_force(commit, parts)
                return Epoch(commit["sequence"] if commit["moves"] else head["epoch"], head["generation"])
        raise Unavailable(f"commit: gave way to {TRIES} others")

    @property
    def _state(self) -> str:
        return f"{self.settings.prefix}-state"

    @property
    def _history(self) -> str:
        return f"{self.settings.prefix}-history"

    def _start_generation(self) -> None:
        head = {"kind": HEAD, "sequence": 0, "epoch": 0, "generation": uuid.uuid4().hex}
        try:
            self.client.index(index=self._state, id=HEAD, document=head, op_type="create", refresh=True)
        except ConflictError:
            pass

    def _head(self) -> dict[str, Any]:
        with translated():
            try:
                found: dict[str, Any] = self.client.get(index=self._state, id=HEAD).body["_source"]
            except NotFoundError as error:
                raise self._not_set_up() from error
        return found

    def _not_set_up(self) -> Unavailable:
        return Unavailable(f"store {self.settings.prefix}: not set up; run `verdict store init`")

    def _finish_others(self) -> dict[str, Any]:
        """Apply what a writer committed and did not live to apply; return the head after that."""
        while True:
            head = self._head()
            commit = self._commit_at(head["sequence"] + 1)
            if not commit:
                return head
            self._apply(commit, self._parts(commit))

    def _against(self, wanted: Sequence[Document], expect: int | None) -> list[Change]:
        """The changes that these documents are to what is there; raises `Conflict`."""
        present = self._present(wanted)
        changes: list[Change] = []
        for document in wanted:
            former = present.get((document.kind, document.key))
            if expect is not None and former is not None and former.epoch > expect:
                raise Conflict(
                    f"{document.kind} {document.key!r}: changed at epoch {former.epoch}, expected at most {expect}"
                )
            if not says_the_same(document, former):
                changes.append(
                    Change(document.kind, document.key, document.body, None if former is None else former.body)
                )
        return changes

    def _present(self, wanted: Sequence[Document]) -> dict[tuple[str, str], Document]:
        """The documents under these keys, also the removed ones; more may be among them."""
        found = self._range(wanted) if len(wanted) > FEW else None
        if found is None:
            ids = [id_of(document.kind, document.key) for document in wanted]
            items = self.client.mget(index=self._state, ids=ids).body["docs"]
            found = [document_of(item["_source"]) for item in items if item.get("found")]
        return {(document.kind, document.key): document for document in found}

    def _range(self, wanted: Sequence[Document]) -> list[Document] | None:
        """All documents from the first key to the last, where few others lie between: a look-up for each would cost
        a new list half as much as its writing."""
        first, last = wanted[0], wanted[-1]
        if first.kind != last.kind:
            return None
        terms = [{"term": {"kind": first.kind}}, {"range": {"key": {"gte": first.key, "lte": last.key}}}]
        query, limit = {"bool": {"filter": terms}}, 2 * len(wanted)
        counted = self._searched(query=query, size=0, track_total_hits=limit + 1)
        total = counted["hits"]["total"]["value"]
        if not 0 < total <= limit:
            return None if total else []
        found = self._searched(query=query, size=total, track_total_hits=False, sort=["_doc"])
        return [document_of(hit["_source"]) for hit in found["hits"]["hits"]]

    def _searched(self, **asked: Any) -> dict[str, Any]:
        """A search of the state that every shard answered."""
        found: dict[str, Any] = self.client.search(index=self._state, **asked).body
        if found["timed_out"] or found["_shards"]["failed"]:
            raise Unavailable("Elasticsearch: a search was answered in part")
        return found

    def _prepare(self, sequence: int, parts: list[list[Change]], author: str, note: str) -> dict[str, Any]:
        """The commit document; the parts of a large one are written here and mean nothing until it is."""
        commit: dict[str, Any] = {
            "sequence": sequence, "uuid": uuid.uuid4().hex, "part": -1, "author": author, "note": note,
            "time": int(time.time() * 1000),
            "moves": any(change.kind in DECISION_KINDS for part in parts for change in part),
        }  # fmt: skip
        if len(parts) == 1 and len(parts[0]) <= INLINE:
            return commit | content_of(parts[0]) | {"parts": 0}

        def write(number: int) -> None:
            document = commit | content_of(parts[number]) | {"part": number}
            self.client.index(index=self._history, id=f"p-{commit['uuid']}-{number}", document=document)

        for _ in _each(write, range(len(parts))):
            pass
        kinds = {change.kind for part in parts for change in part}
        return commit | {"kinds": sorted(kinds), "parts": len(parts)}

    def _make(self, commit: dict[str, Any]) -> bool:
        """Let the commit happen; False where another writer has its number.

        Where the answer is lost on its way, it may have happened. The client tells that as an error, or asks the next
        host, which finds the number taken: only the document says by whom.
        """
        try:
            self.client.index(index=self._history, id=commit_id(commit["sequence"]), document=commit, op_type="create")
        except (ApiError, TransportError) as error:
            if self._commit_at(commit["sequence"]).get("uuid") == commit["uuid"]:
                return True
            if isinstance(error, ConflictError):
                return False
            raise
        return True

    def _commit_at(self, sequence: int) -> dict[str, Any]:
        """The commit of a number; empty where there is none."""
        try:
            found: dict[str, Any] = self.client.get(index=self._history, id=commit_id(sequence)).body["_source"]
        except NotFoundError:
            return {}
        return found

    def _bring_into_force(self, commit: dict[str, Any], parts: Iterable[Sequence[Change]]) -> None:
        """Apply a commit that has just happened. Where the store does not take it now, the next writer does that, or a
        keeper within seconds: whoever asked for the commit must not be told that there is none."""
        try:
            with translated():
                self._apply(commit, parts)
        except Unavailable as error:
            log.warning("commit %d is made, and in force once the store takes it: %s", commit["sequence"], error)
        except Misconfigured as error:
            raise Misconfigured(f"commit {commit['sequence']} is made, and not in force: {error}") from error

    def _apply(self, commit: dict[str, Any], parts: Iterable[Sequence[Change]]) -> None:
        """Write a commit's changes and move the head to it; harmless when that was done, or is being done."""
        # One after another: so the documents of a part stand side by side on the disk, and to compare them with the
        # same list again, tomorrow's feed, a block is unpacked for all of them and not for each.
        for changes, lines in ahead((changes, lines_of(changes, commit)) for changes in parts if changes):
            self._write_part(commit, changes, lines)
        _resent(lambda: self.client.indices.refresh(index=f"{self._state},{self._history}"))
        _resent(lambda: self._move_head(commit))

    def _write_part(self, commit: dict[str, Any], changes: Sequence[Change], lines: bytes) -> None:
        """Write the state documents of one part; `lines` are all of them, encoded."""

        def send() -> None:
            nonlocal changes, lines
            operations: list[Any] = [lines]  # encoded: the client would take twice as long for it
            told = "items.index.status,items.index.error.type,items.index.error.reason"
            answer = self.client.bulk(index=self._state, operations=operations, filter_path=told).body
            put_off, error = _put_off(changes, answer["items"])
            if error is not None:
                changes, lines = put_off, lines_of(put_off, commit)
                raise error

        _resent(send)

    def _move_head(self, commit: dict[str, Any]) -> None:
        head = self._head()
        if head["sequence"] >= commit["sequence"]:
            return
        head |= {"sequence": commit["sequence"], "epoch": commit["sequence"] if commit["moves"] else head["epoch"]}
        try:
            self.client.index(
                index=self._state, id=HEAD, document=head, version=commit["sequence"], version_type="external_gte"
            )
        except ConflictError:
            pass  # someone else moved it further

    def _parts(self, commit: dict[str, Any]) -> Iterator[list[Change]]:
        """The changes of a commit that another writer made."""
        if not commit["parts"]:
            yield changes_of(commit)
        for number in range(commit["parts"]):
            yield changes_of(self.client.get(index=self._history, id=f"p-{commit['uuid']}-{number}").body["_source"])


def _epoch_of(head: dict[str, Any]) -> Epoch:
    return Epoch(head["epoch"], head["generation"])


def _pieces(of: Sequence[A]) -> Iterator[list[A]]:
    return (list(of[start : start + PART]) for start in range(0, len(of), PART))


def _each(act: Callable[..., B], items: Iterable[A], *more: Any) -> Iterator[B]:
    """`act` on each item, a few at a time, in their order: the server has more than one processor, and waits for its
    disk."""
    waiting = iter(items)
    first, second = next(waiting, None), next(waiting, None)
    if first is None:
        return
    if second is None:
        yield act(first, *more)
        return
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        yield from threads.map(lambda item: act(item, *more), (first, second, *waiting))


def _put_off(changes: Sequence[Change], items: list[dict[str, Any]]) -> tuple[list[Change], Unavailable | None]:
    """The changes that the answer to a bulk puts off, and why. Raises `Misconfigured` for one that it refuses."""
    put_off: list[Change] = []
    error: Unavailable | None = None
    for change, item in zip(changes, items, strict=True):
        status, said = item["index"]["status"], item["index"].get("error", {})
        if status in (200, 201, 409):
            continue
        problem = trouble(status, f"{said.get('type')}: {said.get('reason')}")
        if isinstance(problem, Misconfigured):
            raise problem
        put_off.append(change)
        error = problem
    return put_off, error


def _resent(send: Callable[[], Any]) -> None:
    """Send what is harmless to repeat, again for PATIENCE_S where it is put off."""
    until, delay = time.monotonic() + PATIENCE_S, FIRST_RETRY_S
    while True:
        try:
            with translated():
                send()
            return
        except Unavailable:
            if time.monotonic() + delay > until:
                raise
        time.sleep(delay * random.uniform(0.5, 1.0))
        delay *= 2
