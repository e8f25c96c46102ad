"""Distillation: a network learns what several others say together of a name, beside what the lists say of it.

Networks that were trained alike err on different benign names; their mean errs less, and costs as many times as much.
A network that is taught this mean comes near it at its own cost (Hinton et al. 2015, "Distilling the knowledge in a
neural network"). What is matched are logits (Ba and Caruana 2014, "Do deep nets really need to be deep?"): thresholds
lie where probabilities hardly differ. The teachers know the teaching names by heart, so much of what they tell is about
names that nobody has seen: names cut and crossed, of which no list knows anything (`model.sampling`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.network import low_rate_loss, masked_loss

LOWEST, HIGHEST = -7.0, 26.0  # below, nothing is decided; far up is the threshold of tier block
LISTED, TOLD = 0.3, 0.3  # weights of what the lists and of what the teachers say
FAR = 2.0  # a difference above this counts linearly


class Teachers:
    """Networks of the same inputs and heads, asked together."""

    def __init__(self, networks: Sequence[Any]):
        self.networks = networks

    def tell(self, x: NDArray[np.int32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Tokens (B, W) and truth (B, 2) -> (B, 4): the truth, and the mean of the teachers' logits."""
        mean = np.mean([network.predict_on_batch(x) for network in self.networks], axis=0)
        return np.concatenate([truth, np.clip(mean, LOWEST, HIGHEST)], axis=1, dtype=np.float32)


def distilled_loss(truth: Any, logits: Any) -> Any:
    """`masked_loss` and how far the logits are from the teachers', (B, 4) and (B, 2) -> scalar."""
    return LISTED * masked_loss(truth[:, :2], logits) + TOLD * _apart(truth[:, 2:], logits)


def distilled_low_rate_loss(truth: Any, logits: Any) -> Any:
    """`low_rate_loss` and how far the logits are from the teachers', (B, 4) and (B, 2) -> scalar."""
    return LISTED * low_rate_loss(truth[:, :2], logits) + TOLD * _apart(truth[:, 2:], logits)


def _apart(told: Any, logits: Any) -> Any:
    """Mean Huber loss (Huber 1964)."""
    from keras import ops

    far = ops.absolute(told - logits)
    return ops.mean(ops.where(far < FAR, 0.5 * far * far, FAR * (far - 0.5 * FAR)))
