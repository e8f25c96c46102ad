"""The character CNN: one small residual network over a name's segments, two heads.

What a filter found anywhere in the name is kept as maximum and mean, and what was found at each of the first places of
the registered label as it stands: words may be anywhere, but many families are known by what comes where.

What is on feeds is known by its words for the most part, and of these there are more than filters: beside the network
a head may have a weight for each sequence of two to seven characters, by its hash (Cheng et al. 2016, "Wide & deep
learning for recommender systems"; Weinberger et al. 2009, "Feature hashing for large scale multitask learning").

Written with Keras 3 alone, so that it trains on any backend. Padding is masked after every convolution: the scores
of a name do not depend on how far it is padded, and short names may run on a narrower graph.
"""

from typing import Any

import msgspec

from model.encoding import SEGMENT

HARDEST = 10  # benign names of a batch that every generated one is compared with: about 2 % of them
PAIRED = 0.5  # weight of those comparisons
BOUND = 0.4  # q of the bounded loss: 0 is cross-entropy, 1 the mean absolute error

# The wide part. A prime and buckets that it multiplies within 31 bits, which is what every backend's integers hold.
LONGEST = 7  # characters of a sequence
PRIME = 4093
BUCKETS = 524_287
DOUBT = "doubt"  # the layer that scales and shifts what `generated` takes from its wide part
START = 255  # a token that no character has, before the first one
# What the network says of a head counts by so much beside its wide part while that is taught: the network knows the
# teaching names by heart, and beside more of it the wide part would learn little. Chosen on the tune part, of 0 to 1.
BESIDE = {"generated": 0.5, "malicious": 0.25}
HEADS = list(BESIDE)
# Ever after, of `malicious`. Of 0.25 to 2.25: the more, the fewer names of feeds are found, the more generated ones.
COUNTS = 2.25
# The wide part of `generated` only takes away: what it is below a shift, by this much. Added like the other, it finds
# less where hardly any benign name may be, which is where tier block begins. Of 1 to 1/6.
TAKES = 0.25


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters. The defaults are also those of manifests that were written before a field was there."""

    embedding: int = 32
    channels: int = 80
    blocks: int = 3  # residual blocks after the pooling
    dense: int = 128
    dropout: float = 0.2
    places: int = 0  # pairs of characters, from the start of the registered label on, that keep their place
    place_channels: int = 24  # what is kept of each
    grams: int = 0  # buckets of a wide part, at most BUCKETS; 0: there is none
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
    sequences = _sequences(tokens, shape)
    heads = []
    for head in HEADS:
        plain = layers.Dense(1, name=head)(x)
        if head not in shape.worded:
            heads.append(plain)
            continue
        words = _wide(sequences, head, shape)
        if head == "malicious":
            heads.append(ops.add(words, ops.multiply(plain, COUNTS)))
        else:
            doubt = layers.Dense(1, kernel_initializer=keras.initializers.Constant(TAKES), name=DOUBT)(words)
            heads.append(ops.add(plain, ops.minimum(doubt, 0.0)))
    return keras.Model(tokens, layers.Concatenate(name="logits")(heads), name="segments")


def wide_layers(head: str) -> tuple[str, str]:
    """The names of the two layers that a head's wide part has: weights of sequences, and what scales their sum."""
    after = "" if head == "malicious" else f"_{head}"  # which had one first
    return f"grams{after}", f"words{after}"


def has_wide(network: Any, head: str) -> bool:
    """Whether the head has a wide part."""
    return any(layer.name == wide_layers(head)[0] for layer in network.layers)


def by_words(network: Any, head: str) -> Any:
    """The same layers, this head as it is while its wide part is taught alone, the other one without its own."""
    import keras
    from keras import ops

    outputs = {name: network.get_layer(name).output for name in HEADS}
    words = network.get_layer(wide_layers(head)[1]).output
    outputs[head] = ops.add(words, ops.multiply(outputs[head], BESIDE[head]))
    return keras.Model(network.input, keras.layers.Concatenate()(list(outputs.values())))


def doubt_below(network: Any, shift: float) -> None:
    """Let the wide part of `generated` take away where what it says, as `words_of` gives it, is below this."""
    layer = network.get_layer(DOUBT)
    kernel, bias = layer.get_weights()
    layer.set_weights([0 * kernel + TAKES, 0 * bias - TAKES * shift])


def words_of(network: Any, head: str) -> Any:
    """The same layers, giving what the head's wide part alone says, (B, 1)."""
    import keras

    return keras.Model(network.input, network.get_layer(wide_layers(head)[1]).output)


def grown(network: Any, shape: Shape) -> Any:
    """A network of this `shape` with the weights of one that has fewer wide parts, and new ones that know nothing."""
    new = build(shape)
    named = {DOUBT, *(name for head in HEADS for name in (head, *wide_layers(head)))}
    inside, before = (
        [layer for layer in one.layers if layer.weights and layer.name not in named] for one in (new, network)
    )
    for layer, old in zip(inside, before, strict=False):  # of a network without a wide part "logits" is left
        layer.set_weights(old.get_weights())
    if not any(has_wide(network, head) for head in HEADS):
        kernel, bias = network.get_layer("logits").get_weights()
        for column, head in enumerate(HEADS):
            new.get_layer(head).set_weights([kernel[:, column : column + 1], bias[column : column + 1]])
        return new
    for layer in network.layers:
        if layer.weights and layer.name in named:
            new.get_layer(layer.name).set_weights(layer.get_weights())
    return new


def _sequences(tokens: Any, shape: Shape) -> tuple[Any, Any, Any]:
    """The name's sequences by their hash, which of them are there, and the root of their number: (B, W) -> (B, S),
    (B, S), (B, 1)."""
    from keras import ops

    start = ops.full_like(tokens[:, :1], START)
    marked = ops.concatenate([start, tokens], axis=1)  # (B, W + 1)
    code, codes, there = marked, [], []
    for length in range(2, LONGEST + 1):
        last = marked[:, length - 1 :]
        code = ops.mod(code[:, :-1] * PRIME + last, shape.grams)
        codes.append(code)
        there.append(ops.cast(last > 0, "float32"))  # names begin at the left: who ends within it is whole
    known = ops.concatenate(there, axis=1)
    count = ops.maximum(ops.sum(known, axis=1, keepdims=True), 1.0)
    return ops.concatenate(codes, axis=1), known, ops.sqrt(count)


def _wide(sequences: tuple[Any, Any, Any], head: str, shape: Shape) -> Any:
    """The weights of the name's sequences, summed, over the root of their number, scaled and shifted: (B, 1).

    A mean would drown the one word that tells, a sum grows with the length of the name.
    """
    from keras import layers, ops

    codes, known, root = sequences
    grams, words = wide_layers(head)
    weights = layers.Embedding(shape.grams, 1, embeddings_initializer="zeros", name=grams)(codes)
    weights = layers.Dropout(shape.dropout)(ops.multiply(weights[:, :, 0], known))
    found = ops.divide(ops.sum(weights, axis=1, keepdims=True), root)
    return layers.Dense(1, kernel_initializer="ones", name=words)(found)


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
