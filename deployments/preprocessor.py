"""Names to rows of octets, on CPU."""

import time
from collections.abc import Sequence
from statistics import median_high
from typing import Any

from deployments.batching import CALLS, NameBatcher
from deployments.logs import keep_written
from deployments.messages import Asked, PackedScored, Recode
from deployments.scaling import BUSY, METRIC, Busy
from deployments.second_ask import SecondAsk
from model.encoding import encoder

# By value over gRPC with plain pickle: measured faster than Ray's object store and cloudpickle at frames of names.
BY_VALUE = {"_by_reference": False, "request_serialization": "pickle", "response_serialization": "pickle"}
# Of frames that go together in one call, at most. By 1,024, full at 24 callers, a name cost a fifth to a third more.
CALL_NAMES = 4096
HOLD_S = 0.002  # that a frame waits for others to go with it, where a call is on its way already
PATIENCE = 0.4  # of the time that is left, before another classifier is asked; less than the ingress's
MAX_TURNS = 4  # a promotion that changes the encoding costs a frame one turn a classifier replica that it meets


class EncodingUnsettled(RuntimeError):
    """The classifier's replicas ask for different encodings, again and again."""


class Preprocessor:
    """Encodes frames as the classifier's present model wants them, and asks it."""

    def __init__(self, classifier: Any) -> None:
        keep_written()
        self._classifier = classifier.options(**BY_VALUE)
        self._predict = self._classifier.predict  # each look-up of a method would make another handle
        self._encoding = ""  # of the model the classifier served last; learnt from it
        self._second = SecondAsk(PATIENCE)
        self._calls: NameBatcher[Asked, PackedScored] = NameBatcher(
            self._ask, CALL_NAMES, lanes=CALLS, lane_names=CALL_NAMES, hold_s=HOLD_S
        )
        self._busy = Busy(time.process_time)  # it computes on one core

    async def judge(self, frames: Sequence[tuple[bytes, float]]) -> list[PackedScored | None]:
        """The scores of each frame (the fields of `Asked`), or None where its deadline has passed."""
        asked = [Asked(*frame) for frame in frames]
        return await self._calls.submit_all([(frame, frame.size, frame.deadline) for frame in asked])

    async def _ask(self, frames: Sequence[Asked]) -> Sequence[PackedScored | None]:
        names = b"\n".join([frame.names for frame in frames])
        shares = [(frame.size, frame.deadline) for frame in frames]
        middle = median_high(deadline for _, deadline in shares)  # one in a hurry must not spend what all have
        for _ in range(MAX_TURNS):
            rows = encoder(self._encoding).encode_narrow(names).tobytes() if self._encoding else None
            answer = await self._second.ask(self._predict.remote, rows, self._encoding, shares, deadline=middle)
            if not isinstance(answer, Recode):
                return answer  # type: ignore[no-any-return]
            self._encoding = answer.encoding
        raise EncodingUnsettled(f"no classifier took the encoding it asked for in {MAX_TURNS} turns")

    async def explain(self, name: str, thresholds: Any) -> dict[str, Any]:
        """Which characters of a normalised name moved its score; see `model.explain`."""
        return await self._classifier.explain.remote(name, thresholds)  # type: ignore[no-any-return]

    async def status(self) -> dict[str, object]:
        """What one of the classifier's replicas serves and where."""
        return await self._classifier.status.remote()  # type: ignore[no-any-return]

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return {METRIC: float(self._calls.names_in_flight), BUSY: self._busy.share()}
