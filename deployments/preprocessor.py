"""Names to rows of octets, on CPU."""

import time
from typing import Any

from deployments.logs import keep_written
from deployments.messages import Recode, Scored
from deployments.scaling import BUSY, METRIC, Busy
from deployments.second_ask import SecondAsk
from model.encoding import encoder

# By value over gRPC with plain pickle: measured faster than Ray's object store and cloudpickle at frames of names.
BY_VALUE = {"_by_reference": False, "request_serialization": "pickle", "response_serialization": "pickle"}
PATIENCE = 0.4  # of the time that is left, before another classifier is asked; less than the ingress's
MAX_TURNS = 4  # a promotion that changes the encoding costs a frame one turn a classifier replica that it meets


class EncodingUnsettled(RuntimeError):
    """The classifier's replicas ask for different encodings, again and again."""


class Preprocessor:
    """Encodes frames as the classifier's present model wants them, and asks it."""

    def __init__(self, classifier: Any) -> None:
        keep_written()
        self._classifier = classifier.options(**BY_VALUE)
        self._encoding = ""  # of the model the classifier served last; learnt from it
        self._second = SecondAsk(PATIENCE)
        self._names_in_flight = 0
        self._busy = Busy(time.process_time)  # it computes on one core

    async def judge(self, names: bytes, deadline: float) -> Scored | None:
        """The scores of `"\\n"`-joined normalised names, or None when `deadline` (Unix seconds) has passed."""
        count = names.count(b"\n") + 1
        self._names_in_flight += count
        try:
            return await self._ask(names, deadline)
        finally:
            self._names_in_flight -= count

    async def _ask(self, names: bytes, deadline: float) -> Scored | None:
        for _ in range(MAX_TURNS):
            if time.time() >= deadline:
                return None
            rows = encoder(self._encoding).encode_frame(names) if self._encoding else None
            predict = self._classifier.predict.remote
            answer = await self._second.ask(predict, rows, self._encoding, deadline=deadline)
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
        return {METRIC: float(self._names_in_flight), BUSY: self._busy.share()}
