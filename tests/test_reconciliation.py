"""What became of each batch, and of those that the log does not know."""

import pytest

from verdicts.reconciliation import PENDING_MS, Gap, gaps_of, state_of
from verdicts.store import BatchState


def batch(number: int, time: int, boot: str = "b", resolver: str = "r") -> BatchState:
    return BatchState(resolver, boot, number, time, 1, 0, 1, 1, 0)


@pytest.mark.parametrize(
    ("stored", "dead", "age", "state"),
    [(5, 0, 0, "complete"), (4, 1, 0, "dead-lettered"), (4, 0, 1000, "pending"), (4, 0, 90_000, "missing")],
)
def test_a_batch_has_one_state(stored: int, dead: int, age: int, state: str) -> None:
    assert state_of(BatchState("r", "b", 1, 1_000_000, 5, 0, 5, stored, dead), 1_000_000 + age) == state


@pytest.mark.parametrize(("age", "state"), [(PENDING_MS - 1, "pending"), (PENDING_MS, "missing")])
def test_a_gap_is_pending_while_a_spool_may_hold_it(age: int, state: str) -> None:
    assert state_of(Gap("r", "b", 2, 2, 1_000_000), 1_000_000 + age) == state


def test_batches_between_two_that_are_there_are_a_gap() -> None:
    assert gaps_of([batch(4, 40), batch(9, 90), batch(5, 50), batch(11, 110)], 0) == [
        Gap("r", "b", 6, 8, 90), Gap("r", "b", 10, 10, 110),
    ]  # fmt: skip


def test_what_lies_before_the_first_and_behind_the_last_is_no_gap() -> None:
    assert gaps_of([batch(700, 40), batch(701, 50)], 0) == []


def test_each_boot_counts_by_itself_whoever_reports() -> None:
    """An import gives the batches of one file to each of the servers that its events are of."""
    other = [batch(1, 10, "c", "ns1"), batch(2, 20, "c", "ns2"), batch(3, 30, "c", "ns1")]
    assert gaps_of([batch(1, 10), batch(3, 30), *other], 0) == [Gap("r", "b", 2, 2, 30)]


def test_the_edge_of_what_was_read_is_not_judged() -> None:
    """Batch 6 lies before what was read, although 5 does not: they came of one second."""
    found = [batch(5, 100), batch(7, 101), batch(9, 500)]
    assert gaps_of(found, 200) == [Gap("r", "b", 8, 8, 500)]
