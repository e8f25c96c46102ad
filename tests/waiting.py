"""Waiting for what comes by itself."""

import time
from collections.abc import Callable


def until(holds: Callable[[], object], patience_s: float = 60.0) -> None:
    """Return once it holds. Fails after `patience_s`."""
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, f"waited {patience_s:g} s in vain"
        time.sleep(0.02)
