"""What a good DNS answer is, decided per question: an expected block is a success, an unexpected one a failure."""

from collections.abc import Container
from typing import NamedTuple

from loadtest.traffic import Query
from verdicts.dnswire import Reply

# Extended DNS Errors that say "a policy answered": forged, blocked, censored, filtered (RFC 8914).
POLICY_ERRORS = frozenset({4, 15, 16, 17})
FAILED_RCODES = frozenset({"FORMERR", "SERVFAIL", "NOTIMP", "REFUSED"})
MODEL_MAY_BLOCK = frozenset({"dga", "malicious", "one-time", "flood", "replay"})


class Expectation(NamedTuple):
    """What the resolver under load is set to do. `listed`: names on its blocklist; `enforcing`: it blocks them."""

    listed: Container[str] = frozenset()
    enforcing: bool = False


def blocked(reply: Reply) -> bool:
    """Whether policy, not the zone's data, answered."""
    return not POLICY_ERRORS.isdisjoint(reply.ede)


def problem(query: Query, reply: Reply | None, expected: Expectation) -> str:
    """Why the outcome of a query is a failure; empty when it is none. `reply` None: nothing came in time."""
    if reply is None:
        return "no answer"
    if query.qname in expected.listed and expected.enforcing:
        return "" if blocked(reply) else f"listed name answered with {reply.rcode}"
    if blocked(reply):
        if not expected.enforcing:
            return "blocked in monitor mode"
        return "" if query.kind in MODEL_MAY_BLOCK else f"{query.kind} name blocked"
    return reply.rcode if reply.rcode in FAILED_RCODES else ""
