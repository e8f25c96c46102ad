"""Lets Ray wait for its own processes longer than the half minute that is written into it.

A machine that builds or installs something meanwhile is slow, not broken.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serve_app.descendants import descendants, end_descendants

PATIENCE_S = 120.0
VARIABLES = {"RAY_agent_register_timeout_ms": str(int(PATIENCE_S * 1000))}  # to be set before Ray is imported
TRIES = 3
TRY = "VERDICT_RAY_TRY"  # the environment variable that counts them
BUSY = "timed out during startup"  # what Ray says when its time is over


class TooBusy(RuntimeError):
    """Ray's own processes were not up in time."""


@contextmanager
def afresh(say: Callable[[str], None] = print) -> Iterator[None]:
    """Where the block raises `TooBusy`, this process becomes its own command anew, TRIES times in all.

    A second try of Ray in the same process can abort that process. What the former try started is ended first: Ray
    leaves it, and it would slow a busy machine further. `say` hears of each.
    """
    before = dict(os.environ)
    turn = int(before.get(TRY, "1"))
    try:
        yield
    except TooBusy:
        if turn >= TRIES:
            raise
        say(f"Ray's own processes were not up in time on a busy machine; try {turn + 1} of {TRIES}")
        sys.stdout.flush()
        sys.stderr.flush()
        end_descendants()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**before, TRY: str(turn + 1)})


def be_patient(patience_s: float = PATIENCE_S) -> None:
    """From now on Ray asks for its node until it is there, or until its node manager has ended."""
    from ray._private import services

    ask = services.get_node
    if ask.__name__ == "ask_patiently":
        return

    def ask_patiently(*arguments: Any, **options: Any) -> Any:
        end = time.monotonic() + patience_s
        while True:
            try:
                return ask(*arguments, **options)
            except RuntimeError:
                if time.monotonic() > end or not raylet_lives():
                    raise
                time.sleep(0.2)

    services.get_node = ask_patiently


def raylet_lives() -> bool:
    """Whether Ray's node manager, which this process started, still runs."""
    for pid in descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        name, _, rest = fields.partition("(")[2].rpartition(") ")
        if name == "raylet" and rest[0] not in "ZX":
            return True
    return False
