"""What passes between the deployments, by value."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from verdicts.policy import Thresholds


class Asked(NamedTuple):
    """A frame's names for the model, normalised and `"\\n"`-joined, and until when its caller waits (Unix seconds)."""

    names: bytes
    deadline: float

    @property
    def size(self) -> int:
        return self.names.count(b"\n") + 1


class Scored(NamedTuple):
    """A frame's scores, with all that is needed to decide on them.

    The version and its thresholds travel with the scores, so that no stage can pair one model's numbers with
    another's thresholds while a promotion is under way.
    """

    version: str
    thresholds: Thresholds
    scores: NDArray[np.float32]  # (N, 2): generated, score


class Recode(NamedTuple):
    """The classifier serves a model of this other encoding: encode again and ask again."""

    encoding: str
