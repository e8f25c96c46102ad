"""Kills and freezes one process of each kind under a steady load of questions, and counts those that failed.

    python -m loadtest.reliability                    every kind, killed and frozen; about a quarter of an hour
    python -m loadtest.reliability --only Classifier  the kinds whose name holds a word
    python -m loadtest.reliability --seconds 60 --rate 40 --json

The cluster is this machine's, with two replicas of each deployment that can have two. Each question is asked at its
own time, whether or not those before it were answered (an open loop), and fails when it has no verdict a second after
that. A frozen process (SIGSTOP) is let go after FROZEN_S. Ends with 1 when more than 0.1 % of the questions around a
replica's end failed.
"""

import argparse
import itertools
import json
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from pathlib import Path
from typing import NamedTuple

from loadtest.arguments import positive
from loadtest.processes import command_of, program
from loadtest.stats import command_line, describe_machine, table
from serve_app.descendants import descendants

BUDGET_S = 1.0
FROZEN_S = 15.0
ALLOWED = 0.001  # share of questions
PATIENCE_S = 2 * BUDGET_S  # until a connection is given up
BEFORE_S = 3.0  # of load before the blow
REPLICA = "ray::ServeReplica:verdict:"
REPLICAS = (REPLICA + "Ingress", REPLICA + "Preprocessor", REPLICA + "Classifier", REPLICA + "VerdictLog")
# One of each stands on a machine: what dies with them is told, not judged by the share.
SINGLE = ("haproxy", "ray::HAProxyManager", "ray::ServeController", "ray::ProxyActor")
SIGNALS = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}
TWO = {name: {"num_replicas": 2} for name in ("Ingress",)} | {
    name: {"autoscaling_config": None, "num_replicas": 2} for name in ("Preprocessor", "Classifier")
}


class NoSuchProcess(RuntimeError):
    """Nothing of this kind runs."""


class Answer(NamedTuple):
    """One question: when it was due (monotonic seconds), how long it took from then, had it its verdict in time."""

    asked: float
    seconds: float
    good: bool


class Finding(NamedTuple):
    """What one blow did. `last_failure`: seconds from the blow to the last question that failed, 0 for none."""

    kind: str
    blow: str
    asked: int
    failed: int
    last_failure: float
    slowest: float  # seconds, of those that had their verdict

    @property
    def share(self) -> float:
        return self.failed / self.asked

    @property
    def kept(self) -> bool:
        return self.kind in SINGLE or self.share <= ALLOWED

    def row(self) -> dict[str, str]:
        return {
            "process": self.kind.rpartition(":")[2],
            "blow": self.blow,
            "questions": str(self.asked),
            "failed": str(self.failed),
            "share": f"{self.share:.3%}",
            "well again after": f"{self.last_failure:.1f} s",
            "slowest verdict": f"{self.slowest * 1000:.0f} ms",
            "at most 0.1 %": "one stands alone" if self.kind in SINGLE else "yes" if self.kept else "no",
        }


class Load:
    """Questions at a steady rate, on as many connections as can wait at one time until they are given up.

    Like the plugin's HTTP client: a question on a connection that was used before, and ends without a word of answer,
    is asked once more on a new one.
    """

    def __init__(self, port: int, token: str, rate: float) -> None:
        self._port, self._token, self._rate = port, token, rate
        self._numbers = itertools.count()
        self._began = self._ended = 0.0
        self._over = threading.Event()
        self._answers: list[Answer] = []
        callers = 1 + math.ceil(rate * PATIENCE_S)
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(callers)]

    @contextmanager
    def running(self) -> Iterator[list[Answer]]:
        """The answers so far; complete after the block."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        try:
            yield self._answers
        finally:
            self._ended = time.monotonic()
            self._over.set()
            for thread in self._threads:
                thread.join()

    def _ask(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        headers = {"Authorization": f"Bearer {self._token}", "Verdict-Budget-Ms": str(int(BUDGET_S * 1000))}
        for number in self._numbers:
            due = self._began + number / self._rate
            if not self._over.wait(max(0.0, due - time.monotonic())):
                good = _good(connection, json.dumps({"names": [f"n{number}.example-shop.com"]}), headers)
            elif due < self._ended:  # no connection was free for it
                good = False
            else:
                break
            seconds = time.monotonic() - due
            self._answers.append(Answer(due, seconds, good and seconds <= BUDGET_S))
        connection.close()


def _good(connection: HTTPConnection, body: str, headers: Mapping[str, str]) -> bool:
    """Whether the question has its verdict."""
    used = connection.sock is not None
    try:
        connection.request("POST", "/v1/verdicts", body, headers)
        reply = connection.getresponse()
        return reply.status == 200 and len(json.loads(reply.read())["verdicts"]) == 1
    except (ConnectionError, RemoteDisconnected):
        connection.close()
        return used and _good(connection, body, headers)
    except (OSError, HTTPException, ValueError, KeyError):
        connection.close()
        return False


def try_out(root: int, port: int, token: str, kind: str, blow: str, rate: float, seconds: float) -> Finding:
    """Strike one process of this kind among those below `root` while questions are asked for `seconds`."""
    with Load(port, token, rate).running() as answers:
        time.sleep(BEFORE_S)
        pid = victim(root, kind)
        struck = time.monotonic()
        os.kill(pid, SIGNALS[blow])
        frozen = min(FROZEN_S, seconds) if blow == "frozen" else 0.0
        time.sleep(frozen)
        if frozen:
            with suppress(ProcessLookupError):  # Serve may have ended it meanwhile
                os.kill(pid, signal.SIGCONT)
        time.sleep(max(0.0, seconds - BEFORE_S - frozen))
    return judged(kind, blow, answers, struck)


def judged(kind: str, blow: str, answers: Sequence[Answer], struck: float) -> Finding:
    """The finding that these answers make."""
    failed = [answer for answer in answers if not answer.good]
    last = max((answer.asked + answer.seconds - struck for answer in failed), default=0.0)
    slowest = max((answer.seconds for answer in answers if answer.good), default=0.0)
    return Finding(kind, blow, len(answers), len(failed), max(0.0, last), slowest)


def victim(root: int, kind: str) -> int:
    """A process of this kind: the first by number, so that the same replica is not struck twice in a row."""
    found = []
    for pid in descendants(root):
        command = command_of(pid)
        if command.startswith(kind) or Path(command.partition(" ")[0]).name == kind:
            found.append(pid)
    if not found:
        raise NoSuchProcess(f"no process {kind} below {root}")
    return min(found)


def settled(port: int, token: str, patience_s: float = 120.0) -> None:
    """Wait until five seconds have gone by without a failure."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        with Load(port, token, 10).running() as answers:
            time.sleep(5)
        if answers and all(answer.good for answer in answers):
            return
    raise TimeoutError(f"the cluster was not well again within {patience_s:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="kinds whose name holds this word")
    parser.add_argument("--blow", choices=list(SIGNALS), action="append", help="killed, frozen; default both")
    parser.add_argument("--rate", type=positive, default=40.0, help="questions a second")
    parser.add_argument("--seconds", type=positive, default=60.0, help="of load around each blow")
    parser.add_argument("--json", action="store_true", help="one line of JSON a finding instead of a table")
    options = parser.parse_args(arguments)
    kinds = [kind for kind in (*REPLICAS, *SINGLE) if options.only.lower() in kind.lower()]
    if not kinds:
        known = ", ".join(kind.rpartition(":")[2] for kind in (*REPLICAS, *SINGLE))
        parser.error(f"--only {options.only}: expected a word of {known}")
    from loadtest.clusters import running

    findings = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), deployments=TWO, num_cpus=8) as cluster:
        for kind in kinds:
            for blow in options.blow or SIGNALS:
                settled(cluster.port, cluster.resolver)
                found = try_out(
                    os.getpid(), cluster.port, cluster.resolver, kind, blow, options.rate, options.seconds
                )  # fmt: skip
                findings.append(found)
                print(json.dumps({**found._asdict(), "kept": found.kept}) if options.json else found, flush=True)
    if not options.json:
        print("\n" + ", ".join(f"{key} {value}" for key, value in describe_machine("ray", "tensorflow").items()))
        print(f"`{command_line()}`\n")
        print(table([found.row() for found in findings]))
    return 0 if all(found.kept for found in findings) else 1


if __name__ == "__main__":
    program(main)
