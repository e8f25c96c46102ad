"""From a frame of names to its reply: the path of every question."""

import asyncio
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deployments.messages import Scored
from serve_app.context import Context
from serve_app.frames import Frame, Sorted, frame_of, sort_frame
from serve_app.replies import ReplyWriter, reply_of
from serve_app.wire import WireError
from verdicts.follower import NOTHING, View
from verdicts.names import split
from verdicts.policy import Thresholds, Verdict

NO_MODEL = Thresholds()  # when no name of a frame was for the model


class _Judged(NamedTuple):
    frame: Frame
    parts: Sorted
    scored: Scored | None
    writer: ReplyWriter
    view: View

    @property
    def scores(self) -> NDArray[np.float32] | None:
        return None if self.scored is None else self.scored.scores

    @property
    def model(self) -> str:
        return "" if self.scored is None else self.scored.version

    def popular(self, index: int) -> bool:
        return is_popular(self.view, self.frame.names[index])


def is_popular(view: View, name: str) -> bool:
    """Whether the prevalence list caps the tier of a normalised name at alert."""
    rank = view.lists.rank(split(name).registered)
    return rank is not None and rank <= view.policy.prevalence_rank


async def judge_frame(context: Context, names: list[str], asked: int, deadline: float) -> bytes:
    """The JSON reply to a frame. `asked`: the CRC-32 of its body. `deadline` is Unix seconds; raises `WireError`."""
    judged = await _judge(context, names, deadline)
    verdicts = judged.writer.verdicts(len(names), judged.parts, judged.scores, judged.popular)
    return reply_of(judged.view.epoch.number, judged.view.epoch.generation, judged.model, asked, verdicts)


async def judge_one(context: Context, name: str, deadline: float) -> tuple[Verdict, str, View]:
    """The verdict of one normalised name, the version that scored it ("" for none), and the view it rests on."""
    judged = await _judge(context, [name], deadline)
    return judged.writer.one(judged.parts, judged.scores, judged.popular(0)), judged.model, judged.view


async def _judge(context: Context, names: list[str], deadline: float) -> _Judged:
    # Read before deciding: a reply may rest on newer decisions than its epoch says, never on older ones.
    view = context.follower.view
    if view is NOTHING:
        raise WireError("unavailable", f"no decisions yet: {context.follower.error}", retry_after=1)
    began, budget = time.monotonic(), deadline - time.time()
    context.admission.enter(len(names))
    try:
        frame = frame_of(names)
        hits = {i: hit for i, hit in enumerate(view.lists.match_frame(frame.names)) if hit} if len(view.lists) else {}
        parts = sort_frame(frame, hits)
        scored = await _scored(context, parts, deadline) if parts.payload else None
    finally:
        context.admission.leave(len(names), began, budget, time.monotonic())
    asked = len(names) if parts.asked is None else len(parts.asked)
    if scored is not None:
        _check(scored.scores, asked)
    context.metrics.frame(len(names), len(parts.hits), len(parts.ineligible), None if scored is None else scored.scores)
    version, thresholds = ("", NO_MODEL) if scored is None else (scored.version, scored.thresholds)
    return _Judged(frame, parts, scored, context.writer(view, thresholds, version), view)


async def _scored(context: Context, parts: Sorted, deadline: float) -> Scored:
    remaining = deadline - time.time()
    try:
        async with asyncio.timeout(remaining):
            scored = await context.graph.judge(parts.payload, deadline) if remaining > 0 else None
    except TimeoutError:
        scored = None
    if scored is None:
        raise WireError("expired", "the caller's budget ran out before the model's turn")
    return scored


def _check(scores: NDArray[np.float32], asked: int) -> None:
    if scores.shape != (asked, 2) or not (scores.min() >= 0 and scores.max() <= 1):  # nor is one that is no number
        raise WireError("internal", f"the classifier gave {scores.shape} scores, expected ({asked}, 2) from 0 to 1")
