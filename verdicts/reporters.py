"""Who reports: the last batch of each resolver's engine, as one replica of the verdict log has seen it."""

from typing import Any

import msgspec

MAX_REPORTERS = 10_000  # engines remembered
GONE_MS = 60_000  # an engine that is silent for this long is no longer shown


class Head(msgspec.Struct):
    """The fields of a `Batch` without its rows, which decoding skips."""

    resolver: str
    boot: str
    batch: int
    epoch: int = 0
    generation: str = ""
    mode: str = ""
    version: str = ""
    seen: int = 0
    discarded: int = 0


_head = msgspec.json.Decoder(Head)


class Reporters:
    """Not locked: each operation is one step of the interpreter."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[int, Head]] = {}  # boot -> (Unix milliseconds, head)

    def note(self, batch: bytes, now: int) -> None:
        """Remember who sent a checked batch (JSON)."""
        head = _head.decode(batch)
        self._heads.pop(head.boot, None)  # so that the order is that of the last report
        self._heads[head.boot] = (now, head)
        if len(self._heads) > MAX_REPORTERS:
            del self._heads[next(iter(self._heads))]

    def present(self, now: int) -> list[dict[str, Any]]:
        """One mapping an engine that reported lately: the head's fields, and `time` (Unix milliseconds)."""
        recent = [(time, head) for time, head in list(self._heads.values()) if now - time <= GONE_MS]
        return [{"time": time, **msgspec.to_builtins(head)} for time, head in recent]
