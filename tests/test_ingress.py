import asyncio
import time
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorUnavailableError
from ray.serve.exceptions import BackPressureError

from deployments.messages import Asked, PackedScored, Recode, Scored
from deployments.preprocessor import MAX_TURNS, EncodingUnsettled, Preprocessor
from serve_app.ingress import TURNS, HandleGraph
from serve_app.wire import WireError
from verdicts.policy import Thresholds
from verdicts.spool import SpoolFull

pytestmark = pytest.mark.anyio

LATER = 1e10
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


class Slow(Handle):
    """A handle whose calls take their time; the last of `wait_s` stands for all after it."""

    def __init__(self, *answers: Any, wait_s: tuple[float, ...] = (0.05,)) -> None:
        super().__init__(*answers)
        self.wait_s = list(wait_s)
        self.cancelled = 0

    async def remote(self, *arguments: Any) -> Any:
        answer = await super().remote(*arguments)
        try:
            await asyncio.sleep(self.wait_s.pop(0) if len(self.wait_s) > 1 else self.wait_s[0])
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return answer


def scored() -> PackedScored:
    return Scored("v1", Thresholds(), np.zeros((1, 2), np.float32)).packed()


async def test_a_question_is_asked_again_when_its_replica_died() -> None:
    preprocessor = Handle(GONE, [scored()])
    assert await HandleGraph(preprocessor, Handle(None)).judge(b"a.org", LATER) is not None
    assert len(preprocessor.calls) == 2


async def test_replicas_that_keep_dying_are_503_with_retry_after() -> None:
    preprocessor = Handle(GONE)
    with pytest.raises(WireError) as caught:
        await HandleGraph(preprocessor, Handle(None)).judge(b"a.org", LATER)
    assert (caught.value.status, caught.value.retry_after, len(preprocessor.calls)) == (503, 1, TURNS)


async def test_a_question_past_its_deadline_is_not_asked_again() -> None:
    deadline = time.time() + 0.5

    class Late(Handle):
        async def remote(self, *arguments: Any) -> Any:
            time.sleep(max(0.0, deadline - time.time()))  # the loop, too, so that the replica's end is heard first
            return await super().remote(*arguments)

    preprocessor = Late(GONE, None)
    assert await HandleGraph(preprocessor, Handle(None)).judge(b"a.org", deadline) is None
    assert len(preprocessor.calls) == 1


async def test_questions_that_come_while_one_is_asked_go_together() -> None:
    preprocessor = Slow([scored()], [scored(), None])
    graph = HandleGraph(preprocessor, Handle(None))
    soon, later = time.time() + 30, time.time() + 60
    asked = [("a.org", soon), ("b.org", later), ("c.org", soon)]
    tasks = []
    for name, deadline in asked:
        tasks.append(asyncio.create_task(graph.judge(name.encode(), deadline)))
        await asyncio.sleep(0.0 if tasks[1:] else 0.001)
    answers = await asyncio.gather(*tasks)
    assert [[frame for frame in call[0]] for call in preprocessor.calls] == [
        [Asked(b"a.org", soon)],
        [Asked(b"b.org", later), Asked(b"c.org", soon)],
    ]
    assert [answer is None for answer in answers] == [False, False, True]


async def test_a_silent_call_holds_no_later_question() -> None:
    preprocessor = Slow([scored()], wait_s=(30.0, 0.0))
    graph = HandleGraph(preprocessor, Handle(None))
    silent = asyncio.create_task(graph.judge(b"a.org", LATER))
    await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        assert await graph.judge(b"b.org", time.time() + 4) is not None
    silent.cancel()


async def test_a_silent_call_is_given_up_when_its_last_question_expires() -> None:
    preprocessor = Slow([scored()], wait_s=(30.0,))
    async with asyncio.timeout(5):
        assert await HandleGraph(preprocessor, Handle(None)).judge(b"a.org", time.time() + 0.1) is None
    await asyncio.sleep(0)  # it was told, and hears of it next
    assert preprocessor.cancelled >= 1


async def test_a_full_queue_is_503_with_retry_after_at_once() -> None:
    full = Handle(BackPressureError(num_queued_requests=9, max_queued_requests=8))
    with pytest.raises(WireError) as caught:
        await HandleGraph(full, Handle(None)).judge(b"a.org", LATER)
    assert (caught.value.status, caught.value.retry_after, len(full.calls)) == (503, 1, 1)


@pytest.mark.parametrize("error, expected", [(GONE, WireError), (SpoolFull("full"), SpoolFull)])
async def test_a_log_that_cannot_take_a_batch_says_why(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        await HandleGraph(Handle(None), Handle(error)).append(b"{}")


async def test_a_call_that_its_replica_gives_up_is_503_and_one_that_its_caller_gives_up_is_cancelled() -> None:
    class GivesUp(Handle):
        async def remote(self, *arguments: Any) -> Any:
            raise asyncio.CancelledError  # as what a replica that is shut down was asked ends at its caller

    graph = HandleGraph(GivesUp(None), GivesUp(None))
    for call in (graph.append(b"{}"), graph.commit([], "ada"), graph.log_status(), graph.model_status()):
        with pytest.raises(WireError, match="gave up") as caught:
            await call
        assert (caught.value.status, caught.value.retry_after) == (503, 1)
    asking = asyncio.create_task(HandleGraph(Handle(None), Slow(None, wait_s=(30.0,))).append(b"{}"))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


def frames(*names: bytes, deadline: float = LATER) -> list[Asked]:
    return [Asked(name, deadline) for name in names]


async def test_the_preprocessor_learns_the_encoding_from_the_classifier() -> None:
    classifier = Handle(Recode("codepoints-256"), [scored(), scored()])
    preprocessor = Preprocessor(classifier)
    answers = await preprocessor.judge(frames(b"a.org\nb.org", b"c.org"))
    assert answers == [scored(), scored()]
    rows, encoding, shares = classifier.calls[-1]
    assert encoding == "codepoints-256" and shares == [(2, LATER), (1, LATER)]
    assert rows == b"a.orgb.orgc.org"  # as wide as the longest


async def test_a_change_of_encoding_costs_one_more_turn_and_fails_nothing() -> None:
    classifier = Handle(Recode("codepoints-256"), Recode("segments-96"), [scored()])
    [answer] = await Preprocessor(classifier).judge(frames(b"a.org"))
    assert answer == scored()
    assert [call[1] for call in classifier.calls] == ["", "codepoints-256", "segments-96"]


async def test_classifiers_that_never_agree_are_an_error() -> None:
    classifier = Handle(Recode("codepoints-256"))
    with pytest.raises(EncodingUnsettled):
        await Preprocessor(classifier).judge(frames(b"a.org"))
    assert len(classifier.calls) == MAX_TURNS


async def test_an_expired_frame_is_dropped_before_it_is_encoded_and_takes_no_other_along() -> None:
    classifier = Handle([scored()])
    answers = await Preprocessor(classifier).judge([Asked(b"a.org", time.time() - 1), Asked(b"b.org", LATER)])
    assert answers == [None, scored()]
    assert [call[2] for call in classifier.calls] == [[(1, LATER)]]


async def test_the_preprocessor_counts_names_in_flight() -> None:
    preprocessor = Preprocessor(Handle(GONE))
    with pytest.raises(ActorUnavailableError):
        await preprocessor.judge(frames(b"a.org\nb.org"))
    recorded = await preprocessor.record_autoscaling_stats()
    assert recorded["names_in_flight"] == 0.0 and 0.0 <= recorded["busy"] <= 1.0
