"""The wire frames in tests/golden, read by the cluster's side; plugin/verdict/golden_test.go reads the same files."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serve_app.wire import WireError, names_of
from verdicts import qtypes
from verdicts.names import normalise
from verdicts.observations import Acknowledgement, BadObservation, Batch, check
from verdicts.policy import Verdict

GOLDEN = Path(__file__).parent / "golden"
MAX_NAMES = 1024


class Reply(msgspec.Struct):
    """A whole reply to a frame, as a caller of the cluster sees it."""

    epoch: int
    generation: str
    verdicts: list[Verdict]
    model: str = ""


def cases(file: str, good: bool) -> pytest.MarkDecorator:
    """The good or the bad cases of a file, one parameter each."""
    found = [c for c in json.loads((GOLDEN / f"{file}.json").read_text())["cases"] if (c["error"] is None) == good]
    assert found
    return pytest.mark.parametrize("case", [pytest.param(c, id=c["name"]) for c in found])


@cases("verdicts_request", good=True)
def test_a_request_gives_its_names(case: dict[str, Any]) -> None:
    assert names_of(case["body"].encode(), MAX_NAMES) == case["names"]


@cases("verdicts_request", good=True)
def test_the_names_of_a_request_are_normalised(case: dict[str, Any]) -> None:
    assert [normalise(name) for name in case["names"]] == case["names"]


@cases("verdicts_request", good=False)
def test_a_bad_request_is_refused_with_its_code(case: dict[str, Any]) -> None:
    with pytest.raises(WireError) as refusal:
        names_of(case["body"].encode(), MAX_NAMES)
    assert refusal.value.code == case["error"]


@cases("verdicts_reply", good=True)
def test_a_reply_has_a_verdict_for_each_name(case: dict[str, Any]) -> None:
    reply = msgspec.json.decode(case["body"], type=Reply)
    assert len(reply.verdicts) == len(case["names"])


@cases("verdicts_reply", good=True)
def test_a_verdict_is_written_as_it_was_read(case: dict[str, Any]) -> None:
    for verdict in msgspec.json.decode(case["body"], type=Reply).verdicts:
        assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


@cases("verdicts_reply", good=False)
def test_a_bad_reply_does_not_fit_the_structures_where_they_can_tell(case: dict[str, Any]) -> None:
    if case["schema"]:
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(case["body"], type=Reply)
    else:
        msgspec.json.decode(case["body"], type=Reply)


@cases("observations", good=True)
def test_a_batch_follows_the_contract(case: dict[str, Any]) -> None:
    batch = msgspec.json.decode(case["body"], type=Batch)
    check(batch)
    assert batch.seen == sum(row.count for row in batch.rows) + batch.discarded


@cases("observations", good=False)
def test_a_bad_batch_is_refused_by_name(case: dict[str, Any]) -> None:
    with pytest.raises((BadObservation, msgspec.ValidationError)) as refusal:
        check(msgspec.json.decode(case["body"], type=Batch))
    assert case["error"] in str(refusal.value)


@cases("acknowledgements", good=True)
def test_an_acknowledgement_says_what_the_engine_should_know(case: dict[str, Any]) -> None:
    said = msgspec.json.decode(case["body"], type=Acknowledgement)
    told = (said.changed, said.refresh, said.paused, len(said.overrides))
    assert told == (case["changed"], case["refresh"], case["paused"], case["overrides"])


@cases("acknowledgements", good=False)
def test_a_bad_acknowledgement_does_not_fit_the_structure_where_it_can_tell(case: dict[str, Any]) -> None:
    if case.get("schema", True):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(case["body"], type=Acknowledgement)
    else:
        msgspec.json.decode(case["body"], type=Acknowledgement)


def test_each_type_is_held_as_the_plugin_tells_it() -> None:
    rule = json.loads((GOLDEN / "qtypes.json").read_text())
    named = {number: name for name, number in rule["names"].items()}
    told = {number for first, last in rule["told"] for number in range(first, last + 1)}
    for number in range(1 << 16):
        text = named.get(number, f"TYPE{number}") if number in told else "other"
        assert qtypes.told(f"TYPE{number}") == qtypes.told(text) == text


@pytest.mark.parametrize(
    ("qtype", "held"),
    [("", ""), ("TYPE065", "other"), ("a", "other"), ("UNKNOWN", "other"), ("TSLA", "TLSA"), ("A6", "TYPE38")],
)
def test_a_text_that_no_plugin_tells_is_one_with_all_such(qtype: str, held: str) -> None:
    assert qtypes.told(qtype) == held
