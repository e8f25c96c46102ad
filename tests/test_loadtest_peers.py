"""loadtest/peers: in which order the servers are measured."""

from loadtest.peers.__main__ import PASSES, ROUNDS, in_turn
from loadtest.stats import MIN_PAIRS


def test_drift_of_the_machine_falls_on_all_servers_alike() -> None:
    """All rounds of a server in one piece let whatever else the machine did meanwhile fall on one of them."""
    assert list(in_turn("abc", 3)) == list("abccbaabc")
    assert PASSES * ROUNDS > MIN_PAIRS
