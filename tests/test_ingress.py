import time
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorUnavailableError
from ray.serve.exceptions import BackPressureError

from deployments.messages import Recode, Scored
from deployments.preprocessor import MAX_TURNS, EncodingUnsettled, Preprocessor
from serve_app.ingress import TURNS, HandleGraph
from serve_app.wire import WireError
from verdicts.policy import Thresholds
from verdicts.spool import SpoolFull

pytestmark = pytest.mark.anyio

LATER = 1e18
GONE = ActorUnavailableError("the replica has gone", None)


class Handle:
    """A Serve handle whose calls give what it was told, in turn (the last for ever); exceptions are raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[Any, ...]] = []

    def options(self, **options: Any) -> "Handle":
        return self

    def __getattr__(self, method: str) -> "Handle":
        return self

    async def remote(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def scored() -> Scored:
    return Scored("v1", Thresholds(), np.zeros((1, 2), np.float32))


async def test_a_question_is_asked_again_when_its_replica_died() -> None:
    preprocessor = Handle(GONE, scored())
    assert await HandleGraph(preprocessor, Handle(None)).judge(b"a.org", LATER) is not None
    assert len(preprocessor.calls) == 2


async def test_replicas_that_keep_dying_are_503_with_retry_after() -> None:
    preprocessor = Handle(GONE)
    with pytest.raises(WireError) as caught:
        await HandleGraph(preprocessor, Handle(None)).judge(b"a.org", LATER)
    assert (caught.value.status, caught.value.retry_after, len(preprocessor.calls)) == (503, 1, TURNS)


async def test_a_question_past_its_deadline_is_not_asked_again() -> None:
    preprocessor = Handle(GONE)
    with pytest.raises(WireError):
        await HandleGraph(preprocessor, Handle(None)).judge(b"a.org", time.time() - 1)
    assert len(preprocessor.calls) == 1


async def test_a_full_queue_is_503_with_retry_after_at_once() -> None:
    full = Handle(BackPressureError(num_queued_requests=9, max_queued_requests=8))
    with pytest.raises(WireError) as caught:
        await HandleGraph(full, Handle(None)).judge(b"a.org", LATER)
    assert (caught.value.status, caught.value.retry_after, len(full.calls)) == (503, 1, 1)


@pytest.mark.parametrize("error, expected", [(GONE, WireError), (SpoolFull("full"), SpoolFull)])
async def test_a_log_that_cannot_take_a_batch_says_why(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        await HandleGraph(Handle(None), Handle(error)).append(b"{}")


async def test_the_preprocessor_learns_the_encoding_from_the_classifier() -> None:
    classifier = Handle(Recode("codepoints-256"), scored())
    preprocessor = Preprocessor(classifier)
    assert isinstance(await preprocessor.judge(b"a.org\nb.org", LATER), Scored)
    rows, encoding, _ = classifier.calls[-1]
    assert encoding == "codepoints-256" and rows.shape == (2, 256) and rows[1, :5].tobytes() == b"b.org"


async def test_a_change_of_encoding_costs_one_more_turn_and_fails_nothing() -> None:
    classifier = Handle(Recode("codepoints-256"), Recode("segments-96"), scored())
    assert isinstance(await Preprocessor(classifier).judge(b"a.org", LATER), Scored)
    assert [call[1] for call in classifier.calls] == ["", "codepoints-256", "segments-96"]


async def test_classifiers_that_never_agree_are_an_error() -> None:
    classifier = Handle(Recode("codepoints-256"))
    with pytest.raises(EncodingUnsettled):
        await Preprocessor(classifier).judge(b"a.org", LATER)
    assert len(classifier.calls) == MAX_TURNS


async def test_an_expired_frame_is_dropped_before_it_is_encoded() -> None:
    classifier = Handle(scored())
    assert await Preprocessor(classifier).judge(b"a.org", time.time() - 1) is None
    assert classifier.calls == []


async def test_the_preprocessor_counts_names_in_flight() -> None:
    preprocessor = Preprocessor(Handle(GONE))
    with pytest.raises(ActorUnavailableError):
        await preprocessor.judge(b"a.org\nb.org", LATER)
    recorded = await preprocessor.record_autoscaling_stats()
    assert recorded["names_in_flight"] == 0.0 and 0.0 <= recorded["busy"] <= 1.0
