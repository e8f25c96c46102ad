"""The character CNN: one small residual network over a name's segments, two heads, one of them also wide.

Written with Keras 3 alone, so that it trains on any backend. Padding is masked after every convolution: the scores
of a name do not depend on how far it is padded, and short names may run on a narrower graph.
"""

from typing import Any

import msgspec

from model.encoding import SEGMENT


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters."""

    embedding: int = 32
    channels: int = 80
    blocks: int = 3  # residual blocks after the pooling
    dense: int = 128
    dropout: float = 0.1
    grams: int = 32_749  # rows of each table of hashed 3-, 4- and 5-grams, a prime; 0: no such tables
    gram_width: int = 4  # numbers a row


def build(shape: Shape = Shape()) -> Any:  # noqa: B008 - frozen
    """The network: tokens uint8 (B, W), W a multiple of 2 -> logits (B, 2), generated and malicious."""
    import keras
    from keras import layers, ops

    tokens = keras.Input((None,), dtype="int32", name="tokens")  # (B, W)
    present = ops.expand_dims(ops.cast(ops.not_equal(tokens, 0), "float32"), -1)  # (B, W, 1)
    x = layers.Embedding(192, shape.embedding)(tokens)  # (B, W, E)
    x = layers.Multiply()([x, present])
    x = layers.Conv1D(shape.channels, 5, padding="same", activation="relu")(x)  # (B, W, C)
    x = layers.Multiply()([x, present])
    x = layers.MaxPooling1D(2)(x)  # (B, W/2, C)
    present = layers.MaxPooling1D(2)(present)
    for _ in range(shape.blocks):
        y = layers.Conv1D(shape.channels, 3, padding="same", activation="relu")(x)
        x = layers.Add()([x, y])
        x = layers.Multiply()([x, present])
    peak = layers.GlobalMaxPooling1D()(x)  # (B, C); activations are never negative, so padding never wins
    total = ops.sum(x, axis=1)
    length = ops.sum(present, axis=1)
    mean = ops.divide(total, ops.maximum(length, 1.0))  # (B, C)
    deep = layers.Concatenate()([peak, mean, ops.multiply(length, 1 / 16)])
    deep = layers.Dropout(shape.dropout)(layers.Dense(shape.dense, activation="relu")(deep))
    if not shape.grams:
        return keras.Model(tokens, layers.Dense(2, name="logits")(deep), name="segments")
    both = layers.Concatenate()([deep, *wide(tokens, shape)])
    heads = [layers.Dense(1, name="generated")(deep), layers.Dense(1, name="malicious")(both)]
    return keras.Model(tokens, layers.Concatenate(name="logits")(heads), name="segments")


def wide(tokens: Any, shape: Shape) -> list[Any]:
    """Sums of learnt rows over the hashed 3-, 4- and 5-grams of a name: tokens (B, W) -> three of (B, gram_width).

    For the malicious head alone: feeds repeat brands and bait word by word, which a small convolution cannot hold,
    while grams learnt of one generated family say nothing of the next. A character class has 6 bits, so that five
    make one exact integer of 30; its remainder by a prime is the row.
    """
    from keras import layers, ops

    classes = ops.mod(tokens, SEGMENT)  # (B, W)
    code, sums = classes, []
    for size in (2, 3, 4, 5):
        later = ops.pad(classes[:, size - 1 :], ((0, 0), (0, size - 1)))
        code = ops.add(ops.multiply(code, SEGMENT), later)
        if size > 2:
            table = layers.Embedding(shape.grams, shape.gram_width, name=f"grams_{size}")
            whole = ops.expand_dims(ops.cast(ops.not_equal(later, 0), "float32"), -1)  # (B, W, 1)
            sums.append(ops.sum(ops.multiply(table(ops.mod(code, shape.grams)), whole), axis=1))
    return sums


def masked_loss(truth: Any, logits: Any) -> Any:
    """Mean loss of both heads, (B, 2) and (B, 2) -> scalar.

    Truth is 0 or 1; -1: unknown, no loss; 2: positive by a feed that errs, judged by a bounded loss (generalised
    cross-entropy with q = 0.7, Zhang and Sabuncu 2018) instead of cross-entropy.
    """
    from keras import ops

    truth = ops.cast(truth, "float32")
    known = ops.cast(truth >= 0, "float32")
    noisy = ops.cast(truth > 1.5, "float32")
    target = ops.clip(truth, 0, 1)
    exact = ops.maximum(logits, 0) - logits * target + ops.log1p(ops.exp(-ops.absolute(logits)))
    bounded = (1 - ops.power(ops.clip(ops.sigmoid(logits), 1e-6, 1.0), 0.7)) / 0.7
    return ops.sum(known * ((1 - noisy) * exact + noisy * bounded)) / ops.maximum(ops.sum(known), 1.0)
