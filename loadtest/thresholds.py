"""Limits that end a load: when one is broken for good, the run stops and says which, with the figures."""

from typing import NamedTuple

MIN_REQUESTS = 100  # fewer say nothing about a share or a quantile


class Limits(NamedTuple):
    """What still counts as held. `p99_ms` over all requests but the first seconds'; `min_rps` only at the end."""

    failed_share: float = 0.01
    p99_ms: float = 1000.0
    min_rps: float = 0.0


class Figures(NamedTuple):
    """What a run has measured so far."""

    requests: int
    failures: int
    p99_ms: float
    rps: float
    errors: tuple[str, ...] = ()  # the most frequent ones, in words
    lost: int = 0  # workers that went away before the end
    busy: bool = False  # locust, or a worker of it, used more than nine tenths of a core


class Crew:
    """The workers and users of a run, as they come and go. Until `patience` (monotonic seconds) no user is no sign."""

    def __init__(self, patience: float = 0.0) -> None:
        self.lost = 0  # workers that went away
        self._most = 0
        self._patience = patience

    def look(self, workers: int, users: int, running: bool, now: float) -> bool:
        """Take a look; False when the run goes on and every user has left it."""
        self._most = max(self._most, workers)
        self.lost = max(self.lost, self._most - workers)
        if users:
            self._patience = 0.0
        return users > 0 or not running or now <= self._patience


def broken(limits: Limits, figures: Figures, final: bool = False) -> list[str]:
    """The limits that the figures break, one sentence each; empty when all hold.

    While the run lasts only what cannot heal by itself is judged, and only after MIN_REQUESTS.
    """
    if figures.requests == 0:
        return ["no request was made"] if final else []
    if figures.requests < MIN_REQUESTS and not final:
        return []
    found = []
    share = figures.failures / figures.requests
    if not share <= limits.failed_share:  # so that a limit that is no number is broken, and not without end
        why = f" ({'; '.join(figures.errors)})" if figures.errors else ""
        found.append(f"{share:.2%} of requests failed, at most {limits.failed_share:.2%} allowed{why}")
    if not figures.p99_ms <= limits.p99_ms:
        found.append(f"p99 is {figures.p99_ms:.0f} ms, at most {limits.p99_ms:g} ms allowed")
    if final and not figures.rps >= limits.min_rps:
        found.append(f"{figures.rps:.1f} requests/s, at least {limits.min_rps:.1f} expected")
    if final and figures.lost:
        found.append(f"{figures.lost} of the workers went away, and with them their users")
    return found


def verdict(limits: Limits, figures: Figures) -> str:
    """The last line of a run: HELD or BROKEN, and why."""
    found = broken(limits, figures, final=True)
    head = f"{figures.requests} requests, {figures.failures} failed, p99 {figures.p99_ms:.0f} ms, {figures.rps:.1f}/s"
    if figures.busy:
        head += "; locust itself was busy (over 90 % of a core): it could ask no more, and part of each wait is its own"
    return f"BROKEN: {'; '.join(found)} [{head}]" if found else f"HELD: {head}"
