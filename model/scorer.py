"""The network as it is served: compiled once for each batch size, never traced while a question waits."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.artifact import Artifact
from model.encoding import Rows
from model.runs import START, START_GPU, Runs

BATCH_SIZES = (1, 16, 64, 256, 1024)
XLA_SIZE = 16  # up to this batch XLA takes 0.2 to 0.7 of oneDNN's time on a CPU, from 64 on 1.2 to 2 times as much
Scores = NDArray[np.float32]  # (N, 2): generated, score


class Scorer:
    """Scores rows with an artifact's network and calibration.

    A batch is split over graphs of `batch_sizes` by the encoding's widths, padded where that is cheaper (`model.runs`):
    zeros beyond a name's end change no score. `threads` is TensorFlow's
    threads inside one operation (None: its own choice); it can be set only before TensorFlow first computes.
    """

    def __init__(self, artifact: Artifact, batch_sizes: Sequence[int] = BATCH_SIZES, threads: int | None = None):
        if not batch_sizes or sorted(set(batch_sizes)) != list(batch_sizes) or batch_sizes[0] < 1:
            raise ValueError(f"batch sizes {tuple(batch_sizes)}: expected growing numbers of at least 1")
        if threads is not None:
            set_threads(threads)
        self.artifact = artifact
        self.batch_sizes = tuple(batch_sizes)
        self.encoding = artifact.encoding
        on_gpu = _served_by_tensorflow() and _has_gpu()
        self._runs = Runs(batch_sizes, self.encoding.widths, XLA_SIZE, START_GPU if on_gpu else START)
        self._graphs: dict[tuple[int, int], Any] = {}
        self._compiling = threading.Lock()

    def warm_up(self) -> None:
        """Compile and run every graph once, so that no question pays for it."""
        for graph in self._runs.graphs:
            self._run(np.zeros(graph, np.uint8))

    def __call__(self, x: Rows) -> Scores:
        """Score encoded names: uint8 (N, W) -> float32 (N, 2), generated and score, calibrated."""
        if x.ndim != 2 or x.shape[1] != self.encoding.width or x.dtype != np.uint8:
            raise ValueError(f"rows {x.dtype} {x.shape}: expected uint8 (N, {self.encoding.width})")
        return self.calibrated(self.logits(x))

    def logits(self, x: Rows) -> NDArray[np.float32]:
        """The network's raw outputs, float32 (N, heads)."""
        out = np.empty((len(x), len(self.artifact.manifest.heads)), np.float32)
        group = self._by_width(x)
        order = np.argsort(group, kind="stable")
        for run in self._runs.plan(np.bincount(group, minlength=len(self.encoding.widths)).tolist()):
            if run.size == len(x) and run.width == x.shape[1]:
                return self._run(x)  # a full frame: nothing to sort, nothing to pad
            rows = order[run.first : run.last]
            padded = np.zeros((run.size, run.width), np.uint8)
            padded[: len(rows)] = x[rows, : run.width]
            out[rows] = self._run(padded)[: len(rows)]
        return out

    def calibrated(self, logits: NDArray[np.float32]) -> Scores:
        """Probabilities of the heads' logits, (N, heads) -> (N, 2)."""
        manifest = self.artifact.manifest
        scores = np.zeros((len(logits), 2), np.float32)
        for column, head in enumerate(manifest.heads):
            scores[:, ("generated", "malicious").index(head)] = manifest.calibration[head](logits[:, column])
        return scores

    def _by_width(self, x: Rows) -> NDArray[np.int64]:
        """For each row the number of the narrowest width that holds it, (N,)."""
        group = np.zeros(len(x), np.int64)
        for narrow in self.encoding.widths[:-1]:
            group += x[:, narrow:].any(axis=1)
        return group

    def _run(self, x: Rows) -> NDArray[np.float32]:
        graph = self._graphs.get(x.shape)
        if graph is None:
            with self._compiling:
                made = _compiled if _served_by_tensorflow() else _through_keras
                graph = self._graphs.get(x.shape) or made(self.artifact, x.shape)
                self._graphs[x.shape] = graph
        return np.asarray(graph(x))


def set_threads(threads: int) -> None:
    """Bound TensorFlow's threads; harmless when they already have this bound, else an error from TensorFlow.

    Another backend of Keras has settings of its own for that, and is left as it is.
    """
    if not _served_by_tensorflow():
        return
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _compiled(artifact: Artifact, shape: tuple[int, ...]) -> Any:
    """A function uint8 (B, W) -> logits (B, heads), traced for this shape alone, weights as constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    network = artifact.network
    probabilities = artifact.manifest.network == "seed"  # its last layer is a sigmoid, as in 2020
    cells = network.input_shape[1:]

    fused = shape[0] <= XLA_SIZE and not _has_gpu()

    @tf.function(jit_compile=fused, reduce_retracing=False)  # type: ignore[untyped-decorator]
    def forward(x: Any) -> Any:
        out = network(tf.reshape(tf.cast(x, network.inputs[0].dtype), (shape[0], *cells_of(cells, shape[1]))))
        if probabilities:
            out = tf.clip_by_value(out, 1e-7, 1 - 1e-7)
            out = tf.math.log(out) - tf.math.log1p(-out)
        return tf.cast(out, tf.float32)

    concrete = forward.get_concrete_function(tf.TensorSpec(shape, tf.uint8))
    if fused:
        return _called_flat(concrete)
    frozen = _called_flat(convert_variables_to_constants_v2(concrete))
    return lambda x: frozen(x)[0]


def _called_flat(concrete: Any) -> Any:
    """A call of a traced function by the order of its arguments.

    TensorFlow's own call looks for their names first. A frozen function has lost them: each call failed once, with an
    error into which the rows were printed, which took half a millisecond, before it went by the order.
    """
    import tensorflow as tf

    captured = list(concrete.captured_inputs)
    return lambda x: concrete.inference_fn.call_preflattened([tf.constant(x), *captured])


def _through_keras(artifact: Artifact, shape: tuple[int, ...]) -> Any:
    """The same on another backend of Keras, for training where TensorFlow is not installed: right, and slower."""
    from keras import ops

    network = artifact.network
    dtype = np.dtype(str(network.inputs[0].dtype))
    cells = cells_of(network.input_shape[1:], shape[1])

    def forward(x: Rows) -> NDArray[np.float32]:
        found = network(x.astype(dtype).reshape(len(x), *cells), training=False)
        out = np.asarray(ops.convert_to_numpy(found), np.float32)
        if artifact.manifest.network == "seed":
            out = np.clip(out, 1e-7, 1 - 1e-7)
            out = np.log(out) - np.log1p(-out)
        return out

    return forward


def _served_by_tensorflow() -> bool:
    import keras

    return str(keras.config.backend()) == "tensorflow"


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def cells_of(cells: tuple[int | None, ...], width: int) -> tuple[int, ...]:
    """The network's input shape for rows of this width."""
    return tuple(width if size is None else size for size in cells)
