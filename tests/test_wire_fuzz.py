"""The parsers that meet the network, given anything: each takes it or says what was expected, and nothing else."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve_app.frames import frame_of, sort_frame
from serve_app.wire import WireError, budget_of, names_of, question_of
from verdicts.names import BadName, normalise
from verdicts.observations import BadObservation, Batch, check

LIMIT = 16
MANY = settings(max_examples=300, deadline=None, derandomize=True)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
frames = st.fixed_dictionaries({"names": st.lists(st.text(max_size=300), max_size=LIMIT + 2) | json_values})
rows = st.fixed_dictionaries(
    {"qname": st.text(max_size=20), "qtype": st.text(max_size=6), "client": st.text(max_size=12)},
    optional={
        field: json_values for field in ("label", "count", "first", "last", "score", "addresses", "targets", "reason")
    },
)
batches = st.fixed_dictionaries(
    {"resolver": st.text(max_size=12), "boot": st.text(max_size=32), "batch": st.integers()},
    optional={"seen": st.integers(), "discarded": st.integers(), "rows": st.lists(rows, max_size=3) | json_values},
)


def mangled(source: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Its values as JSON, whole, cut short, or with one octet set to another."""
    whole = source.map(lambda value: json.dumps(value).encode())
    cut = st.tuples(whole, st.integers(0, 400)).map(lambda pair: pair[0][: pair[1]])
    flipped = st.tuples(whole, st.integers(0, 400), st.integers(0, 255)).map(
        lambda triple: triple[0][: triple[1]] + bytes([triple[2]]) + triple[0][triple[1] + 1 :]
    )
    return whole | cut | flipped | st.binary(max_size=200)


@MANY
@given(mangled(frames))
@example(b'{"names":["\\ud800.org"]}')
@example(b"[" * 10_000)
@example(b'{"more":' + b"[" * 10_000 + b"]" * 10_000 + b',"names":["a.org"]}')
def test_a_frame_is_names_or_a_reason(body: bytes) -> None:
    try:
        names = names_of(body, LIMIT)
    except WireError as error:
        assert error.status in (400, 413) and error.message
    else:
        assert 1 <= len(names) <= LIMIT and all(isinstance(name, str) for name in names)


@MANY
@given(st.lists(st.text(max_size=300), min_size=1, max_size=40))
@example(["a.org"] * 20 + ["A..b", "\ud800", "_x._tcp.a.org", "localhost", "a" * 64 + ".org"])
def test_a_frame_is_sorted_name_by_name_as_each_would_be_alone(names: list[str]) -> None:
    parts = sort_frame(frame_of(names), {})
    asked = range(len(names)) if parts.asked is None else parts.asked
    lines = parts.payload.split(b"\n") if parts.payload else []
    assert len(lines) == len(asked) and set(asked) | set(parts.ineligible) == set(range(len(names)))
    for index, line in zip(asked, lines, strict=True):
        assert normalise(names[index]).encode() == line
    for index in (index for index, rule in parts.ineligible.items() if rule == "malformed"):
        with pytest.raises(BadName):
            normalise(names[index])


@MANY
@given(mangled(st.fixed_dictionaries({"qname": st.text() | json_values}, optional={"client": json_values})))
def test_a_question_is_a_name_or_a_reason(body: bytes) -> None:
    try:
        question = question_of(body)
    except WireError as error:
        assert error.status == 400 and error.message
    else:
        assert isinstance(question.qname, str) and isinstance(question.client, str)


@MANY
@given(mangled(batches))
def test_a_report_is_a_batch_or_a_reason(body: bytes) -> None:
    try:
        batch = msgspec.json.decode(body, type=Batch)
        check(batch)
    except (msgspec.DecodeError, UnicodeDecodeError, BadObservation) as error:
        assert str(error)
    else:
        assert batch.batch >= 0 and all(row.count >= 0 for row in batch.rows)


@MANY
@given(st.text(max_size=30))
def test_a_budget_is_seconds_within_its_limit_or_a_reason(header: str) -> None:
    try:
        assert 0 < budget_of(header, 1000, 30_000) <= 30
    except WireError as error:
        assert error.status == 400 and "Verdict-Budget-Ms" in error.message
