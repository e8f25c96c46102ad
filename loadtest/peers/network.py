"""The seed network for the peers: our weights and encoding, and TensorFlow as it runs them fastest.

Runs in the peers' own environment; of this repository it needs `model` and `verdicts` alone.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.peers import SCORER
from model.artifact import Artifact
from model.encoding import Rows
from model.registry import RELEASED
from model.scorer import BATCH_SIZES, Scorer, set_threads

SEED = RELEASED / "seed-2020"
FEATURES = Path(SEED / "model.keras")
XLA_SIZE = 16  # up to this batch XLA is faster than the graph by itself, from 64 on slower


class Compiled:
    """The network compiled for each of `BATCH_SIZES`, weights as constants; rows are padded to the next of them."""

    def __init__(self, artifact: Artifact) -> None:
        self.encoding = artifact.encoding
        self._graphs = {size: _compiled(artifact.network, size) for size in BATCH_SIZES}

    def warm_up(self) -> None:
        for size in self._graphs:
            self(np.zeros((size, 256), np.uint8))

    def __call__(self, x: Rows) -> NDArray[np.float32]:
        """Rows (N, 256) -> (N, 2); the second column is the probability of malicious."""
        scores = np.zeros((len(x), 2), np.float32)
        for start in range(0, len(x), BATCH_SIZES[-1]):
            part = x[start : start + BATCH_SIZES[-1]]
            size = next(size for size in BATCH_SIZES if size >= len(part))
            padded = part if size == len(part) else np.concatenate((part, np.zeros((size - len(part), 256), np.uint8)))
            scores[start : start + len(part), 1] = self._graphs[size](padded)[: len(part), 0]
        return scores


def _compiled(network: Any, size: int) -> Any:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    @tf.function(jit_compile=size <= XLA_SIZE)  # type: ignore[untyped-decorator]
    def forward(x: Any) -> Any:
        return network(tf.reshape(tf.cast(x, tf.float32), (size, 16, 16, 1)))

    made = forward.get_concrete_function(tf.TensorSpec((size, 256), tf.uint8))
    if size > XLA_SIZE:
        made = convert_variables_to_constants_v2(made)
    captured = list(made.captured_inputs)

    def run(x: Rows) -> NDArray[np.float32]:
        out = made.inference_fn.call_preflattened([tf.constant(x), *captured])
        return np.asarray(out[0] if isinstance(out, (list, tuple)) else out)

    return run


def scorer() -> Compiled | Scorer:
    """The network, warm, on as many threads as VERDICT_PEER_THREADS says."""
    set_threads(int(os.environ.get("VERDICT_PEER_THREADS", "1")))  # before the network's first operation
    artifact = Artifact.load(SEED)
    made = Scorer(artifact) if os.environ.get(SCORER) == "ours" else Compiled(artifact)
    made.warm_up()
    return made


def verdicts(made: Compiled | Scorer, names: list[str]) -> list[dict[str, object]]:
    """What a peer answers for each name: as little as its users would."""
    scores = made(made.encoding([name.lower() for name in names]))[:, 1].tolist()
    return [{"score": round(score, 6), "label": "malicious" if score >= 0.5 else "benign"} for score in scores]
