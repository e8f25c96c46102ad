"""Several processes that serve one address, for more people at once than one processor can draw pages for.

They are forked before any event loop runs, share the listening socket, the secret that signs cookies, the log-outs
(`dashboard.ended`) and the count of failed log-ins (`dashboard.auth`), and hold nothing else in common: a page and its
socket may reach different ones (`dashboard.opening`). The first one's process starts each again that ends, and ends
with all of them.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from socket import socket
from typing import NamedTuple

logger = logging.getLogger("dashboard")

AT_ONCE_S = 5.0  # one that ends within this after its start will do so again: all end
LOOK_S = 1.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Part(NamedTuple):
    """What one of several processes knows of the others."""

    sockets: Sequence[socket]
    parent: int  # process id of the one that started it
    first: bool


def serve_in(count: int, serve: Callable[[bool], None]) -> int:
    """Run `serve(whether it is the first)` in this many processes until SIGTERM or SIGINT; the exit status."""
    began: dict[int, float] = {}
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for pid in began:
            os.kill(pid, signal.SIGTERM)  # ours, and not waited for: it exists, if only as what is left of it

    for number in SIGNALS:
        signal.signal(number, stop)
    first, status = True, 0
    while began or not stopping:
        while len(began) < count and not stopping:
            with _unheard():  # until it is noted: one that came before would end all but it, and wait for it for ever
                now = time.monotonic()
                began[_forked(serve, first)] = now
            first = False
        pid, code = os.wait()
        age = time.monotonic() - began.pop(pid)
        if not stopping and age < AT_ONCE_S:
            status = os.waitstatus_to_exitcode(code) or 1
            stop()
        elif not stopping:
            logger.warning("dashboard process %d ended (status %d); another is started", pid, code)
    return status


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Signals wait until the end of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _forked(serve: Callable[[bool], None], first: bool) -> int:
    """A process that serves, by its id; to be called while signals wait."""
    pid = os.fork()
    if pid == 0:
        try:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            serve(first)
        except BaseException:
            logger.exception("dashboard process")
            os._exit(1)
        os._exit(0)
    return pid


async def orphaned(parent: int, stopped: asyncio.Event) -> None:
    """Stop once that process is gone, however it went."""
    while os.getppid() == parent:
        await asyncio.sleep(LOOK_S)
    stopped.set()
