"""What passes between the deployments, by value.

Frames, rows and scores cross as octets in plain tuples: pickle looks for the class of everything else, and for numpy's
arrays takes several steps of Python. That is half a millisecond of a question that finds cold caches.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from verdicts.policy import Thresholds
from verdicts.store import Document

_documents = msgspec.msgpack.Decoder(list[Document])


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

    def packed(self) -> "PackedScored":
        """As it crosses."""
        return self.version, msgspec.structs.astuple(self.thresholds), self.scores.tobytes()

    @classmethod
    def unpacked(cls, packed: "PackedScored") -> "Scored":
        version, thresholds, scores = packed
        return cls(version, Thresholds(*thresholds), np.frombuffer(scores, np.float32).reshape(-1, 2))


PackedScored = tuple[str, tuple[float | None, ...], bytes]


class Recode(NamedTuple):
    """The classifier serves a model of this other encoding: encode again and ask again."""

    encoding: str


def pack(documents: Sequence[Document]) -> bytes:
    """Documents as one message: pickled one by one, a long list would cost as much as it takes to store."""
    return msgspec.msgpack.encode(documents)


def unpack(packed: bytes) -> list[Document]:
    """The documents that `pack` packed."""
    return _documents.decode(packed)
