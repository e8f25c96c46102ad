"""What processes are and use, read from /proc: title, CPU seconds and resident memory of a process with all it started;
and how a load tool ends."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from serve_app.descendants import descendants


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does: what this process started would else outlive it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def program(main: Callable[[], int | None]) -> NoReturn:
    """Run the `main` of a program and exit with its status; at Ctrl-C and SIGTERM with 130 and one line, no trace.

    `main` has put its things away by then.
    """
    with terminable():
        try:
            sys.exit(main())
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)


def cpu_seconds(pid: int) -> float:
    """CPU time (user and system) that a process and its living descendants have used so far; 0 for one that is gone.

    A process that ended and was waited for counts with its parent.
    """
    return sum(own_cpu_seconds(p) for p in [pid, *descendants(pid)])


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its living descendants, shared pages counted once a process."""
    return sum(_resident([pid, *descendants(pid)]).values())


def resident_below(pid: int) -> dict[str, int]:
    """Resident bytes of each living descendant of a process, by number and the beginning of the command."""
    return _resident(descendants(pid))


def command_of(pid: int) -> str:
    """A process's title or command line; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _resident(pids: Iterable[int]) -> dict[str, int]:
    found = {}
    for p in pids:
        try:
            pages = int(Path(f"/proc/{p}/statm").read_text().split()[1])
        except OSError:
            continue
        name = " ".join(Path(word).name for word in command_of(p).split()[:3])
        found[f"{p} {name:.60}"] = pages * os.sysconf("SC_PAGE_SIZE")
    return found


def own_cpu_seconds(pid: int) -> float:
    """CPU time of one process, with its children that ended and were waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own, children = (sum(map(int, fields[i : i + 2])) / os.sysconf("SC_CLK_TCK") for i in (11, 13))
    try:
        # What clock_getcpuclockid(3) returns on Linux: exact, where /proc counts in hundredths of a second.
        own = time.clock_gettime((~pid << 3) | 2)
    except OSError:  # it has ended meanwhile
        pass
    return own + children
