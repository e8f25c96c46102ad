"""The last good decisions in one file, so that a restart without a store decides as before.

Layout: 8 octets of magic and version, 32 octets SHA-256 of the rest, then MessagePack. It is written beside its
place, synced and renamed, so that a reader meets the former file or the new one, and a torn one is refused.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from verdicts.spool import sync_directory
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


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a crash leaves the former content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
