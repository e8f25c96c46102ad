"""The character CNN: one small residual network over a name's segments, two heads.

What a filter found anywhere in the name is kept as maximum and mean, and what was found at each of the first places of
the registered label as it stands: words may be anywhere, but many families are known by what comes where.

A head may have a wide part beside it, see `model.wide`.

Written with Keras 3 alone, so that it trains on any backend. Padding is masked after every convolution: the scores
of a name do not depend on how far it is padded, and short names may run on a narrower graph.
"""

from typing import Any

import msgspec

from model.encoding import SEGMENT
from model.wide import HEADS, widened

HARDEST = 10  # benign names of a batch that every generated one is compared with: about 2 % of them
PAIRED = 0.5  # weight of those comparisons
BOUND = 0.4  # q of the bounded loss: 0 is cross-entropy, 1 the mean absolute error


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters. The defaults are also those of manifests that were written before a field was there."""

    embedding: int = 32
    channels: int = 80
    blocks: int = 3  # residual blocks after the pooling
    dense: int = 128
    dropout: float = 0.2
    places: int = 0  # pairs of characters, from the start of the registered label on, that keep their place
    place_channels: int = 24  # what is kept of each
    grams: int = 0  # buckets of a wide part's sequences, at most those of `model.wide`; 0: there is none
    worded: list[str] = msgspec.field(default_factory=lambda: ["malicious"])  # heads that have one, where `grams` > 0


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
    found = [peak, mean, ops.multiply(length, 1 / 16)]
    if shape.places:
        found.append(_placed(tokens, x, present, shape))
    x = layers.Concatenate()(found)
    x = layers.Dropout(shape.dropout)(layers.Dense(shape.dense, activation="relu")(x))
    if not shape.grams:
        return keras.Model(tokens, layers.Dense(2, name="logits")(x), name="segments")
    heads = []
    for head in HEADS:
        plain = layers.Dense(1, name=head)(x)
        wide = head in shape.worded
        heads.append(widened(plain, tokens, head, shape.grams, shape.dropout) if wide else plain)
    return keras.Model(tokens, layers.Concatenate(name="logits")(heads), name="segments")


def _placed(tokens: Any, x: Any, present: Any, shape: Shape) -> Any:
    """The first places of the registered label: (B, W), (B, W/2, C) and (B, W/2, 1) -> (B, places * place_channels)."""
    from keras import layers, ops

    few = layers.Conv1D(shape.place_channels, 1, activation="relu")(x)
    few = layers.Multiply()([few, present])
    subdomain = ops.logical_and(tokens > 0, tokens < SEGMENT)
    start = ops.sum(ops.cast(subdomain, "int32"), axis=1, keepdims=True)  # (B, 1)
    wanted = ops.expand_dims(start // 2 + ops.expand_dims(ops.arange(shape.places), 0), 2)  # (B, places, 1)
    there = ops.cumsum(ops.cast(ops.ones_like(present), "int32"), axis=1) - 1  # (B, W/2, 1)
    # A product with ones and zeros, half as dear as a gather of rows; beyond the end: nothing.
    picked = ops.cast(ops.equal(wanted, ops.transpose(there, (0, 2, 1))), "float32")  # (B, places, W/2)
    kept = ops.matmul(picked, few)  # (B, places, place_channels)
    return layers.Reshape((shape.places * shape.place_channels,), name="places")(kept)


def masked_loss(truth: Any, logits: Any) -> Any:
    """Mean loss of both heads, (B, 2) and (B, 2) -> scalar.

    Truth is 0 or 1; -1: unknown, no loss; 2: positive by a feed that errs, judged by a bounded loss (generalised
    cross-entropy, Zhang and Sabuncu 2018) instead of cross-entropy.
    """
    from keras import ops

    truth = ops.cast(truth, "float32")
    known = ops.cast(truth >= 0, "float32")
    noisy = ops.cast(truth > 1.5, "float32")
    target = ops.clip(truth, 0, 1)
    exact = ops.maximum(logits, 0) - logits * target + ops.log1p(ops.exp(-ops.absolute(logits)))
    bounded = (1 - ops.power(ops.clip(ops.sigmoid(logits), 1e-6, 1.0), BOUND)) / BOUND
    return ops.sum(known * ((1 - noisy) * exact + noisy * bounded)) / ops.maximum(ops.sum(known), 1.0)


def low_rate_loss(truth: Any, logits: Any) -> Any:
    """The loss of both heads, and what `generated` loses where it does not rank machine-made names above the hardest
    benign ones of the batch: what counts at a low false-positive rate. (B, 2) and (B, 2) -> scalar."""
    from keras import ops

    generated = logits[:, 0]
    known = ops.cast(truth, "float32")[:, 0]
    benign = ops.where(ops.equal(known, 0.0), generated, -1e4)
    hardest = ops.top_k(ops.concatenate([benign, ops.full((HARDEST,), -1e4)]), HARDEST)[0]  # (HARDEST,)
    pairs = ops.mean(ops.softplus(hardest[None, :] - generated[:, None]), axis=1)  # (B,)
    machine = ops.cast(ops.equal(known, 1.0), "float32")
    return masked_loss(truth, logits) + PAIRED * ops.sum(machine * pairs) / ops.maximum(ops.sum(machine), 1.0)
