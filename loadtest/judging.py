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
    """What the resolver under load is set to do. `listed`: names on its blocklist, which stand for all below them too;
    `enforcing`: it blocks them."""

    listed: Container[str] = frozenset()
    enforcing: bool = False

    def lists(self, qname: str) -> bool:
        """Whether the blocklist holds a name or one above it."""
        name = qname
        while name not in self.listed:
            name = name.partition(".")[2]
            if not name:
                return False
        return True


def blocked(reply: Reply) -> bool:
    """Whether policy, not the zone's data, answered."""
    return not POLICY_ERRORS.isdisjoint(reply.ede)


def problem(query: Query, reply: Reply | None, expected: Expectation) -> str:
    """Why the outcome of a query is a failure; empty when it is none. `reply` None: nothing came in time."""
    if reply is None:
        return "no answer"
    if expected.enforcing and expected.lists(query.qname):
        return "" if blocked(reply) else f"listed name answered with {reply.rcode}"
    if blocked(reply):
        if not expected.enforcing:
            return "blocked in monitor mode"
        return "" if query.kind in MODEL_MAY_BLOCK else f"{query.kind} name blocked"
    return reply.rcode if reply.rcode in FAILED_RCODES else ""
