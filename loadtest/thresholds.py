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
    return found


def verdict(limits: Limits, figures: Figures) -> str:
    """The last line of a run: HELD or BROKEN, and why."""
    found = broken(limits, figures, final=True)
    head = f"{figures.requests} requests, {figures.failures} failed, p99 {figures.p99_ms:.0f} ms, {figures.rps:.1f}/s"
    return f"BROKEN: {'; '.join(found)} [{head}]" if found else f"HELD: {head}"
