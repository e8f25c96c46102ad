"""Incidents opened from the log of a real store, either of them, and told to sinks."""

from typing import Any, cast

import msgspec
import pytest

from tests.stores import SQLITE_ONLY, observation, records, settled
from verdicts import watch as watching
from verdicts.history import MODE as IMPORTED
from verdicts.incidents import KIND, Incident
from verdicts.sinks import Sink, SinkError, sink_of
from verdicts.store import Document, Store, Unavailable
from verdicts.watch import Watch


class Clock:
    """A clock that stands in the middle of this hour until it is moved."""

    def __init__(self) -> None:
        import time

        self.now = time.time() // 3600 * 3600 - 1800

    def __call__(self) -> float:
        return self.now


class Ear:
    """A sink that remembers, and refuses on demand."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.refuses = False
        self.tries = 0
        self.sink = Sink("ear", self._send)

    def _send(self, key: str, incident: Incident) -> None:
        self.tries += 1
        if self.refuses:
            raise SinkError("not now")
        self.heard.append(key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def infected(store: Store, clock: Clock, number: int = 1, client: str = "192.0.2.1", count: int = 6) -> None:
    at = int(clock.now * 1000)
    rows = [
        observation(f"q7x{number}{i}.net", at, client=client, label="malicious", tier="alert", rcode="NXDOMAIN")
        for i in range(count)
    ]
    store.append(records(rows, number))
    settled(store)


def incidents(store: Store) -> list[Incident]:
    return [msgspec.convert(document.body, Incident) for document in store.scan(KIND)]


def test_an_incident_is_opened_once_with_its_evidence_and_told_once(store: Store, clock: Clock) -> None:
    ear = Ear()
    watch = Watch([ear.sink], clock=clock)
    infected(store, clock)
    for _ in range(3):
        watch(store)
    [incident] = incidents(store)
    assert len(incident.records) == 6 and incident.notified["ear"]["state"] == "sent"
    assert ear.heard == [incident.key]


def test_an_analyst_who_writes_while_an_alert_is_sent_is_kept_and_it_is_not_sent_again(
    store: Store, clock: Clock
) -> None:
    heard: list[str] = []

    def send(key: str, incident: Incident) -> None:
        heard.append(key)
        [document] = store.scan(KIND)
        store.commit([Document(KIND, key, {**(document.body or {}), "state": "acknowledged"})], "ann")

    watch = Watch([Sink("ear", send)], clock=clock)
    infected(store, clock)
    for _ in range(3):
        settled(store)
        watch(store)
    [incident] = incidents(store)
    assert len(heard) == 1 and incident.state == "acknowledged" and incident.notified["ear"]["state"] == "sent"


def test_another_replica_opens_and_tells_nothing_again(store: Store, clock: Clock) -> None:
    first, second = Ear(), Ear()
    infected(store, clock)
    Watch([first.sink], clock=clock)(store)
    Watch([second.sink], clock=clock)(store)
    assert len(incidents(store)) == 1 and len(first.heard) == 1 and second.heard == []


def test_the_same_client_an_hour_later_is_the_same_incident(store: Store, clock: Clock) -> None:
    ear = Ear()
    watch = Watch([ear.sink], clock=clock)
    infected(store, clock)
    watch(store)
    opened = int(clock.now * 1000)
    clock.now += 3600
    infected(store, clock, 2)
    watch(store)
    [incident] = incidents(store)
    assert incident.count == 12 and len(ear.heard) == 1 and incident.opened == opened


def test_a_sink_that_refuses_is_tried_again_later(store: Store, clock: Clock) -> None:
    ear = Ear()
    ear.refuses = True
    watch = Watch([ear.sink], clock=clock)
    infected(store, clock)
    watch(store)
    assert incidents(store)[0].notified["ear"]["error"] == "not now"
    ear.refuses = False
    watch(store)
    assert ear.heard == []  # its time has not come
    clock.now += 31
    watch(store)
    assert len(ear.heard) == 1


def test_alerts_over_the_rate_wait(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ALERTS_AN_HOUR", 2)
    ear = Ear()
    watch = Watch([ear.sink], clock=clock)
    for number in range(1, 6):
        infected(store, clock, number, f"192.0.2.{number}")
    watch(store)
    assert len(ear.heard) == 2
    clock.now += 3601
    watch(store)
    assert len(ear.heard) == 4


def test_the_rate_is_that_of_all_replicas_and_outlives_them(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ALERTS_AN_HOUR", 2)
    ear, other = Ear(), Ear()
    for number in range(1, 4):
        infected(store, clock, number, f"192.0.2.{number}")
    Watch([ear.sink], clock=clock)(store)
    infected(store, clock, 4, "192.0.2.4")
    Watch([other.sink], clock=clock)(store)
    assert len(ear.heard) == 2 and other.heard == []


class Reads:
    """A store that counts the incidents that are read of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def scan(self, kind: str, prefix: str = "") -> list[Document]:
        found = list(self._store.scan(kind, prefix))
        self.read += len(found)
        return found

    def changes(self, kind: str, since: int, limit: int = 1000) -> list[Document] | None:
        found = self._store.changes(kind, since, limit)
        self.read += len(found or ())
        return found


def test_a_visit_reads_no_incident_of_which_nothing_is_to_be_told(store: Store, clock: Clock) -> None:
    ear = Ear()
    old = {"rule": "generated-names", "client": "192.0.2.9", "domain": "", "start": 1, "end": 2, "names": []}
    sent = {"state": "sent", "tries": 1, "next": 0, "time": 1}
    body = {**old, "count": 1, "nxdomain": 1, "reason": "", "records": [], "notified": {"ear": sent}}
    store.commit([Document(KIND, f"192.0.2.9-{number}", body) for number in range(1100)], "verdict")
    settled(store)
    reads = Reads(store)
    watch = Watch([ear.sink], clock=clock)
    watch(cast(Store, reads))
    assert reads.read == 1100
    for number in range(1, 4):
        infected(store, clock, number, f"192.0.2.{number}")
        reads.read = 0
        watch(cast(Store, reads))
        assert len(ear.heard) == number and reads.read <= 2  # the one that was opened, and that it was told
    watch(cast(Store, reads))
    reads.read = 0
    watch(cast(Store, reads))
    assert reads.read == 0


def test_an_incident_whose_time_is_over_is_neither_told_nor_written_again(store: Store, clock: Clock) -> None:
    ear = Ear()
    ear.refuses = True
    watch = Watch([ear.sink], clock=clock)
    infected(store, clock)
    watch(store)
    store.forget(KIND, 1 << 50)
    settled(store)
    ear.refuses, clock.now = False, clock.now + 2 * 3600
    watch(store)
    assert ear.heard == [] and incidents(store) == []


def test_a_sink_that_fails_is_tried_once_a_visit_however_many_incidents_wait(store: Store, clock: Clock) -> None:
    """One that hangs would hold up the expiry of lists by its deadline for each of them."""
    deaf, ear = Ear(), Ear()
    deaf.refuses = True
    watch = Watch([Sink("deaf", deaf.sink.send), ear.sink], clock=clock)
    for number in range(1, 5):
        infected(store, clock, number, f"192.0.2.{number}")
    watch(store)
    assert (deaf.tries, len(ear.heard)) == (1, 4)
    watch(store)
    assert deaf.tries == 2  # of another incident: the first waits for its time


@pytest.mark.parametrize("typed", ["https://hooks..example/x", "syslog://a..b", "smtp://a..b/?from=v@a.org&to=w@a.org"])
def test_a_sink_whose_host_is_no_name_keeps_no_other_from_its_alerts(store: Store, clock: Clock, typed: str) -> None:
    ear = Ear()
    watch = Watch([sink_of(typed)._replace(name="typo"), ear.sink], clock=clock)
    infected(store, clock)
    watch(store)
    [incident] = incidents(store)
    assert ear.heard == [incident.key]
    assert incident.notified["typo"]["state"] == "pending" and "idna" in incident.notified["typo"]["error"]


def test_one_client_and_one_domain_are_one_incident_within_the_window(store: Store, clock: Clock) -> None:
    """Of names that resolve: the same domain again is the same incident, another domain or a day later is not."""
    ear = Ear()
    watch = Watch([ear.sink], clock=clock)

    def reached(number: int, domain: str) -> None:
        row = observation(
            f"a{number}.{domain}", int(clock.now * 1000), label="malicious", tier="block",
            addresses=["198.51.100.7"], action="nxdomain",
        )  # fmt: skip
        store.append(records([row], number))
        settled(store)
        watch(store)

    reached(1, "q7x.net")
    reached(2, "q7x.net")
    assert len(ear.heard) == 1
    reached(3, "k2y.net")
    assert len(ear.heard) == 2
    clock.now += 7 * 3600
    reached(4, "q7x.net")
    assert len(ear.heard) == 3 and len(incidents(store)) == 3


def test_another_replica_goes_on_where_one_died(store: Store, clock: Clock) -> None:
    deaf, ear = Ear(), Ear()
    deaf.refuses = True
    infected(store, clock)
    Watch([deaf.sink], clock=clock)(store)
    heir = Watch([ear.sink], clock=clock)
    clock.now += watching.CLAIM / 1000 + 3700
    heir(store)
    assert len(ear.heard) == 1


def test_what_an_analyst_wrote_meanwhile_stands(store: Store, clock: Clock) -> None:
    watch = Watch(clock=clock)
    infected(store, clock)
    watch(store)
    [document] = store.scan(KIND)
    store.commit([Document(KIND, document.key, {**(document.body or {}), "state": "acknowledged"})], "ann")
    clock.now += 600
    infected(store, clock, 2)
    watch(store)
    [incident] = incidents(store)
    assert incident.state == "acknowledged" and incident.count == 12


def test_a_store_that_goes_away_in_between_costs_no_incident(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks for no more: nothing but the visit that failed would have told of it."""
    watch = Watch(clock=clock)
    infected(store, clock)
    with monkeypatch.context() as broken:
        broken.setattr(store, "search", lambda *_: (_ for _ in ()).throw(Unavailable("gone")))
        with pytest.raises(Unavailable):
            watch(store)
    watch(store)
    assert len(incidents(store)) == 1


def test_what_a_client_asked_before_it_fell_silent_stands_in_its_incident(store: Store, clock: Clock) -> None:
    watch = Watch(clock=clock)
    infected(store, clock)
    watch(store)
    clock.now += 60
    infected(store, clock, 2, count=20)
    watch(store)
    for _ in range(6):
        clock.now += 61
        watch(store)
    [incident] = incidents(store)
    assert incident.count == 26 and len(incident.names) == 26


def test_a_client_that_goes_on_with_one_name_is_one_incident(store: Store, clock: Clock) -> None:
    """Its count and its end grew with new names alone, so that each six hours it was told of as a new one."""
    watch = Watch(clock=clock)
    clock.now -= 8 * 3600
    for number in range(1, 9):
        row = observation(
            "c2.q7x.net", int(clock.now * 1000), label="malicious", tier="block", addresses=["198.51.100.7"], count=2
        )
        store.append(records([row], number))
        settled(store)
        watch(store)
        clock.now += 3600
    [incident] = incidents(store)
    assert incident.count == 16 and incident.end > (clock.now - 7200) * 1000


def test_what_was_imported_opens_no_incident(store: Store, clock: Clock) -> None:
    at = int(clock.now * 1000)
    rows = [observation(f"q7x{i}.net", at, label="malicious", tier="alert", rcode="NXDOMAIN") for i in range(6)]
    store.append([msgspec.structs.replace(record, mode=IMPORTED) for record in records(rows)])
    settled(store)
    Watch(clock=clock)(store)
    assert incidents(store) == []


def test_records_without_a_client_open_no_incident_of_everybody(store: Store, clock: Clock) -> None:
    for number, client in enumerate(["", *(f"192.0.2.{i}" for i in range(6))]):
        infected(store, clock, number, client, count=1)
    infected(store, clock, 7, "", count=6)
    Watch(clock=clock)(store)
    assert incidents(store) == []


def test_all_records_of_a_busy_hour_are_counted(store: Store, clock: Clock) -> None:
    at = int(clock.now * 1000)
    rows = [
        observation(f"q7x{i % 50}.net", at + i, label="malicious", tier="alert", rcode="NXDOMAIN") for i in range(3000)
    ]
    store.append(records(rows))
    settled(store)
    Watch(clock=clock)(store)
    [incident] = incidents(store)
    assert (incident.count, incident.nxdomain, incident.start) == (3000, 3000, at)
    assert "more" not in incident.reason


def test_a_name_that_resolved_before_more_records_than_are_read_is_an_incident(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ROWS", 20)
    monkeypatch.setattr(watching, "MOST", 40)
    at = int(clock.now * 1000)
    rows = [observation(f"q7x{i}.net", at + i, label="malicious", tier="alert", rcode="NXDOMAIN") for i in range(60)]
    reached = observation("k2y.net", at, label="malicious", tier="block", addresses=["198.51.100.7"])
    store.append(records([reached, *rows]))
    settled(store)
    Watch(clock=clock)(store)
    found = {incident.rule: incident for incident in incidents(store)}
    assert found["block-resolves"].domain == "k2y.net"
    assert found["generated-names"].nxdomain == 40 and "of more records than" in found["generated-names"].reason


def test_a_client_of_many_records_is_read_once_a_minute(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ROWS", 5)
    watch = Watch(clock=clock)
    infected(store, clock)
    watch(store)
    infected(store, clock, 2)
    searched = []
    search = store.search
    monkeypatch.setattr(store, "search", lambda *asked: searched.append(asked) or search(*asked))
    clock.now += 10
    watch(store)
    assert searched == []
    clock.now += 60
    watch(store)
    assert searched


def test_a_client_of_few_queries_has_its_incident_however_many_have_more(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CLIENTS", 3)
    at = int(clock.now * 1000)
    rows = [
        observation("cdn.net", at, client=f"192.0.2.{i}", label="malicious", tier="alert", count=900) for i in range(9)
    ]
    few = {"client": "198.51.100.1", "label": "malicious", "tier": "alert"}
    rows += [observation(f"q7x{i}.net", at, rcode="NXDOMAIN" if i < 4 else "NOERROR", **few) for i in range(5)]
    reached = {"client": "198.51.100.2", "label": "malicious", "tier": "block", "addresses": ["203.0.113.7"]}
    store.append(records([*rows, observation("k2y.net", at, **reached)]))
    settled(store)
    watch = Watch(clock=clock)
    watch(store)
    found = {(incident.client, incident.rule) for incident in incidents(store)}
    assert found == {("198.51.100.1", "generated-names"), ("198.51.100.2", "block-resolves")}


@SQLITE_ONLY
@pytest.mark.parametrize("sinks", [(), (Ear().sink,)])
def test_a_watch_remembers_no_incident_for_good(store: Store, clock: Clock, sinks: tuple[Sink, ...]) -> None:
    watch = Watch(sinks, clock=clock)
    infected(store, clock)
    watch(store)
    assert len(incidents(store)) == 1
    clock.now += 2 * 3600
    watch(store)
    assert watch._mine == set() and watch._alerts.keys == set()
