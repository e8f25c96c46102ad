"""Batches that decode but break the contract are refused with the row and the expectation."""

from typing import Any

import msgspec
import pytest

from verdicts import observations
from verdicts.observations import BadObservation, Batch, Observation
from verdicts.records import records_of


def row(**fields: Any) -> Observation:
    base: dict[str, Any] = {
        "qname": "www.wikipedia.org", "qtype": "A", "client": "192.0.2.7",
        "label": "benign", "first": 1000, "last": 1999,
    }  # fmt: skip
    return Observation(**(base | fields))


def batch(*rows: Observation, **fields: Any) -> Batch:
    base: dict[str, Any] = {
        "resolver": "ns1", "boot": "0" * 31 + "a", "batch": 1, "seen": sum(r.count for r in rows), "rows": list(rows),
    }  # fmt: skip
    return Batch(**(base | fields))


def test_a_good_batch_passes() -> None:
    observations.check(batch(row(count=10), row(label="unknown", reason="timeout")))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (batch(boot="X" * 32), "hexadecimal"),
        (batch(batch=0), "1 or more"),
        (batch(row(count=2), seen=3), "counts \\+ discarded"),
        (batch(row(label="evil")), "rows\\[0\\].label"),
        (batch(row(), row(action="explode")), "rows\\[1\\].action"),
        (batch(row(reason="bored")), "reason"),
        (batch(row(first=2, last=1)), "first <= last"),
        (batch(row(score=1.2)), "from 0 to 1"),
        (batch(row(score=float("nan"))), "from 0 to 1"),
        (batch(row(addresses=["192.0.2.1"] * 17)), "16 addresses"),
        (batch(*[row()] * (observations.MAX_ROWS + 1)), "at most"),
    ],
)
def test_a_bad_batch_is_refused(bad: Batch, reason: str) -> None:
    with pytest.raises(BadObservation, match=reason):
        observations.check(bad)


@pytest.mark.parametrize(
    "bad",
    [
        batch(row(count=1 << 63)),  # SQLite's integers end here: the drain stood still for every resolver
        batch(row(), discarded=-1, seen=0),
        batch(batch=1 << 60),
        batch(row(latency_sum=-5)),
        batch(row(first=1 << 63, last=1 << 63)),
        batch(row(client="x" * 1025)),
        batch(row(targets=["x" * 1025])),
    ],
)
def test_a_number_or_text_beyond_its_bounds_is_not_decoded(bad: Batch) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"at `\$"):
        msgspec.json.decode(msgspec.json.encode(bad), type=Batch)


def test_discarded_counts_are_part_of_seen() -> None:
    observations.check(batch(row(count=2), seen=5, discarded=3))


def test_a_record_names_its_place_in_its_batch() -> None:
    first, second = records_of(batch(row(), row(qname="a.b.bbc.co.uk")))
    assert first.id == "ns1-" + "0" * 31 + "a-1-0"
    assert second.id.endswith("-1-1")
    assert (second.registered, second.subdomain, second.suffix) == ("bbc.co.uk", "a.b", "co.uk")


def test_a_type_that_nobody_assigned_is_one_with_all_such_also_of_an_older_plugin() -> None:
    told = records_of(batch(*(row(qtype=qtype) for qtype in ("TYPE4711", "TYPE4712", "TYPE65", "TYPE262", "TXT", ""))))
    assert [record.qtype for record in told] == ["other", "other", "HTTPS", "TYPE262", "TXT", ""]


def test_a_qname_that_is_no_name_is_kept_as_it_came() -> None:
    (record,) = records_of(batch(row(qname="a..b")))
    assert record.qname == record.registered == "a..b"
