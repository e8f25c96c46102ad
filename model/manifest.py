"""The manifest of a model artifact: everything needed to use its weights, typed (contract 5)."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from verdicts.policy import MAX_BLOCK_BOUND, Thresholds

FORMAT = 1


class Platt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calibration of one head: probability = sigmoid(slope * logit + shift), at the manifest's base rate."""

    slope: float
    shift: float

    def __call__(self, logit: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = np.minimum(np.maximum(np.asarray(logit, np.float64) * self.slope + self.shift, -80.0), 80.0)
        return (1.0 / (1.0 + np.exp(-scaled))).astype(np.float32)

    def logit(self, probability: float) -> float:
        """The logit that this calibration maps to `probability`."""
        return float((np.log(probability) - np.log1p(-probability) - self.shift) / self.slope)


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A threshold and what was measured at it, on benign names never trained or tuned on.

    `value` None: the rule never fires. `bound` is the upper 95 % confidence limit of the false-positive rate
    (None: not measured).
    """

    value: float | None
    false_positives: int | None = None
    benign: int | None = None
    bound: float | None = None
    note: str = ""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The thresholds of the three rules of `verdicts.policy.Thresholds`."""

    block: Threshold
    alert_generated: Threshold
    alert_score: Threshold


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data source: its licence, and what it was used for."""

    name: str
    licence: str
    use: str  # teach or judge
    rows: int = 0
    digest: str = ""  # SHA-256 of the names used of it, sorted


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `manifest.json` holds. `heads` names the network's outputs, in column order."""

    format: int
    version: str
    network: str
    encoding: str
    heads: list[str]  # ["malicious"] or ["generated", "malicious"]
    calibration: dict[str, Platt]
    base_rate: float  # of malicious names, at which probabilities are stated
    thresholds: Limits
    metrics: dict[str, Any]
    digests: dict[str, str]  # SHA-256 of files in the artifact, by name
    splits: dict[str, str] = {}  # SHA-256 of each split's names
    sources: list[Source] = []
    parent: str = ""  # the version this was fine-tuned from
    held_out: int = 0  # the fold of families that it never saw; -1: it saw all
    notes: str = ""

    def policy_thresholds(self) -> Thresholds:
        """The thresholds as policy compares them. Without a bound of at most 1e-4, `block` never fires."""
        return Thresholds(
            block=None if self.never_blocks() else self.thresholds.block.value,
            alert_generated=self.thresholds.alert_generated.value,
            alert_score=self.thresholds.alert_score.value,
        )

    def never_blocks(self) -> str:
        """Why no name is of tier block by these thresholds, as a part of a sentence; empty where some are."""
        block = self.thresholds.block
        if block.value is None:
            return "it has no threshold for blocking"
        if block.bound is None:
            return "its rate of false positives was not measured"
        if block.bound > MAX_BLOCK_BOUND:
            return f"its rate of false positives may be {block.bound:.1e}, expected at most {MAX_BLOCK_BOUND:g}"
        return ""

    def notices(self, in_force: Thresholds | None = None) -> list[str]:
        """What whoever lets this model serve should know of it, one sentence each. `in_force`: the thresholds that an
        administrator set, in place of its own."""
        reason = self.never_blocks()
        if in_force is not None and in_force.block is None:
            reason = "the policy sets no threshold for blocking"
        elif in_force is not None:
            return [f"{self.version} blocks by the policy's threshold, though {reason}"] if reason else []
        return [f"{self.version} never blocks, it only alerts: {reason}"] if reason else []


HEADS = (["malicious"], ["generated", "malicious"])
