"""When the rig of chaos takes the log for settled; the rig itself runs in tests/e2e."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest import rig
from loadtest.rig import STILL_S, Books, Rig

EMPTY, HALF, FULL = Books(0, 0, 0, 0, 0), Books(5, 5, 0, 1, 0), Books(10, 10, 0, 0, 0)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(rig, "time", made)
    return made


def system(books: list[Books], monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A rig whose log holds these one after another, then the last for good."""
    nothing: Any = None
    found: Iterator[Books] = iter(books)
    last = [books[-1]]
    monkeypatch.setattr(Rig, "books", lambda self: next(found, last[0]))
    monkeypatch.setattr(rig, "ask", lambda port, qname: nothing)
    return Rig(Path("/h"), Path("/f"), 1, 2, nothing, Path("/b"), 3, nothing)


def test_a_log_is_settled_when_it_has_not_changed_for_a_while(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system([EMPTY, HALF, FULL], monkeypatch).settled(60) == FULL
    assert clock.now - 1000 >= 1 + STILL_S


def test_what_is_settled_is_not_waited_for_again(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made = system([FULL], monkeypatch)
    made.settled(60)
    before = clock.now
    made.settled(60)
    assert clock.now == before


def test_a_query_since_then_is_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    made = system([FULL], monkeypatch)
    made.settled(60)
    before = clock.now
    made.ask("wikipedia.org")
    made.settled(60)
    assert clock.now - before >= STILL_S


def test_missing_rows_and_queries_not_yet_seen_are_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system([HALF] * 40 + [FULL], monkeypatch).settled(60, seen=10) == FULL


def test_patience_ends(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system([FULL], monkeypatch).settled(20, seen=11) == FULL
    assert 20 < clock.now - 1000 < 22
