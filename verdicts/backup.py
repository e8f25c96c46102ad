"""What people decided, as one store gives it and another takes it back.

A restore is one commit: from one moment to the next the store decides as it did at the time of the backup. It never
takes the epoch or the generation back, since resolvers hold what they were told under both: a store that has gone on
since moves to a higher epoch, and a new one has a generation of its own, at which resolvers drop what they believe.
Nor does it bring a token back that the store knows: one that was revoked since had a reason.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from verdicts import tokens
from verdicts.store import DECISION_KINDS, Document, Epoch, StateStore, Unavailable

# Incidents, jobs and imports belong to the log and the machine they came from.
KINDS = (*sorted(DECISION_KINDS), "label", "vetting")
TRIES = 5  # at a backup during which nobody decides


class Saved(msgspec.Struct, forbid_unknown_fields=True):
    """One document, with who wrote it, when and why."""

    kind: str
    key: str
    body: dict[str, Any]
    time: int  # Unix milliseconds
    author: str
    note: str


def saved(store: StateStore) -> tuple[Epoch, list[Saved]]:
    """Everything that people decided, as of one epoch. Raises `Unavailable` where decisions never stand still."""
    for _ in range(TRIES):
        epoch = store.epoch()
        found = [
            Saved(document.kind, document.key, document.body or {}, document.time, document.author, document.note)
            for kind in KINDS
            for document in store.scan(kind)
        ]
        if store.epoch() == epoch:
            return epoch, found
    raise Unavailable(f"the decisions changed during each of {TRIES} tries; try again when fewer people write")


def difference(store: StateStore, wanted: Iterable[Saved]) -> tuple[list[Document], int]:
    """The documents that a restore writes, and the commit up to which it has seen the store's own, removals too."""
    newest = max((change.epoch for change in store.history(limit=1)), default=0)
    there = {(document.kind, document.key): document for kind in KINDS for document in store.scan(kind)}
    bodies = {(item.kind, item.key): item.body for item in wanted if item.kind in KINDS}
    changes = [
        Document(kind, key, body)
        for (kind, key), body in bodies.items()
        if ((kind, key) not in there or there[kind, key].body != body)
        and not (kind == tokens.KIND and store.history(kind, key, limit=1))
    ]
    changes += [Document(*key, None) for key in there if key not in bodies]
    return changes, newest
