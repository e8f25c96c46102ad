"""All tests but the long ones, in the order that takes the least time: what `make test` runs after lint.

Those that start clusters have the machine to themselves, but for tests that take no notice of how long they take: these
get what the clusters leave of the processors, which is two fifths. Of all others three files go beside each other: they
wait for browsers and servers as much as they compute. One Elasticsearch serves them all.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.elastic import RUNNING, ElasticServer, own_server

CLUSTERS = "(cluster or e2e)"
# Small networks take longer with two threads, which wait for each other by spinning, than with one.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
INTERRUPTED = 2  # pytest's exit status


def files(*marks: str) -> list[str]:
    """The files in which one of these marks is given: to read all others for none takes 30 s of a processor."""
    given = re.compile(rf"\bmark\.({'|'.join(marks)})\b")
    return [str(path) for path in sorted(Path(__file__).parent.rglob("test_*.py")) if given.search(path.read_text())]


def begun(marks: str, *more: str, **how: object) -> "subprocess.Popen[str]":
    """Start pytest for the tests with these marks."""
    command = [sys.executable, "-m", "pytest", "-m", f"not long and {marks}", *more]
    return subprocess.Popen(command, **how)  # type: ignore[call-overload,no-any-return]


def last() -> None:
    """Let all others go first. Where Linux shares processors between sessions, a priority counts within one alone."""
    os.nice(19)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write("19")


def fetched() -> ElasticServer | None:
    """An Elasticsearch, not started yet, or None where none can run: each test that wants one says what is missing."""
    try:
        return own_server()
    except (pytest.skip.Exception, pytest.fail.Exception):
        return None


def main() -> int:
    """Run them all; the worst exit status, or that of an interrupt."""
    told: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: told.append(number))  # a terminal tells pytest, too, which cleans up
    one_thread = os.environ | ONE_THREAD
    with tempfile.TemporaryFile("w+") as said, ThreadPoolExecutor() as beside:
        patient = begun(
            f"patient and not {CLUSTERS}", *files("patient"), "-o", "timeout=1800", stdout=said, stderr=said,
            start_new_session=True, preexec_fn=last, env=one_thread,
        )  # fmt: skip
        elastic = None if RUNNING in os.environ else beside.submit(fetched)
        found = [begun(CLUSTERS, *files("cluster", "e2e")).wait()]
        if not told and found[0] != INTERRUPTED:
            server = elastic.result() if elastic else None
            starting = beside.submit(server.start) if server else None
            rest = begun(
                f"not patient and not {CLUSTERS}", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder",
                *(f"--ignore={file}" for file in files("patient")),
                env=one_thread | ({RUNNING: server.url} if server else {}),
            )  # fmt: skip
            found.append(rest.wait())
            if starting:
                starting.result()  # raises what kept it from starting
        if told or INTERRUPTED in found:
            os.killpg(patient.pid, signal.SIGINT)
            patient.wait()
            return INTERRUPTED
        found.append(patient.wait())
        said.seek(0)
        print("Beside the clusters, at the lowest priority:", said.read(), sep="\n")
    return max(found)


if __name__ == "__main__":
    sys.exit(main())
