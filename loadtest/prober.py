"""Asks again and again for a name never asked before, below a listed zone: blocked, or not yet?

Such a name is in no cache, so that each question shows whether a verdict came in time: a policy answer when it did,
the zone's own answer when the resolver failed open. From the times follow when a fault was felt, noticed (failing
open no longer costs the deadline) and healed.
"""

import itertools
import math
import random
import socket
import threading
import time
from typing import NamedTuple

from loadtest.judging import FAILED_RCODES, blocked
from verdicts import dnswire

EVERY_S = 0.05
NOTICED_S = 0.05  # an answer as fast as this did not wait for a verdict that does not come
PATIENCE_S = 2.0
STEADY = 20  # judged one after another: verdicts are back, and not for a moment between two outages


class Probe(NamedTuple):
    """One question: when (monotonic seconds), how long the answer took, whether it came and was a policy's."""

    time: float
    latency: float
    answered: bool
    judged: bool


def ask(port: int, qname: str, timeout: float = PATIENCE_S) -> dnswire.Reply | None:
    """One question to 127.0.0.1; None when no answer comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(("127.0.0.1", port))
            number = random.randrange(1 << 16)
            sock.send(dnswire.query(number, qname, "A"))
            return dnswire.parse_reply(sock.recv(4096))
        except (OSError, dnswire.BadMessage):
            return None


class Prober:
    """A probe each EVERY_S between `__enter__` and `__exit__`, whether or not those before were answered: there are as
    many threads as can wait at one time."""

    def __init__(self, port: int, zone: str, patience: float = PATIENCE_S) -> None:
        self._found: list[Probe] = []
        self._port, self._zone, self._patience = port, zone, patience
        self._label = f"{random.randrange(16**8):08x}"
        self._numbers = itertools.count()
        self._began = 0.0
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(1 + math.ceil(patience / EVERY_S))
        ]

    def __enter__(self) -> "Prober":
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def probes(self) -> list[Probe]:
        """Those that are over, in the order in which they were asked."""
        return sorted(self._found)

    def _run(self) -> None:
        for number in self._numbers:
            if self._end.wait(max(0.0, self._began + number * EVERY_S - time.monotonic())):
                return
            start = time.monotonic()
            reply = ask(self._port, f"p{number}-{self._label}.{self._zone}", self._patience)
            taken = time.monotonic() - start
            answered = reply is not None and reply.rcode not in FAILED_RCODES
            self._found.append(Probe(start, taken, answered, reply is not None and blocked(reply)))


class Times(NamedTuple):
    """Seconds: from the fault to its being noticed, from its end to the first fresh verdict that is followed by others,
    and the longest time in which no fresh name had a verdict. None: it was never felt, or cost the deadline to its end;
    or it never healed."""

    notice: float | None
    recover: float | None
    felt: float = 0.0


def times(probes: list[Probe], begun: float, ended: float) -> Times:
    """What the probes say of a fault that lasted from `begun` to `ended` (monotonic seconds). What a kill does comes
    after it."""
    after = [p for p in probes if p.time >= ended]
    runs = (after[i : i + STEADY] for i in range(len(after) - STEADY + 1))
    healed = next((run[0] for run in runs if all(probe.judged for probe in run)), None)
    until = math.inf if healed is None else healed.time
    unjudged = [p for p in probes if begun <= p.time < until and not p.judged]
    quick = next((p for p in unjudged if p.latency <= NOTICED_S), None)
    notice = None if quick is None else max(0.0, quick.time + quick.latency - begun)
    seen = [p for p in probes if p.time < until]
    groups = [list(group) for judged, group in itertools.groupby(seen, lambda p: p.judged) if not judged]
    felt = max((g[-1].time + g[-1].latency - g[0].time for g in groups if g[-1].time >= begun), default=0.0)
    recover = None if healed is None else max(0.0, healed.time + healed.latency - ended)
    return Times(notice, recover, felt)
