"""What makes an incident of records, and when two are one."""

import msgspec
import pytest

from tests.stores import now, observation, records
from verdicts.incidents import Incident, Rules, continued, decision, in_words, incidents_of, same, title
from verdicts.records import Record

CLIENT = "192.0.2.1"
HOUR = 3_600_000


def generated(count: int, rcode: str = "NXDOMAIN", **fields: object) -> list[Record]:
    rows = [
        observation(f"q7x{i}.net", label="malicious", tier="alert", rcode=rcode, generated=0.99, **fields)
        for i in range(count)
    ]
    return records(rows)


def test_several_generated_domains_that_do_not_exist_are_one_incident() -> None:
    [incident] = incidents_of(CLIENT, generated(5), Rules())
    assert (incident.rule, incident.count, incident.nxdomain, len(incident.names)) == ("generated-names", 5, 5, 5)
    assert len(incident.records) == 5


def test_a_few_are_none() -> None:
    assert incidents_of(CLIENT, generated(4), Rules()) == []


def test_names_that_exist_are_none() -> None:
    assert incidents_of(CLIENT, generated(9, rcode="NOERROR"), Rules()) == []


def test_many_names_below_one_domain_are_one_domain() -> None:
    rows = [
        observation(f"q{i}.cdn.example-cdn.net", label="malicious", tier="alert", rcode="NXDOMAIN") for i in range(9)
    ]
    assert incidents_of(CLIENT, records(rows), Rules()) == []


def test_a_name_of_tier_block_that_resolves_is_an_incident() -> None:
    row = observation("q7x.net", label="malicious", tier="block", addresses=["198.51.100.7"], action="nxdomain")
    [incident] = incidents_of(CLIENT, records([row]), Rules())
    assert (incident.rule, incident.domain) == ("block-resolves", "q7x.net")
    assert "198.51.100.7" in incident.reason


@pytest.mark.parametrize(
    "change",
    [
        {"enforced": True},
        {"enforced": True, "action": "local-data"},
        {"addresses": []},
        {"rcode": "NXDOMAIN"},
        {"tier": "alert"},
    ],
)
def test_one_that_did_not_reach_the_client_is_none(change: dict[str, object]) -> None:
    row = observation("q7x.net", label="malicious", tier="block", addresses=["198.51.100.7"], action="nxdomain")
    assert incidents_of(CLIENT, records([msgspec.structs.replace(row, **change)]), Rules()) == []


def _at(start: int, end: int, state: str = "open", domain: str = "") -> Incident:
    return Incident("generated-names", CLIENT, domain, start, end, ["a.net"], 3, 2, "why", [], state)


@pytest.mark.parametrize(
    ("known", "is_same"),
    [
        (_at(0, 100), True),
        (_at(0, 100, "closed"), False),
        (_at(0, 100, domain="b.net"), False),
        (_at(0, 100 - 6 * 3_600_000), False),
        (_at(0, 900, "closed"), True),  # it brings nothing later than what was closed
        (_at(300 + 6 * HOUR, 300 + 7 * HOUR), False),
        (_at(299 + 6 * HOUR, 300 + 7 * HOUR), True),  # it came late
        (_at(299 + 6 * HOUR, 300 + 7 * HOUR, "closed"), True),
    ],
)
def test_the_same_client_and_domain_within_the_window_is_the_same(known: Incident, is_same: bool) -> None:
    assert (same(_at(200, 300), [("k", known)], Rules()) is not None) == is_same


def test_of_two_known_incidents_the_one_that_has_the_hour_goes_on() -> None:
    """What came late lies between them, and made the first one reach up to the second."""
    first = msgspec.structs.replace(_at(0, 4 * HOUR), hours={"0": [5, 5], "3": [5, 5]})
    second = msgspec.structs.replace(_at(7 * HOUR, 7 * HOUR), hours={"7": [5, 5]})
    again = msgspec.structs.replace(second, hours={"7": [6, 6]})
    assert same(again, [("first", first), ("second", second)], Rules()) == ("second", second)


def test_what_comes_late_moves_the_begin_and_keeps_the_reason() -> None:
    known = msgspec.structs.replace(_at(7 * HOUR, 7 * HOUR), hours={"7": [5, 5]})
    late = msgspec.structs.replace(_at(5 * HOUR, 5 * HOUR), hours={"5": [4, 4]}, reason="other")
    grown = continued(known, late)
    assert (grown.start, grown.end, grown.count, grown.reason) == (5 * HOUR, 7 * HOUR, 9, "why")


def test_an_hour_seen_again_is_not_counted_again() -> None:
    first = msgspec.structs.replace(_at(0, 500), hours={"0": [3, 2]})
    again = msgspec.structs.replace(_at(0, 600), hours={"0": [5, 2]})
    later = msgspec.structs.replace(_at(3_600_000, 3_600_500), hours={"1": [7, 6]})
    assert continued(first, again).count == 5
    assert continued(continued(first, later), again).count == 12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "closed"}, "closed"),
        ({"state": "acknowledged", "assignee": "ada"}, "acknowledged and assigned to ada"),
        ({"assignee": ""}, "assigned to nobody"),
        ({}, "a note"),
        ({"state": "closed", "count": 5}, "closed"),
        ({"count": 5, "updated": 9}, None),  # the log's
    ],
)
def test_what_people_decided_is_told_from_what_the_log_adds(change: dict[str, object], words: str | None) -> None:
    before = {"state": "open", "assignee": "eve", "count": 3}
    said = decision(before, {**before, **change})
    assert (None if said is None else in_words(said)) == words


def test_an_incident_that_opens_or_goes_is_nobodys_decision() -> None:
    assert decision(None, {"state": "open"}) is None and decision({"state": "open"}, None) is None
    assert in_words(decision({"state": "closed"}, {"state": "open"}) or {}) == "reopened"


def test_a_title_makes_no_link() -> None:
    row = observation("q7x.net", now(), label="malicious", tier="block", addresses=["198.51.100.7"])
    assert "q7x[.]net" in title(incidents_of(CLIENT, records([row]), Rules())[0])
