"""Incidents of records that reach the log hours after what they tell of."""

from typing import Any

import msgspec
import pytest

from tests.stores import observation, records, settled
from tests.test_watch import Clock, Ear, clock, incidents, infected
from verdicts import late
from verdicts.history import MODE as IMPORTED
from verdicts.incidents import KIND
from verdicts.late import LateHours
from verdicts.store import Document, Store, Unavailable
from verdicts.watch import Watch

__all__ = ["clock"]  # the fixture
HOUR_S = 3600


def visits(watch: Watch, store: Store, clock: Clock, number: int = 10) -> None:
    """As the keeper makes them, each a minute after the last."""
    for _ in range(number):
        settled(store)
        watch(store)
        clock.now += 61


def infected_ago(store: Store, clock: Clock, hours: int, number: int = 1, count: int = 6) -> None:
    present, clock.now = clock.now, clock.now - hours * HOUR_S
    infected(store, clock, number, count=count)
    clock.now = present


def test_what_reaches_the_log_hours_late_opens_an_incident_that_is_told_once(store: Store, clock: Clock) -> None:
    ear = Ear()
    watch = Watch([ear.sink], clock=clock)
    visits(watch, store, clock, 2)
    infected_ago(store, clock, 3)
    visits(watch, store, clock, 4)
    [incident] = incidents(store)
    assert incident.count == 6 and len(ear.heard) == 1


def test_what_came_while_the_log_was_away_opens_an_incident_when_it_is_back(store: Store, clock: Clock) -> None:
    infected_ago(store, clock, 60)
    visits(Watch(clock=clock), store, clock, 1)
    assert len(incidents(store)) == 1


def test_late_records_of_an_hour_add_to_its_incident_once(store: Store, clock: Clock) -> None:
    watch = Watch(clock=clock)
    infected_ago(store, clock, 3)
    visits(watch, store, clock, 7)
    infected_ago(store, clock, 3, 2, count=4)
    infected_ago(store, clock, 5, 3)
    visits(watch, store, clock, 8)  # an incident is written again after five minutes
    [incident] = incidents(store)
    assert (incident.count, sorted(incident.hours.values())) == (16, [[6, 6], [10, 10]])
    visits(Watch(clock=clock), store, clock, 8)
    assert incidents(store) == [incident]


def test_hours_of_one_client_that_come_late_together_are_written_down_at_once(store: Store, clock: Clock) -> None:
    for hours in range(2, 8):
        infected_ago(store, clock, hours, hours)
    watch = Watch(clock=clock)
    for _ in range(6):
        clock.now += 10
        watch(store)
    assert [incident.count for incident in incidents(store)] == [36]


def test_a_restart_opens_nothing_again_and_writes_nothing(store: Store, clock: Clock) -> None:
    watch = Watch(clock=clock)
    infected_ago(store, clock, 20, 1)
    infected_ago(store, clock, 10, 2)
    infected_ago(store, clock, 9, 3)
    visits(watch, store, clock, 5)
    [first, second] = [document for document in store.scan(KIND)]
    store.commit([Document(KIND, first.key, {**(first.body or {}), "state": "closed"})], "ann")
    settled(store)
    before = list(store.scan(KIND))
    ear = Ear()
    visits(Watch([ear.sink], clock=clock), store, clock, 5)
    assert list(store.scan(KIND)) == before and ear.heard == []
    assert (second.body or {})["count"] == 12


def test_an_incident_closed_in_its_first_hour_is_not_looked_at_for_days(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(clock=clock)
    infected(store, clock)
    visits(watch, store, clock, 1)
    [document] = store.scan(KIND)
    store.commit([Document(KIND, document.key, {**(document.body or {}), "state": "closed"})], "ann")
    infected(store, clock, 2)
    visits(watch, store, clock, 2)
    searched: list[Any] = []
    monkeypatch.setattr(store, "search", lambda *asked: searched.append(asked))
    visits(watch, store, clock, 3)
    assert searched == [] and [incident.count for incident in incidents(store)] == [6]


def test_an_hour_that_the_retention_reached_opens_nothing_again(store: Store, clock: Clock) -> None:
    watch = Watch(clock=clock)
    infected_ago(store, clock, 20)
    visits(watch, store, clock, 2)
    reached = int((clock.now - 19.5 * HOUR_S) * 1000)
    store.forget(KIND, 1 << 50)
    store.retain(reached)
    visits(Watch(clock=clock), store, clock, 3)
    assert incidents(store) == []


def test_an_hour_that_cannot_be_looked_at_keeps_no_other_waiting(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    infected_ago(store, clock, 30)
    infected_ago(store, clock, 20, 2)
    watch, search = Watch(clock=clock), store.search
    lost = int((clock.now - 29 * HOUR_S) * 1000)

    def partly(where: Any, *more: Any) -> Any:
        if where.start < lost:
            raise Unavailable("no answer from a shard")
        return search(where, *more)

    monkeypatch.setattr(store, "search", partly)
    with pytest.raises(Unavailable):
        watch(store)
    watch(store)
    assert len(incidents(store)) == 1
    monkeypatch.undo()
    visits(watch, store, clock, 3)
    assert len(incidents(store)) == 2


def test_at_rest_no_hour_is_looked_at_and_they_are_counted_once_a_minute(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(clock.now * 1000)
    infected_ago(store, clock, 5)
    hours = LateHours()
    hour = hours.next(store, now, now)
    assert hour is not None
    hours.looked(hour, now + late.BACK)
    counted, histogram = [], store.histogram
    monkeypatch.setattr(store, "histogram", lambda *asked: counted.append(asked) or histogram(*asked))
    assert [hours.next(store, now + seconds * 1000, now) for seconds in range(10, 130, 10)] == [None] * 12
    assert len(counted) == 2


def test_an_import_makes_no_hour_be_looked_at(store: Store, clock: Clock) -> None:
    now = int(clock.now * 1000)
    rows = [observation("q7x.net", now - 5 * late.HOUR, label="malicious", tier="alert")]
    store.append([msgspec.structs.replace(record, mode=IMPORTED) for record in records(rows)])
    settled(store)
    assert LateHours().next(store, now, now) is None
