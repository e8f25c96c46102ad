"""Whether a classifier replica still computes, which Serve asks it.

A GPU that is lost fails each batch at once, so that its replica would be given the more; it must be exchanged.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FAILED_BATCHES = 3  # in a row
HUNG_S = 60.0  # a batch that takes longer never ends


class Sick(RuntimeError):
    """This replica computes no more; the message says how it shows."""


class Health:
    """What became of the batches of one replica."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed = 0  # in a row
        self._last = ""
        self._running: dict[object, float] = {}

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Around the computing of one batch."""
        mark = object()
        self._running[mark] = self._clock()
        try:
            yield
            self._failed = 0
        except Exception as error:
            self._failed += 1
            self._last = f"{type(error).__name__}: {error}"
            raise
        finally:
            del self._running[mark]

    def check(self) -> None:
        """Raise `Sick` where the replica should be exchanged."""
        if self._failed >= FAILED_BATCHES:
            raise Sick(f"{self._failed} batches in a row failed, the last by {self._last:.500}")
        longest = max((self._clock() - began for began in self._running.values()), default=0.0)
        if longest > HUNG_S:
            raise Sick(f"a batch has been computed for {longest:.0f} s")
