"""What a commit is in Elasticsearch: its changes as it keeps them, and as the state documents that it writes."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from verdicts.store import Document

INLINE = 100  # changes that stand in the commit itself, each found by its key

_encoder = msgspec.json.Encoder()
_json = _encoder.encode


class Change(msgspec.Struct, gc=False):
    """One change as a commit keeps it."""

    kind: str
    key: str
    body: dict[str, Any] | None
    previous: dict[str, Any] | None


class _Target(msgspec.Struct, rename={"id": "_id"}, gc=False):
    id: str
    version: int
    version_type: str = "external_gte"


class _Index(msgspec.Struct, gc=False):
    index: _Target


class _State(msgspec.Struct, gc=False):
    """A state document; a million of them cost half of what dicts do."""

    kind: str
    key: str
    epoch: int
    time: int
    author: str
    note: str
    present: bool
    body: str | None
    expires: int | msgspec.UnsetType = msgspec.UNSET


_changes = msgspec.json.Decoder(list[Change])


def id_of(kind: str, key: str) -> str:
    """The id of a state document: at most 512 octets are allowed, and a key may be longer."""
    text = f"{kind}:{key}"
    if len(text) <= 125 or len(text.encode()) <= 500:
        return text
    return f"{kind}#{uuid.uuid5(uuid.NAMESPACE_DNS, text).hex}"


def commit_id(sequence: int) -> str:
    """The id of the commit with a number, in the history."""
    return f"c-{sequence:012d}"


def document_of(source: dict[str, Any]) -> Document:
    """The document in the source of a state document."""
    body = source.get("body")
    return Document(
        source["kind"], source["key"], None if body is None else msgspec.json.decode(body), source["epoch"],
        source["time"], source["author"], source["note"],
    )  # fmt: skip


def changes_of(source: dict[str, Any]) -> list[Change]:
    """The changes in a commit document or a part of one."""
    return _changes.decode(source["changes"]) if source.get("changes") else []


def content_of(changes: list[Change]) -> dict[str, Any]:
    """The changes in a commit document or a part of one, with what finds it."""
    keys = [change.key for change in changes]
    return {
        "kinds": sorted({change.kind for change in changes}),
        # Of a part the first and the last: what `history` finds it by (before, all were there, and are found too). To
        # index each of a million names once more cost an import a quarter of the server's time.
        "keys": keys if len(keys) <= INLINE else [min(keys), max(keys)],
        "changes": _json(changes).decode(),
    }


def lines_of(changes: Sequence[Change], commit: dict[str, Any]) -> bytes:
    """The changes as the body of one bulk."""
    sequence, at, author, note = commit["sequence"], commit["time"], commit["author"], commit["note"]
    lines: list[_Index | _State] = []
    for change in changes:
        body, expires = change.body, None
        if body is not None and change.kind == "list":
            expires = body.get("expires")
        lines.append(_Index(_Target(id_of(change.kind, change.key), sequence)))
        lines.append(
            _State(
                change.kind, change.key, sequence, at, author, note, body is not None,
                None if body is None else _json(body).decode(),
                # One beyond what the field takes would be refused here for ever, and with it every later commit.
                expires if isinstance(expires, int) and 0 <= expires < 1 << 63 else msgspec.UNSET,
            )
        )  # fmt: skip
    return _encoder.encode_lines(lines)
