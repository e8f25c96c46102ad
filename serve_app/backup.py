"""A backup: what people decided and the models that served them, in one compressed tar file.

`backup.json` says what it is, from which epoch, and the SHA-256 of every other member; `documents.jsonl` holds the
decisions, `history.jsonl` the last changes for people to read, `models/` the registry. A restore believes nothing
before all of it was checked, and adds models first, so that no decision names one that is not there.
"""

import hashlib
import io
import os
import re
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from model.registry import Registry
from verdicts.backup import KINDS, Saved, difference, saved
from verdicts.files import write_atomically
from verdicts.lists import PREVALENCE_KIND
from verdicts.store import Document, Epoch, Store

FORMAT = 1
HISTORY = 100_000  # changes kept for people
MAX_MEMBER = 4 << 30  # octets
_MODEL_FILE = re.compile(r"models/([\w.-]+)/([\w.-]+)").fullmatch
_POINTER = "models/serving"


class BadBackup(ValueError):
    """A file that is no backup, or a damaged one; the message names it."""


class Head(msgspec.Struct):
    """`backup.json`."""

    format: int
    time: int  # Unix milliseconds
    epoch: int
    generation: str
    documents: int
    members: dict[str, str]  # SHA-256 by name


class Backup(NamedTuple):
    """A checked backup."""

    head: Head
    documents: list[Saved]
    models: dict[str, dict[str, bytes]]  # files by version
    pointer: list[str]  # the serving version, then those that served before


def write(path: Path, store: Store, registry: Registry | None) -> Head:
    """Write a backup, in whole or not at all; for its owner alone, since it holds digests of tokens."""
    if path.exists() and not path.is_file():
        raise BadBackup(f"{path}: no regular file, expected a new one or one to replace")
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise BadBackup(f"{path}: expected a file in a folder that this user can write")
    epoch, documents = saved(store)
    members = {"documents.jsonl": _lines(documents), "history.jsonl": _lines(_history(store))}
    if registry is not None:
        members[_POINTER] = "".join(f"{version}\n" for version in registry.pointer()).encode()
        for manifest in registry.list():
            for file in sorted(registry.path(manifest.version).iterdir()):
                members[f"models/{manifest.version}/{file.name}"] = file.read_bytes()
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    head = Head(FORMAT, int(time.time() * 1000), epoch.number, epoch.generation, len(documents), digests)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in {"backup.json": msgspec.json.encode(head), **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), head.time // 1000, 0o600
            tar.addfile(entry, io.BytesIO(data))
    write_atomically(path, out.getbuffer())
    return head


def read(path: Path) -> Backup:
    """A backup with every member checked. Raises `BadBackup`."""
    try:
        with tarfile.open(path, "r:gz") as tar:
            members = dict(_members(tar))
        head = msgspec.json.decode(members.pop("backup.json", b""), type=Head)
    except (OSError, EOFError, zlib.error, tarfile.TarError, msgspec.MsgspecError) as error:
        raise BadBackup(f"{path}: no backup of Verdict: {error}") from error
    if head.format != FORMAT:
        raise BadBackup(f"{path}: a backup of format {head.format}, expected {FORMAT}")
    for name in sorted(head.members.keys() | members.keys()):
        if head.members.get(name) != hashlib.sha256(members.get(name, b"")).hexdigest():
            raise BadBackup(f"{path}: {name} is damaged or missing")
    try:
        decoder = msgspec.json.Decoder(Saved)
        documents = [decoder.decode(line) for line in members["documents.jsonl"].splitlines()]
    except (KeyError, msgspec.MsgspecError) as error:
        raise BadBackup(f"{path}: documents.jsonl: {error}") from error
    models: dict[str, dict[str, bytes]] = {}
    for name, data in members.items():
        found = _MODEL_FILE(name)
        if found:
            models.setdefault(found[1], {})[found[2]] = data
    return Backup(head, documents, models, members.get(_POINTER, b"").decode().split())


def restore(backup: Backup, store: Store, registry: Registry | None, author: str, note: str) -> tuple[Epoch, int]:
    """Add the models that are missing, let that of the backup serve, then decide as it did; the epoch, and how many
    documents changed. Models that came since stay. Raises what `Registry.add` and `StateStore.commit` do."""
    if registry is not None and backup.pointer:
        for files in backup.models.values():
            with tempfile.TemporaryDirectory() as folder:
                for name, data in files.items():
                    (Path(folder) / name).write_bytes(data)
                registry.add(folder)
        registry.point(backup.pointer)
    changes, newest = difference(store, backup.documents)
    if not changes:
        return store.epoch(), 0
    return store.commit(changes, author, note, expect=newest), len(changes)


def _history(store: Store) -> list[Document]:
    """The last changes of what a backup holds, newest first, but for those of the prevalence list: it is another one
    each day, and a year of them would not fit the memory."""
    kinds = [kind for kind in KINDS if kind != PREVALENCE_KIND]
    found = [change for kind in kinds for change in store.history(kind, limit=HISTORY)]
    return sorted(found, key=lambda change: -change.epoch)[:HISTORY]


def _lines(rows: Sequence[msgspec.Struct]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Regular files by name; nothing is unpacked to where a name says."""
    for entry in tar:
        file = tar.extractfile(entry) if entry.isreg() and entry.size <= MAX_MEMBER else None
        if file is None:
            raise tarfile.TarError(f"{entry.name}: expected a regular file of at most {MAX_MEMBER} octets")
        yield entry.name, file.read()
