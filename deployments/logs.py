"""A replica's log, written each second: Serve holds a thousand lines back, so that a quiet hour would show none."""

import logging
import threading
import time
from functools import cache
from logging.handlers import MemoryHandler

EVERY_S = 1.0


@cache
def keep_written() -> None:
    """From now on this process's lines are in its log within a second or so. Harmless when called again."""
    threading.Thread(target=_forever, name="log", daemon=True).start()


def write(logger: logging.Logger) -> None:
    """Write what this logger holds back."""
    for handler in logger.handlers:
        if isinstance(handler, MemoryHandler):
            handler.flush()


def _forever() -> None:
    while True:
        time.sleep(EVERY_S)
        write(logging.getLogger("ray.serve"))
