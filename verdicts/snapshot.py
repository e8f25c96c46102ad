"""The last good decisions in one file, so that a restart without a store decides as before.

Layout: 8 octets of magic and version, 32 octets SHA-256 of the rest, then MessagePack. It is written beside its
place, synced and renamed, so that a reader meets the former file or the new one, and a torn one is refused.
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from verdicts.files import write_atomically
from verdicts.store import Document, Epoch

MAGIC = b"vrdsnap1"


class BadSnapshot(ValueError):
    """A snapshot file that is torn or not one."""


class Snapshot(msgspec.Struct):
    """What a follower needs to decide: the lists as `Lists.dump` gives them, and the other followed documents."""

    epoch: Epoch
    lists: dict[str, Any]
    documents: list[Document]
    time: int  # Unix milliseconds of the last contact with the store


def save(path: Path, snapshot: Snapshot) -> None:
    """Write the file atomically, readable by its owner alone."""
    body = msgspec.msgpack.encode(snapshot)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, MAGIC + hashlib.sha256(body).digest() + body)


def load(path: Path) -> Snapshot | None:
    """The snapshot, or None where there is no file. Raises `BadSnapshot` for a damaged one."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    body = raw[40:]
    if raw[:8] != MAGIC or hashlib.sha256(body).digest() != raw[8:40]:
        raise BadSnapshot(f"snapshot {path}: damaged or of another version")
    try:
        return msgspec.msgpack.decode(body, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise BadSnapshot(f"snapshot {path}: {error}") from error
