"""A teacher: a transformer over the same characters, some forty times as large and as dear as the network it teaches.

Before it learns what is malicious it learns what names look like: characters are hidden, and it says which they were
(Devlin et al. 2019, "BERT"). It goes on doing so a little afterwards. It is trained on a GPU and meant to be served
nowhere: what it knows, a network learns from it that is fast enough to ask of every query (`model.distil`).

Written with Keras 3 alone, as the other, with the same inputs and the same two heads.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.encoding import CLASSES, SEGMENT

LONGEST = 96  # characters of a row
HIDDEN = CLASSES  # the class of a character that is not shown; its segment is
SPREAD = 100.0  # more than what lies between any two activations after the last normalisation


class Attention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters."""

    width: int = 256
    depth: int = 8  # blocks of attention and dense layers
    heads: int = 4
    dropout: float = 0.1
    dense: int = 256


def build(shape: Attention = Attention()) -> Any:  # noqa: B008 - frozen
    """The network: tokens uint8 (B, W) -> logits (B, 2), generated and malicious, and of each character (B, W, 41)."""
    import keras
    from keras import layers, ops

    tokens = keras.Input((None,), dtype="int32", name="tokens")  # (B, W)
    present = ops.not_equal(tokens, 0)
    subdomain = ops.logical_and(tokens > 0, tokens < SEGMENT)
    start = ops.sum(ops.cast(subdomain, "int32"), axis=1, keepdims=True)  # (B, 1)
    there = ops.cumsum(ops.ones_like(tokens), axis=1) - 1  # (B, W)
    # Places from the name's start, and from that of the registered label.
    x = layers.Add()([
        layers.Embedding(4 * SEGMENT, shape.width)(tokens),
        layers.Embedding(LONGEST, shape.width)(there),
        layers.Embedding(2 * LONGEST, shape.width)(there - start + LONGEST),
    ])  # (B, W, D) # fmt: skip
    x = layers.Multiply()([x, ops.expand_dims(ops.cast(present, "float32"), -1)])
    x = layers.Add()([x, layers.Conv1D(shape.width, 5, padding="same", activation="gelu")(x)])
    seen = ops.expand_dims(present, 1)  # (B, 1, W): padding is not attended to
    for _ in range(shape.depth):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.MultiHeadAttention(shape.heads, shape.width // shape.heads)(y, y, attention_mask=seen)
        x = layers.Add()([x, layers.Dropout(shape.dropout)(y)])
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.Dense(shape.width)(layers.Dense(4 * shape.width, activation="gelu")(y))
        x = layers.Add()([x, layers.Dropout(shape.dropout)(y)])
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    characters = layers.Dense(CLASSES, dtype="float32", name="characters")(x)
    shown = ops.expand_dims(ops.cast(present, x.dtype), -1)  # (B, W, 1)
    peak = ops.max(x + (shown - 1) * SPREAD, axis=1)
    mean = ops.divide(ops.sum(x * shown, axis=1), ops.maximum(ops.sum(shown, axis=1), 1.0))  # (B, D)
    found = layers.Dense(shape.dense, activation="gelu")(layers.Concatenate()([peak, mean]))
    logits = layers.Dense(2, dtype="float32", name="logits")(layers.Dropout(2 * shape.dropout)(found))
    return keras.Model(tokens, [logits, characters], name="attention")


def hide(rng: np.random.Generator, x: NDArray[np.int32], share: float) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Tokens (B, W) with this share of the characters hidden, and what those were: classes (B, W), 0 of the others."""
    chosen = (rng.random(x.shape) < share) & (x > 0)
    return np.where(chosen, HIDDEN + x // SEGMENT * SEGMENT, x), np.where(chosen, x % SEGMENT, 0)


def characters_loss(truth: Any, logits: Any) -> Any:
    """Mean cross-entropy of hidden characters: classes (B, W), 0 where none was hidden, and (B, W, 41) -> scalar."""
    from keras import ops

    truth = ops.cast(truth, "int32")
    asked = ops.cast(truth > 0, "float32")
    found = ops.sum(ops.one_hot(truth, CLASSES) * ops.log_softmax(logits), axis=-1)
    return -ops.sum(found * asked) / ops.maximum(ops.sum(asked), 1.0)
