"""The network in LiteRT (TensorFlow Lite), which runs few rows, and small networks, in a fraction of TensorFlow's time.

A call of TensorFlow costs a tenth of a millisecond beside the computation, ten times that with cold caches, as between
two idle questions. LiteRT's costs 5 us, 90 with cold caches.
"""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

_SAID = b"INFO: "  # begins what LiteRT's first interpreter prints, whatever its settings: that it has fast kernels
_saying = threading.Lock()
_said = False

Floats = NDArray[np.float32]


class LiteNetwork:
    """A frozen network, uint8 (B, ...) -> float32 (B, heads), for any B and, where it is open, any width.

    Each shape has interpreters of its own, one for each thread that computes at one time: one runs one call.
    """

    def __init__(self, frozen: Any) -> None:
        self._model = _converted(frozen)
        self._idle: dict[tuple[int, ...], list[_Interpreter]] = {}

    def __call__(self, x: NDArray[Any], shape: tuple[int, ...] | None = None) -> Floats:
        """The outputs for rows of the network's own form or, flat and perhaps too few and too short, for a batch of
        this `shape`: zeros stand for the rest.
        """
        shape = shape or x.shape
        idle = self._idle.setdefault(shape, [])
        try:
            interpreter = idle.pop()
        except IndexError:
            interpreter = _Interpreter(self._model, shape)
        out = interpreter(x)
        idle.append(interpreter)
        return out


class _Interpreter:
    def __init__(self, model: bytes, shape: tuple[int, ...]) -> None:
        from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

        with _quiet():
            made = Interpreter(model_content=model, num_threads=1)
            self._input = made.get_input_details()[0]["index"]
            made.resize_tensor_input(self._input, list(shape))
            made.allocate_tensors()
        self._output = made.get_output_details()[0]["index"]
        self._made = made

    def __call__(self, x: NDArray[Any]) -> Floats:
        # Written where LiteRT reads it: as an array of its own it would be memory that the system has to clear first.
        cells = self._made.tensor(self._input)()
        cells = cells.reshape(len(cells), -1)
        rows = x.reshape(len(x), -1)
        count, width = rows.shape
        cells[:count, :width] = rows
        cells[:count, width:] = 0
        cells[count:] = 0
        del cells  # LiteRT does not run while it is looked at
        self._made.invoke()
        out: Floats = self._made.get_tensor(self._output)
        return out


@contextmanager
def _quiet() -> Iterator[None]:
    """What is written to standard error meanwhile, by whomever, comes after, without what LiteRT says once."""
    global _said
    if _said:
        yield
        return
    with _saying, open(os.memfd_create("stderr"), "w+b", 0) as kept:
        error = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(error, 2)
            os.close(error)
            _said = True
            kept.seek(0)
            for line in kept:
                if not line.startswith(_SAID):
                    os.write(2, line)


def lite(frozen: Any, cells: Sequence[int]) -> LiteNetwork | None:
    """The frozen network in LiteRT, or None where it cannot compute a row of these cells, or is not there at all."""
    try:
        made = LiteNetwork(frozen)
        made(np.zeros((1, *cells), np.uint8))
        return made
    except Exception as error:  # the converter's errors have no kind in common
        log.warning("the network goes through TensorFlow alone, LiteRT cannot take it: %s", error)
        return None


def _converted(frozen: Any) -> bytes:
    """By its weights as constants, without which LiteRT's fast kernels are not used; and not by way of a saved model,
    which takes four times as long, for half a second of which no other thread of this process goes on."""
    import tensorflow as tf

    # With no object TensorFlow warns of one that holds the weights; here the function itself does.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], trackable_obj=frozen)
    converter.experimental_lower_to_saved_model = False
    model: bytes = converter.convert()
    return model
