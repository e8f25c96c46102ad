import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.frames import Sorted, frame_of, sort_frame
from serve_app.replies import ReplyWriter, reply_of
from verdicts.policy import ListHit, Policy, Thresholds, Verdict, decide

PROBABILITY = st.floats(0, 1, width=32)
LIMIT = st.none() | st.floats(0, 1)
DECODER = msgspec.json.Decoder(list[Verdict])


def rounded(verdict: Verdict) -> Verdict:
    return msgspec.structs.replace(verdict, score=round(verdict.score, 6), generated=round(verdict.generated, 6))


@given(st.lists(st.tuples(PROBABILITY, PROBABILITY), min_size=1, max_size=20), LIMIT, LIMIT, LIMIT)
def test_written_verdicts_are_those_decided_one_by_one(
    pairs: list[tuple[float, float]], block: float | None, generated: float | None, score: float | None
) -> None:
    policy, limits = Policy(block_action="refused", cache_ttl=77), Thresholds(block, generated, score)
    scores = np.array(pairs, np.float32)
    parts = Sorted({}, {}, None, b"")
    written = DECODER.decode(ReplyWriter(policy, limits).verdicts(len(pairs), parts, scores))
    expected = [decide(policy, limits, None, None, float(g), float(s)) for g, s in scores]
    assert [rounded(v) for v in expected] == written


def test_lists_rules_and_model_stand_in_the_order_of_the_names() -> None:
    frame = frame_of(["one.org", "bad.org", "localhost", "two.org", "..", "trap.org"])
    hits = {1: ListHit("blocklist", "bad.org"), 5: ListHit("honeypot", "trap.org")}
    parts = sort_frame(frame, hits)
    policy = Policy(honeypot_answers=["192.0.2.53"])
    limits = Thresholds(block=0.9)
    scores = np.array([[0.95, 0.5], [0.1, 0.2]], np.float32)
    written = DECODER.decode(ReplyWriter(policy, limits).verdicts(6, parts, scores))
    assert [v.source for v in written] == ["model", "blocklist", "ineligible", "model", "ineligible", "honeypot-list"]
    assert [v.tier for v in written] == ["block", "block", "none", "none", "none", "block"]
    assert [v.rule for v in written][2:5] == ["single-label", "", "malformed"]
    assert written[5].answers == ["192.0.2.53"]


def test_a_popular_name_is_capped_at_alert() -> None:
    frame = frame_of(["one.org", "two.org"])
    limits = Thresholds(block=0.9)
    scores = np.array([[0.95, 0.5], [0.95, 0.5]], np.float32)
    data = ReplyWriter(Policy(), limits).verdicts(2, sort_frame(frame, {}), scores, lambda index: index == 1)
    block, alert = DECODER.decode(data)
    assert (block.tier, alert.tier, alert.action) == ("block", "alert", "passthru")


def test_a_frame_without_a_name_for_the_model_needs_no_scores() -> None:
    parts = sort_frame(frame_of(["localhost"]), {})
    assert DECODER.decode(ReplyWriter(Policy(), Thresholds()).verdicts(1, parts, None))[0].rule == "single-label"


def test_the_reply_is_one_json_object() -> None:
    reply = msgspec.json.decode(reply_of(17, 'g"1', "v1", 5, b"[]"))
    assert reply == {"epoch": 17, "generation": 'g"1', "model": "v1", "asked": 5, "verdicts": []}


@pytest.mark.parametrize("popular, tier", [(True, "alert"), (False, "block")])
def test_a_popular_name_alone_is_capped_too(popular: bool, tier: str) -> None:
    parts, scores = sort_frame(frame_of(["one.org"]), {}), np.array([[0.95, 0.5]], np.float32)
    written = ReplyWriter(Policy(), Thresholds(block=0.9)).verdicts(1, parts, scores, lambda index: popular)
    assert [verdict.tier for verdict in DECODER.decode(written)] == [tier]
