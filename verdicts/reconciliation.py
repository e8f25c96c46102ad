"""What became of each batch that resolvers reported, and of those that the log does not know. Pure.

A reporter sends a batch once the one before was acknowledged, and gives the next number to each that says something. So
where the log has a number, every lower one of that boot was on a disk too: one that it lacks between two that it has is
in the spool of another replica still, or was lost with it.
"""

from collections.abc import Iterable
from itertools import pairwise
from sys import intern
from typing import Literal, NamedTuple

from verdicts.store import BatchState

PENDING_MS = 60_000  # what was reported within this may still be in a spool
LATE_MS = 3_600_000  # that a batch may come after what it tells of, of which the retention cuts the older rows
EDGE_MS = 60_000  # numbers and times rise together but for less than this; so much more is read than is judged

State = Literal["complete", "pending", "missing", "dead-lettered"]


class Gap(NamedTuple):
    """Batches `first` to `last` of one boot, which were acknowledged before the one at `time` (Unix milliseconds)."""

    resolver: str
    boot: str
    first: int
    last: int
    time: int

    @property
    def batches(self) -> int:
        return self.last - self.first + 1


def state_of(found: BatchState | Gap, now: int) -> State:
    """What became of a batch, or of the batches of a gap; `now` in Unix milliseconds."""
    if isinstance(found, Gap) or found.missing > 0:
        return "pending" if now - found.time < PENDING_MS else "missing"
    return "dead-lettered" if found.dead else "complete"


def gaps_of(batches: Iterable[BatchState], since: int) -> list[Gap]:
    """The gaps before batches at `since` or later, in the order of time; `batches` begin EDGE_MS before that."""
    boots: dict[str, list[tuple[int, int, str]]] = {}
    for batch in batches:
        boots.setdefault(batch.boot, []).append((batch.batch, batch.time, intern(batch.resolver)))  # millions
    gaps = [
        Gap(resolver, boot, before + 1, number - 1, time)
        for boot, numbers in boots.items()
        for (before, _, _), (number, time, resolver) in pairwise(sorted(numbers))
        if number > before + 1 and time >= since
    ]
    return sorted(gaps, key=lambda gap: gap.time)
