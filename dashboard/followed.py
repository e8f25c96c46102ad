"""Documents of a kind as the store has them, of which each asking reads what changed since the last one.

Invariant: whoever asks after a commit is given what it wrote.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from verdicts.store import Document, Store

WHOLE_S = 600.0  # after which all are read again: what a store forgets, as too old, leaves no trace
Body = dict[str, Any]


class Followed:
    """One for all who ask in this process. `slim` leaves out of a body what nobody is shown."""

    def __init__(self, kind: str, slim: Callable[[Body], Body]) -> None:
        self._kind, self._slim = kind, slim
        self._lock = threading.Lock()
        self._found: dict[str, Document] = {}
        self._generation = ""  # of the store that was read
        self._read_to = 0  # the newest commit that was read
        self._whole = 0.0  # when all were read, by the monotonic clock

    def documents(self, store: Store) -> list[Document]:
        """All present ones, in the order of their keys. Blocks."""
        with self._lock:
            generation = store.epoch().generation
            known = generation == self._generation and time.monotonic() < self._whole + WHOLE_S
            changed = store.changes(self._kind, self._read_to) if known else None
            if changed is None:
                latest = store.history("", "", 1)  # before the rest: what comes after it is read again
                everything = list(store.scan(self._kind))
                self._found, self._generation, self._whole = {}, generation, time.monotonic()
                self._read_to = latest[0].epoch if latest else 0
                self._take(everything)
            elif changed:
                self._take(changed)
                self._read_to = max(document.epoch for document in changed)
            return [self._found[key] for key in sorted(self._found)]

    def _take(self, documents: Iterable[Document]) -> None:
        for document in documents:
            if document.body is None:
                self._found.pop(document.key, None)
            else:
                self._found[document.key] = msgspec.structs.replace(document, body=self._slim(document.body))
