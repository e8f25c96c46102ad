"""The reply to a frame, written without an object for each name.

`policy.decide` says what a verdict of each kind looks like; for the names the model judged, the kinds are few
(one a threshold) and differ only in two numbers. So each kind is encoded once as a row of octets, and a frame's
numbers are set into copies of it by numpy; where a frame has rows of several kinds, blanks make them equally long.
Scores cross the wire with six decimals.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from serve_app.frames import Sorted
from verdicts.policy import ListHit, Policy, Thresholds, Verdict, decide

BLOCK, CAPPED = 1, 4  # kinds of rows: tier block, and the same where the prevalence list caps it
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
        rows = [_row(policy, thresholds, *point) for point in _points(thresholds)]
        self._forms = [_form(row.octets) for row in rows]
        self._plain = rows[0]  # of most frames all rows
        self._aligned, self._numbers = _aligned(rows)
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
        table, width = self._table(scores, parts.asked, popular) if scores is not None else (b"", 1)
        if parts.asked is None and scores is not None:
            return b"[" + table.rstrip()[:-1] + b"]"
        pieces = [b""] * count
        for number, index in enumerate(parts.asked or ()):
            pieces[index] = table[number * width : (number + 1) * width]
        for index, reason in parts.ineligible.items():
            pieces[index] = self._refusal(reason)
        for index, hit in parts.hits.items():
            pieces[index] = self._listing(hit)
        return b"[" + b"".join(pieces).rstrip()[:-1] + b"]"

    def one(self, parts: Sorted, scores: NDArray[np.float32] | None, popular: bool) -> Verdict:
        """The verdict of a frame of one."""
        generated, score = (0.0, 0.0) if scores is None else (float(scores[0, 0]), float(scores[0, 1]))
        hit, reason = parts.hits.get(0), parts.ineligible.get(0)
        return decide(self.policy, self.thresholds, hit, reason, generated, score, popular)

    def _kinds(self, scores: NDArray[np.float32]) -> NDArray[np.int8]:
        """Which row each name takes: 0 none, `BLOCK`, 2 alert by generated, 3 alert by score; as `tier_of`."""
        generated, score = scores[:, 0].astype(np.float64), scores[:, 1].astype(np.float64)
        kinds = np.zeros(len(scores), np.int8)
        limits = self.thresholds
        for kind, column, limit in (
            (3, score, limits.alert_score),
            (2, generated, limits.alert_generated),
            (BLOCK, generated, limits.block),
        ):
            if limit is not None:
                kinds[column >= limit] = kind
        return kinds

    def _table(
        self, scores: NDArray[np.float32], asked: Sequence[int] | None, popular: Callable[[int], bool]
    ) -> tuple[bytes, int]:
        """The rows of all names that the model judged, each as long as the others, and how long that is."""
        if len(scores) == 1:
            [[generated, score]] = scores.tolist()
            text = self._alone(generated, score, lambda: popular(0 if asked is None else asked[0]))
            return text, len(text)
        kinds = self._kinds(scores)
        for row in np.flatnonzero(kinds == BLOCK).tolist():
            if popular(row if asked is None else asked[row]):
                kinds[row] = CAPPED
        if kinds.any():
            rows = self._aligned[kinds]  # (N, width)
            cells = rows.reshape(-1).view(self._numbers)
        else:
            rows = np.frombuffer(bytearray(self._plain.octets * len(scores)), np.uint8)
            cells = rows.view(self._plain.numbers)
        millionths = np.rint(scores.astype(np.float64) * 1e6).astype(np.int32)
        head = millionths // 10_000
        halves = np.empty((len(scores), 2, 2), np.uint32)
        halves[:, :, 0], halves[:, :, 1] = _HEADS[head], _TAILS[millionths - head * 10_000]
        cells["generated"], cells["score"] = halves[:, 0], halves[:, 1]
        return rows.tobytes(), cells.dtype.itemsize

    def _alone(self, generated: float, score: float, popular: Callable[[], bool]) -> bytes:
        """The row of one name: without numpy, each step of which costs more than all of this where caches are cold."""
        limits, kind = self.thresholds, 0
        if limits.block is not None and generated >= limits.block:
            kind = CAPPED if popular() else BLOCK
        elif limits.alert_generated is not None and generated >= limits.alert_generated:
            kind = 2
        elif limits.alert_score is not None and score >= limits.alert_score:
            kind = 3
        return self._forms[kind] % {b"generated": _number(generated), b"score": _number(score)}

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


def _points(limits: Thresholds) -> list[tuple[float, float, bool]]:
    """For each kind of verdict a triple (generated, score, popular) that yields it."""
    low = float("-inf")
    block = low if limits.block is None else limits.block
    return [
        (low, low, False),
        (block, low, False),
        (low if limits.alert_generated is None else limits.alert_generated, low, False),
        (low, low if limits.alert_score is None else limits.alert_score, False),
        (block, low, True),
    ]


def _row(policy: Policy, limits: Thresholds, generated: float, score: float, popular: bool) -> _Row:
    verdict = decide(policy, limits, None, None, generated, score, popular)
    text = _encoded(msgspec.structs.replace(verdict, score=_SCORE, generated=_GENERATED))
    return _Row(text, _numbers(text))


def _form(text: bytes) -> bytes:
    """The row as Python's own formatting takes it."""
    text = text.replace(b"%", b"%%")
    return text.replace(b"0.654321", b"%(generated)s").replace(b"0.123456", b"%(score)s")


def _number(value: float) -> bytes:
    return b"%d.%06d" % divmod(round(value * 1e6), 1_000_000)


def _numbers(text: bytes) -> np.dtype[np.void]:
    offsets = [text.index(b"0.654321"), text.index(b"0.123456")]
    form: Any = {"names": ["generated", "score"], "formats": ["2u4", "2u4"], "offsets": offsets}
    form["itemsize"] = len(text)
    found: np.dtype[np.void] = np.dtype(form)
    return found


def _aligned(rows: Sequence[_Row]) -> tuple[NDArray[np.uint8], np.dtype[np.void]]:
    """The rows with blanks set in, so that each is as long as the others and has its numbers where they have them."""
    cut = [re.split(rb"(?=0\.123456|0\.654321)", row.octets) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    texts = [b"".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)) for parts in cut]
    return np.array([list(text) for text in texts], np.uint8), _numbers(texts[0])


def _encoded(verdict: Verdict) -> bytes:
    return msgspec.json.encode(verdict) + b","
