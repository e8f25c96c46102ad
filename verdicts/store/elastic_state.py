"""Documents, their history and the epoch, in Elasticsearch, without scripts and without a lock.

A commit is one document `c-NUMBER` in the history, made with `create`: of two writers who want the same number, one
succeeds, and that is the moment at which the commit happens. Then its changes are written to the state documents,
each with the commit's number as external version, so that whoever finds a commit half applied can apply it again;
at last `head` moves to it, which is what readers take the epoch from. A large commit puts its changes into parts
`p-UUID-N` beforehand.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from elasticsearch import ConflictError, Elasticsearch, NotFoundError

from verdicts.store import DECISION_KINDS, Conflict, Document, Epoch, Misconfigured, Unavailable
from verdicts.store.elastic_client import ElasticSettings, translated
from verdicts.store.elastic_forget import Forgets

PART = 1000  # changes in one document, and documents in one request
HEAD = "head"
TRIES = 50  # commits of others that one commit gives way to

_json = msgspec.json.Encoder().encode


class Change(msgspec.Struct):
    """One change as a commit keeps it."""

    kind: str
    key: str
    body: dict[str, Any] | None
    previous: dict[str, Any] | None


_changes = msgspec.json.Decoder(list[Change])


class State(Forgets):
    """The `StateStore` half of `ElasticStore`."""

    client: Elasticsearch
    settings: ElasticSettings
    readonly: bool
    _commit_lock: threading.Lock

    def epoch(self) -> Epoch:
        """The current epoch: one document by its id."""
        head = self._head()
        return Epoch(head["epoch"], head["generation"])

    def commit(self, documents: Iterable[Document], author: str, note: str = "", expect: int | None = None) -> Epoch:
        """Write all documents or none, durably; see `StateStore.commit`."""
        if self.readonly:
            raise Misconfigured("store: opened for reading only")
        wanted = {(document.kind, document.key): document for document in documents}
        with self._commit_lock, translated():  # two threads of one process would only step on each other
            for _ in range(TRIES):
                head = self._finish_others()
                commit = self._prepare(head["sequence"] + 1, list(wanted.values()), author, note, expect)
                try:
                    self.client.index(
                        index=self._history, id=f"c-{commit['sequence']:012d}", document=commit, op_type="create"
                    )
                except ConflictError:
                    continue  # another writer took the number; its commit comes first
                self._apply(commit)
                return self.epoch()
        raise Unavailable(f"commit: gave way to {TRIES} others")

    def get(self, kind: str, key: str) -> Document | None:
        """One document, or None when it is absent or removed."""
        with translated():
            try:
                found = self.client.get(index=self._state, id=_id(kind, key)).body
            except NotFoundError:
                return None
        document = _document(found["_source"])
        return document if document.body is not None else None

    def scan(self, kind: str, prefix: str = "", after: str = "") -> Iterator[Document]:
        """All present documents of a kind under a key prefix, in key order, beyond `after`."""
        for hit in self._walk(kind, prefix, source=True, start=after):
            yield _document(hit["_source"])

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
        hits = self._states(terms, size=PART, sort=[{"expires": "asc"}])
        return [_document(hit["_source"]) for hit in hits]

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
                return [_document(hit["_source"]) for hit in hits]
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
        while len(found) < limit:
            more: dict[str, Any] = {} if after is None else {"search_after": after}
            with translated():
                hits = self.client.search(
                    index=self._history, query={"bool": {"filter": terms}}, size=100,
                    sort=[{"sequence": "desc"}, {"part": "asc"}], **more,
                ).body["hits"]["hits"]  # fmt: skip
                happened = [hit["_source"] for hit in hits if self._happened(hit["_source"])]
            for commit in happened:
                found += [d for d in _past(commit) if kind in ("", d.kind) and key in ("", d.key)]
            if len(hits) < 100:
                break
            after = hits[-1]["sort"]
        return found[:limit]

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
                raise Unavailable(f"store {self.settings.prefix}: not set up; run `verdict store init`") from error
        return found

    def _finish_others(self) -> dict[str, Any]:
        """Apply what a writer committed and did not live to apply; return the head after that."""
        while True:
            head = self._head()
            try:
                found = self.client.get(index=self._history, id=f"c-{head['sequence'] + 1:012d}").body
            except NotFoundError:
                return head
            self._apply(found["_source"])

    def _prepare(
        self, sequence: int, wanted: list[Document], author: str, note: str, expect: int | None
    ) -> dict[str, Any]:
        """The commit document; the parts of a large one are written here and mean nothing until it is."""
        identifier = uuid.uuid4().hex
        commit: dict[str, Any] = {
            "sequence": sequence, "uuid": identifier, "part": -1, "author": author, "note": note,
            "time": int(time.time() * 1000), "moves": any(d.kind in DECISION_KINDS for d in wanted),
        }  # fmt: skip
        parts = [self._part(wanted[i : i + PART], expect) for i in range(0, len(wanted), PART)]
        if len(parts) == 1:
            return commit | parts[0] | {"parts": 0}
        for number, part in enumerate(parts):
            document = commit | part | {"part": number}
            self.client.index(index=self._history, id=f"p-{identifier}-{number}", document=document)
        return commit | {"parts": len(parts)}

    def _part(self, wanted: list[Document], expect: int | None) -> dict[str, Any]:
        present = self._present(wanted)
        for document in wanted:
            former = present.get((document.kind, document.key))
            if expect is not None and former is not None and former.epoch > expect:
                raise Conflict(
                    f"{document.kind} {document.key!r}: changed at epoch {former.epoch}, expected at most {expect}"
                )
        changes = [
            Change(d.kind, d.key, d.body, former.body if (former := present.get((d.kind, d.key))) else None)
            for d in wanted
        ]
        return {
            "kinds": sorted({d.kind for d in wanted}),
            "keys": [d.key for d in wanted],
            "changes": _json(changes).decode(),
        }

    def _present(self, wanted: list[Document]) -> dict[tuple[str, str], Document]:
        found = self.client.mget(index=self._state, ids=[_id(d.kind, d.key) for d in wanted]).body["docs"]
        documents = [_document(item["_source"]) for item in found if item.get("found")]
        return {(document.kind, document.key): document for document in documents}

    def _apply(self, commit: dict[str, Any]) -> None:
        """Write a commit's changes and move the head to it; harmless when that was done, or is being done."""
        for source in self._parts(commit):
            operations: list[Any] = []  # encoded: the client would take twice as long for it
            for change in _changes.decode(source["changes"]):
                action = {"index": {"_id": _id(change.kind, change.key), **_version(commit)}}
                operations += [_json(action), _json(_state_of(change, commit))]
            if operations:
                told = "items.index.status,items.index.error.reason"
                _demand_applied(self.client.bulk(index=self._state, operations=operations, filter_path=told).body)
        self.client.indices.refresh(index=f"{self._state},{self._history}")
        head = self._head()
        if head["sequence"] >= commit["sequence"]:
            return
        head |= {"sequence": commit["sequence"], "epoch": commit["sequence"] if commit["moves"] else head["epoch"]}
        try:
            self.client.index(index=self._state, id=HEAD, document=head, **_version(commit))
        except ConflictError:
            pass  # someone else moved it further

    def _parts(self, commit: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not commit["parts"]:
            yield commit
        for number in range(commit["parts"]):
            yield self.client.get(index=self._history, id=f"p-{commit['uuid']}-{number}").body["_source"]

    def _happened(self, source: dict[str, Any]) -> bool:
        """False for the parts of a commit that another one came before."""
        if source["part"] < 0:
            return True
        try:
            commit = self.client.get(index=self._history, id=f"c-{source['sequence']:012d}").body["_source"]
        except NotFoundError:
            return False
        return bool(commit["uuid"] == source["uuid"])

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


def _id(kind: str, key: str) -> str:
    """The id of a state document: at most 512 octets are allowed, and a key may be longer."""
    text = f"{kind}:{key}"
    return text if len(text.encode()) <= 500 else f"{kind}#{uuid.uuid5(uuid.NAMESPACE_DNS, text).hex}"


def _version(commit: dict[str, Any]) -> dict[str, Any]:
    return {"version": commit["sequence"], "version_type": "external_gte"}


def _state_of(change: Change, commit: dict[str, Any]) -> dict[str, Any]:
    document = {
        "kind": change.kind, "key": change.key, "epoch": commit["sequence"], "time": commit["time"],
        "author": commit["author"], "note": commit["note"], "present": change.body is not None,
        "body": None if change.body is None else _json(change.body).decode(),
    }  # fmt: skip
    expires = (change.body or {}).get("expires")
    if change.kind == "list" and isinstance(expires, int):
        document["expires"] = expires
    return document


def _demand_applied(answer: dict[str, Any]) -> None:
    for item in answer["items"]:
        result = item["index"]
        if result["status"] not in (200, 201, 409):
            raise Unavailable(f"Elasticsearch: {result['status']} {result.get('error', {}).get('reason')}")


def _document(source: dict[str, Any]) -> Document:
    body = source.get("body")
    return Document(
        source["kind"], source["key"], None if body is None else msgspec.json.decode(body), source["epoch"],
        source["time"], source["author"], source["note"],
    )  # fmt: skip


def _past(commit: dict[str, Any]) -> list[Document]:
    changes = _changes.decode(commit["changes"]) if commit.get("changes") else []
    return [
        Document(
            c.kind, c.key, c.body, commit["sequence"], commit["time"], commit["author"], commit["note"], c.previous
        )
        for c in changes
    ]
