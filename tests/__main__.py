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

from tests.elastic import RUNNING, ElasticServer, distribution, java_home, own_server

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


def fetch() -> None:
    """Have the Elasticsearch of the tests here. Where it cannot be, each test that wants it says why."""
    with contextlib.suppress(OSError):
        if java_home():
            distribution()


def elastic() -> ElasticServer | None:
    """An Elasticsearch to start, or None where one runs or none can."""
    with contextlib.suppress(pytest.skip.Exception, pytest.fail.Exception):
        return None if RUNNING in os.environ else own_server()
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
        try:
            fetching = beside.submit(fetch)
            found = [begun(CLUSTERS, *files("cluster", "e2e")).wait()]
            fetching.result()
            if not told and INTERRUPTED not in found:
                found += the_rest(beside, one_thread, told)
            if told or INTERRUPTED in found:
                return INTERRUPTED
            found.append(patient.wait())
        finally:
            if patient.poll() is None:
                os.killpg(patient.pid, signal.SIGINT)
                patient.wait()
        said.seek(0)
        print("Beside the clusters, at the lowest priority:", said.read(), sep="\n")
    return max(found)


def the_rest(beside: ThreadPoolExecutor, environment: dict[str, str], told: list[int]) -> list[int]:
    """Run what needs no cluster and is not patient, with one Elasticsearch that starts meanwhile; exit statuses."""
    server = elastic()
    starting = beside.submit(server.start) if server else None
    found = [
        begun(
            f"not patient and not {CLUSTERS}", "-n", "3", "--dist", "loadfile", "--no-loadscope-reorder",
            *(f"--ignore={file}" for file in files("patient")),
            env=environment | ({RUNNING: server.url} if server else {}),
        ).wait()
    ]  # fmt: skip
    if server and starting:
        if told:  # not in our session: it was not told
            server.kill()
        elif error := starting.exception():
            print(error, file=sys.stderr)
            found.append(1)
    return found


if __name__ == "__main__":
    sys.exit(main())
