"""The reply to a frame, written without an object for each name.

`policy.decide` says what a verdict of each kind looks like; for the names the model judged, the kinds are few
(one a threshold) and differ only in two numbers. So each kind is encoded once as a row of octets, and a frame's
numbers are set into copies of it by numpy. Scores cross the wire with six decimals.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve_app.frames import Sorted
from verdicts.policy import ListHit, Policy, Thresholds, Verdict, decide

_SCORE, _GENERATED = 0.123456, 0.654321  # stand for the numbers while a row's form is found
# A number is 8 octets, 0.123456, set as two of 4: so many copies at a time cost numpy least.
_HEADS = np.array([b"%d.%02d" % divmod(n, 100) for n in range(101)], "S4").view(np.uint32)  # (101,)
_TAILS = np.array([b"%04d" % n for n in range(10_000)], "S4").view(np.uint32)  # (10000,)


class _Row(NamedTuple):
    octets: bytes
    numbers: np.dtype[np.void]  # where in the row its generated and score stand


class ReplyWriter:
    """Writes replies under one policy and the thresholds of one model version."""

    def __init__(self, policy: Policy, thresholds: Thresholds) -> None:
        self.policy = policy
        self.thresholds = thresholds
        self._rows = [_row(policy, thresholds, *point) for point in _points(thresholds)]
        self._refused: dict[str, bytes] = {}
        self._listed: dict[ListHit, bytes] = {}

    def verdicts(
        self,
        count: int,
        parts: Sorted,
        scores: NDArray[np.float32] | None,
        popular: Callable[[int], bool] = lambda index: False,
    ) -> bytes:
        """The JSON array of a frame's `count` verdicts.

        `scores` (M, 2), columns generated and score, belong to `parts.asked` in order; None when none was asked.
        `popular(index)` tells whether the prevalence list caps the frame's name; asked for block tier only.
        """
        kinds = np.zeros(0, np.int8) if scores is None else self._kinds(scores)
        if parts.asked is None and scores is not None and not kinds.any():
            return b"[" + self._fill(0, scores)[:-1] + b"]"
        pieces = [b""] * count
        if scores is not None:
            asked = range(count) if parts.asked is None else parts.asked
            for kind in np.unique(kinds):
                self._place(pieces, int(kind), np.flatnonzero(kinds == kind), asked, scores, popular)
        for index, reason in parts.ineligible.items():
            pieces[index] = self._refusal(reason)
        for index, hit in parts.hits.items():
            pieces[index] = self._listing(hit)
        return b"[" + b"".join(pieces)[:-1] + b"]"

    def one(self, parts: Sorted, scores: NDArray[np.float32] | None, popular: bool) -> Verdict:
        """The verdict of a frame of one."""
        generated, score = (0.0, 0.0) if scores is None else (float(scores[0, 0]), float(scores[0, 1]))
        hit, reason = parts.hits.get(0), parts.ineligible.get(0)
        return decide(self.policy, self.thresholds, hit, reason, generated, score, popular)

    def _kinds(self, scores: NDArray[np.float32]) -> NDArray[np.int8]:
        """Which row each name takes: 0 none, 1 block, 2 alert by generated, 3 alert by score; as `tier_of`."""
        generated, score = scores[:, 0].astype(np.float64), scores[:, 1].astype(np.float64)
        kinds = np.zeros(len(scores), np.int8)
        limits = self.thresholds
        for kind, column, limit in (
            (3, score, limits.alert_score),
            (2, generated, limits.alert_generated),
            (1, generated, limits.block),
        ):
            if limit is not None:
                kinds[column >= limit] = kind
        return kinds

    def _place(
        self,
        pieces: list[bytes],
        kind: int,
        rows: NDArray[np.intp],
        asked: "range | list[int]",
        scores: NDArray[np.float32],
        popular: Callable[[int], bool],
    ) -> None:
        blob = self._fill(kind, scores[rows])
        width = len(blob) // len(rows)
        for number, row in enumerate(rows.tolist()):
            index = asked[row]
            if kind == 1 and popular(index):
                values = float(scores[row, 0]), float(scores[row, 1])
                pieces[index] = _encoded(decide(self.policy, self.thresholds, None, None, *values, popular=True))
            else:
                pieces[index] = blob[number * width : (number + 1) * width]

    def _fill(self, kind: int, scores: NDArray[np.float32]) -> bytes:
        octets, numbers = self._rows[kind]
        table = bytearray(octets * len(scores))
        cells = np.frombuffer(table, numbers)
        millionths = np.rint(scores.astype(np.float64) * 1e6).astype(np.int32)
        head = millionths // 10_000
        halves = np.stack((_HEADS[head], _TAILS[millionths - head * 10_000]), axis=-1)  # (N, 2, 2)
        cells["generated"], cells["score"] = halves[:, 0], halves[:, 1]
        return bytes(table)

    def _refusal(self, reason: str) -> bytes:
        if reason not in self._refused:
            self._refused[reason] = _encoded(decide(self.policy, self.thresholds, None, reason))
        return self._refused[reason]

    def _listing(self, hit: ListHit) -> bytes:
        found = self._listed.get(hit)
        if found is None:
            if len(self._listed) >= 4096:
                self._listed.clear()
            found = self._listed[hit] = _encoded(decide(self.policy, self.thresholds, hit, None))
        return found


def reply_of(epoch: int, generation: str, model: str, asked: int, verdicts: bytes) -> bytes:
    """The whole reply. `asked`: the CRC-32 of the request's body; `verdicts` as `ReplyWriter.verdicts` gives them."""
    head: Mapping[str, object] = {"epoch": epoch, "generation": generation, "model": model, "asked": asked}
    return msgspec.json.encode(head)[:-1] + b',"verdicts":' + verdicts + b"}"


def _points(limits: Thresholds) -> list[tuple[float, float]]:
    """For each kind of verdict a pair (generated, score) that yields it."""
    low = float("-inf")
    return [
        (low, low),
        (low if limits.block is None else limits.block, low),
        (low if limits.alert_generated is None else limits.alert_generated, low),
        (low, low if limits.alert_score is None else limits.alert_score),
    ]


def _row(policy: Policy, limits: Thresholds, generated: float, score: float) -> _Row:
    verdict = decide(policy, limits, None, None, generated, score)
    text = _encoded(msgspec.structs.replace(verdict, score=_SCORE, generated=_GENERATED))
    generated, score = text.index(b"0.654321"), text.index(b"0.123456")
    form: Any = {"names": ["generated", "score"], "formats": ["2u4", "2u4"], "offsets": [generated, score]}
    form["itemsize"] = len(text)
    return _Row(text, np.dtype(form))


def _encoded(verdict: Verdict) -> bytes:
    return msgspec.json.encode(verdict) + b","
