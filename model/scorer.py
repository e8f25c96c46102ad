"""The network as it is served: traced once, run on batches of few sizes, never traced while a question waits."""

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.artifact import Artifact
from model.encoding import Rows
from model.lite import LiteNetwork, lite
from model.runs import START, START_GPU, Runs

BATCH_SIZES = (1, 16, 64, 256, 1024)
# On a CPU LiteRT takes 0.3 to 1.0 of TensorFlow's time up to so many rows, from 64 on 1.1 to 1.3 times as much; for a
# network as small as the seed's (3,000 parameters) 0.1 to 0.4, and least by rows of 256: 2.4 us a name, by 1,024 4.4.
LITE_ROWS = 16
LITE_PARAMETERS = 20_000
LITE_MOST = 256
LEAST = np.float32(1e-7)  # of a probability, so that it has a logit
Scores = NDArray[np.float32]  # (N, 2): generated, score


class Scorer:
    """Scores rows with an artifact's network and calibration.

    A batch is split over runs of `batch_sizes` by the encoding's widths, or the one width that a network takes, and
    padded where that is cheaper (`model.runs`): zeros beyond a name's end change no score. `threads` is TensorFlow's
    threads inside one operation (None: its own choice); it can be set only before TensorFlow first computes. On a CPU
    LiteRT computes what it is faster at, unless `by_lite` is false.
    """

    def __init__(
        self,
        artifact: Artifact,
        batch_sizes: Sequence[int] = BATCH_SIZES,
        threads: int | None = None,
        by_lite: bool = True,
    ):
        if not batch_sizes or sorted(set(batch_sizes)) != list(batch_sizes) or batch_sizes[0] < 1:
            raise ValueError(f"batch sizes {tuple(batch_sizes)}: expected growing numbers of at least 1")
        if threads is not None:
            set_threads(threads)
        self.artifact = artifact
        self.batch_sizes = tuple(batch_sizes)
        self.encoding = artifact.encoding
        cells = artifact.network.input_shape[1:]  # one that is closed takes rows of the whole width alone
        self._widths = self.encoding.widths if None in cells else (self.encoding.width,)
        on_gpu = _served_by_tensorflow() and _has_gpu()
        frozen = _frozen(artifact.network) if _served_by_tensorflow() else None
        self._whole = _by_tensorflow(frozen) if frozen else None  # of any shape
        self._lite: LiteNetwork | None = None
        self._lite_rows = 0
        self.alone: float = 0  # so many rows LiteRT alone computes, in the thread that asks; TensorFlow has its own
        small = artifact.network.count_params() <= LITE_PARAMETERS
        rows = LITE_MOST if small else LITE_ROWS
        fitting = [size for size in batch_sizes if size <= rows]
        if by_lite and fitting and frozen and not on_gpu:
            self._lite = lite(frozen, cells_of(cells, self.encoding.width))
        if self._lite:
            self._lite_rows, self.alone = rows, math.inf if small else fitting[-1]
            batch_sizes = fitting if small else batch_sizes
        self._runs = Runs(batch_sizes, self._widths, LITE_ROWS, START_GPU if on_gpu else START)
        self._graphs: dict[tuple[int, int], Any] = {}
        self._compiling = threading.Lock()

    def warm_up(self) -> None:
        """Run every size and width once, so that no question pays for it."""
        for graph in self._runs.graphs:
            self._run(np.zeros(graph, np.uint8), *graph)

    def __call__(self, x: Rows) -> Scores:
        """Score encoded names: uint8 (N, w) -> float32 (N, 2), generated and score, calibrated. Beyond w is zero."""
        if x.ndim != 2 or not 0 < x.shape[1] <= self.encoding.width or x.dtype != np.uint8:
            raise ValueError(f"rows {x.dtype} {x.shape}: expected uint8 (N, {self.encoding.width}) or narrower")
        return self.calibrated(self.logits(x))

    def logits(self, x: Rows) -> NDArray[np.float32]:
        """The network's raw outputs, float32 (N, heads)."""
        if len(x) == 1 and self.batch_sizes[0] == 1:  # an idle question: there is nothing to plan
            return self._run(x, 1, self._runs.width(1, self._narrowest(x[0])))
        out = np.empty((len(x), len(self.artifact.manifest.heads)), np.float32)
        group = self._by_width(x)
        order = None if group is None else np.argsort(group, kind="stable")
        counts = [len(x)] if group is None else np.bincount(group, minlength=len(self._widths)).tolist()
        for run in self._runs.plan(counts):
            if run.last - run.first == len(x):
                return self._run(x, run.size, run.width)  # nothing to sort
            rows = slice(run.first, run.last) if order is None else order[run.first : run.last]
            out[rows] = self._run(x[rows], run.size, run.width)
        return out

    def calibrated(self, logits: NDArray[np.float32]) -> Scores:
        """Probabilities of the heads' logits, (N, heads) -> (N, 2)."""
        manifest = self.artifact.manifest
        scores = np.zeros((len(logits), 2), np.float32)
        for column, head in enumerate(manifest.heads):
            scores[:, ("generated", "malicious").index(head)] = manifest.calibration[head](logits[:, column])
        return scores

    def _by_width(self, x: Rows) -> NDArray[np.int64] | None:
        """For each row the number of the narrowest width that holds it, (N,); None where there is one width."""
        if len(self._widths) == 1:
            return None
        group = np.zeros(len(x), np.int64)
        for narrow in self._widths[:-1]:
            group += x[:, narrow:].any(axis=1)
        return group

    def _narrowest(self, row: NDArray[np.uint8]) -> int:
        """The narrowest width that holds this row."""
        return next((narrow for narrow in self._widths[:-1] if not row[narrow:].any()), self._widths[-1])

    def _run(self, x: Rows, size: int, width: int) -> NDArray[np.float32]:
        """The outputs of rows (n, w) on the graph of this size, n or more, and width, beyond which they are zero."""
        graph = self._graphs.get((size, width))
        if graph is None:
            with self._compiling:
                graph = self._graphs.get((size, width)) or self._made((size, width))
                self._graphs[size, width] = graph
        return np.asarray(graph(x[:, :width]))[: len(x)]

    def _made(self, shape: tuple[int, int]) -> Any:
        """A function uint8 (n, w) -> logits (B, heads) for this shape (B, W); what is missing of it are zeros."""
        network = self.artifact.network
        form = (shape[0], *cells_of(network.input_shape[1:], shape[1]))
        if (small := self._lite) and shape[0] <= self._lite_rows:
            return _by(lambda x: small(x, form), self.artifact)
        if whole := self._whole:
            return _padded(_by(lambda x: whole(x.reshape(form)), self.artifact), shape)
        dtype = np.dtype(str(network.inputs[0].dtype))  # right, and slower
        return _padded(_by(lambda x: network(x.astype(dtype).reshape(form), training=False), self.artifact), shape)


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


def _padded(graph: Callable[[Rows], Any], shape: tuple[int, int]) -> Callable[[Rows], Any]:
    """The graph of rows of this shape, called with fewer and shorter ones."""

    def forward(x: Rows) -> Any:
        if x.shape != shape:
            padded = np.zeros(shape, np.uint8)
            padded[: len(x), : x.shape[1]] = x
            x = padded
        return graph(x)

    return forward


def _frozen(network: Any) -> Any:
    """The network as a function of octets, uint8 (B, ...) -> float32 (B, heads), traced once, for any number of rows
    and, where it is open, any width; weights as constants.

    A graph for each shape scored 1 to 5 % more names a second, which is within what a machine varies; of a network of
    300 operations each of twelve took more than a second of processor time, and 30 MiB.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    x = network.inputs[0]

    # AutoGraph would write what it rewrites into the folder for temporary files, and leave it there if we are killed.
    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def forward(rows: Any) -> Any:
        return tf.cast(network(tf.cast(rows, x.dtype), training=False), tf.float32)

    return convert_variables_to_constants_v2(forward.get_concrete_function(tf.TensorSpec(x.shape, tf.uint8)))


def _by_tensorflow(frozen: Any) -> Callable[[Rows], Any]:
    """A call of the frozen network."""
    import tensorflow as tf

    captured = list(frozen.captured_inputs)
    # By the order of its arguments. TensorFlow's own call looks for their names first, which a frozen function has
    # lost: each call failed once, with an error into which the rows were printed, before it went by the order.
    return lambda x: frozen.inference_fn.call_preflattened([tf.constant(x), *captured])[0]


def _by(network: Callable[[Rows], Any], artifact: Artifact) -> Callable[[Rows], NDArray[np.float32]]:
    """The logits by a call of the artifact's network."""
    from keras import ops

    probabilities = _gives_probabilities(artifact)

    def forward(x: Rows) -> NDArray[np.float32]:
        out: NDArray[np.float32] = network(x)
        if not isinstance(out, np.ndarray):
            out = np.asarray(ops.convert_to_numpy(out), np.float32)
        if probabilities:
            out = np.clip(out, LEAST, 1 - LEAST)
            out = np.log(out) - np.log1p(-out)
        return out

    return forward


def _gives_probabilities(artifact: Artifact) -> bool:
    return artifact.manifest.network == "seed"  # its last layer is a sigmoid, as in 2020


def _served_by_tensorflow() -> bool:
    import keras

    return str(keras.config.backend()) == "tensorflow"


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def cells_of(cells: tuple[int | None, ...], width: int) -> tuple[int, ...]:
    """The network's input shape for rows of this width."""
    return tuple(width if size is None else size for size in cells)
