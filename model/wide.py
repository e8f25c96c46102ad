"""The wide part of a head: weights of what a name is made of, by hash, beside the network.

What is on feeds is known by its words for the most part, and of these there are more than filters; a family of
generated names is known by its form, as twelve letters without a vowel to spare under `.top`. Both are easily told and
hard to say in filters, so a head may have a weight for each (Cheng et al. 2016, "Wide & deep learning for recommender
systems"; Weinberger et al. 2009, "Feature hashing for large scale multitask learning"):

- `malicious` for each sequence of two to seven characters; they are added to what the network says.
- `generated` for each sequence of three to five, and for eight forms. They only raise what the network says, and not
  above a ceiling: a form tells which family it may be, not that a name is of no other kind, and what the network alone
  says above the ceiling, where tier block is, stays as it is.
"""

from typing import Any

# A prime and buckets that it multiplies within 31 bits, which is what every backend's integers hold.
PRIME = 4093
BUCKETS = {"generated": 131_071, "malicious": 524_287}  # of sequences
FORM_BUCKETS = 65_521
START = 255  # a token that no character has, before the first one
LENGTHS = {"generated": (3, 5), "malicious": (2, 7)}  # of sequences, shortest and longest
HEADS = list(LENGTHS)
# What the network says of a head counts by so much beside its wide part while that is taught: the network knows the
# teaching names by heart, and beside more of it the wide part would learn little. Chosen on the tune part, of 0 to 1.
BESIDE = {"generated": 0.5, "malicious": 0.25}
# Ever after, of `malicious`. Of 0.25 to 2.25: the more, the fewer names of feeds are found, the more generated ones.
COUNTS = 2.25
LEAK = 0.05  # of what goes beyond the ceiling: names there keep an order

LETTERS, LAST_HEX, DIGITS, HYPHEN, DOT = 26, 6, 36, 37, 39  # the last class of its kind, see `model.encoding`
VOWELS = (1, 5, 9, 15, 21)


def layers_of(head: str) -> tuple[str, ...]:
    """The names of the layers that teaching a head's wide part changes; the last one gives what it says."""
    return ("grams", "words") if head == "malicious" else ("grams_generated", "forms", "words_generated")


def has_wide(network: Any, head: str) -> bool:
    """Whether the head has a wide part."""
    return any(layer.name == layers_of(head)[0] for layer in network.layers)


def widened(plain: Any, tokens: Any, head: str, most: int, dropout: float) -> Any:
    """A head with its wide part of at most so many buckets, from what the network says of it and the tokens:
    (B, 1), (B, W) -> (B, 1)."""
    from keras import layers, ops

    buckets = min(most, BUCKETS[head])
    codes, there = sequences(tokens, head, buckets)
    grams, words = layers_of(head)[0], layers_of(head)[-1]
    said = _summed(codes, there, grams, buckets, dropout)
    if head == "malicious":
        said = layers.Dense(1, kernel_initializer="ones", name=words)(said)
        return ops.add(said, ops.multiply(plain, COUNTS))
    codes = forms(tokens)
    said = ops.add(said, _summed(codes, ops.ones_like(codes, dtype="float32"), "forms", FORM_BUCKETS, dropout))
    said = layers.Dense(1, kernel_initializer="ones", name=words)(said)
    # Both begin where they change nothing, and are moved by `raise_above`.
    raised = ops.add(plain, ops.relu(layers.Dense(1, kernel_initializer="ones", name="raised")(said)))
    beyond = ops.relu(layers.Dense(1, kernel_initializer="ones", name="beyond")(raised))
    return ops.maximum(plain, ops.subtract(raised, ops.multiply(beyond, 1 - LEAK)))


def raise_above(network: Any, least: float, ceiling: float) -> None:
    """Let the wide part of `generated` raise by what it says, as `words_of` gives it, above `least`, and not above
    the `ceiling`, both logits."""
    for name, shift in (("raised", least), ("beyond", ceiling)):
        layer = network.get_layer(name)
        kernel, bias = layer.get_weights()
        layer.set_weights([0 * kernel + 1, 0 * bias - shift])


def words_of(network: Any, head: str) -> Any:
    """The same layers, giving what the head's wide part alone says, (B, 1)."""
    import keras

    return keras.Model(network.input, network.get_layer(layers_of(head)[-1]).output)


def plain_of(network: Any, head: str) -> Any:
    """The same layers, giving what the network says of the head without its wide part, (B, 1)."""
    import keras

    return keras.Model(network.input, network.get_layer(head).output)


def by_words(network: Any, head: str) -> Any:
    """The same layers, this head as it is while its wide part is taught alone, the other one without its own."""
    import keras
    from keras import ops

    outputs = {name: network.get_layer(name).output for name in HEADS}
    words = network.get_layer(layers_of(head)[-1]).output
    outputs[head] = ops.add(words, ops.multiply(outputs[head], BESIDE[head]))
    return keras.Model(network.input, keras.layers.Concatenate()(list(outputs.values())))


def carry(network: Any, new: Any) -> None:
    """Give `new`, a network of the same layers and wide parts, or more of these, the weights of this one."""
    named = {*HEADS, "raised", "beyond", *(name for head in HEADS for name in layers_of(head))}
    inside, before = (
        [layer for layer in one.layers if layer.weights and layer.name not in named] for one in (new, network)
    )
    for layer, old in zip(inside, before, strict=False):  # of a network without a wide part "logits" is left
        layer.set_weights(old.get_weights())
    if not any(has_wide(network, head) for head in HEADS):
        kernel, bias = network.get_layer("logits").get_weights()
        for column, head in enumerate(HEADS):
            new.get_layer(head).set_weights([kernel[:, column : column + 1], bias[column : column + 1]])
        return
    for layer in network.layers:
        if layer.weights and layer.name in named:
            new.get_layer(layer.name).set_weights(layer.get_weights())


def sequences(tokens: Any, head: str, buckets: int) -> tuple[Any, Any]:
    """The hashes of the name's sequences of characters, and which are there: (B, W) -> (B, S), (B, S)."""
    from keras import ops

    shortest, longest = LENGTHS[head]
    marked = ops.concatenate([ops.full_like(tokens[:, :1], START), tokens], axis=1)  # (B, W + 1)
    code, codes, there = marked, [], []
    for length in range(2, longest + 1):
        last = marked[:, length - 1 :]
        code = ops.mod(code[:, :-1] * PRIME + last, buckets)
        if length >= shortest:
            codes.append(code)
            there.append(ops.cast(last > 0, "float32"))  # names begin at the left: who ends within it is whole
    return ops.concatenate(codes, axis=1), ops.concatenate(there, axis=1)


def forms(tokens: Any) -> Any:
    """The hashes of eight forms of the name, (B, W) -> (B, 8): its public suffix, how long the registered label is, of
    what kinds of characters and with how many vowels and digits, and whether there is a subdomain."""
    from keras import ops

    kind = ops.mod(tokens, 64)
    label = ops.logical_and(ops.logical_and(tokens >= 64, tokens < 128), ops.not_equal(kind, DOT))

    def count(what: Any) -> Any:
        return ops.sum(ops.cast(what, "int32"), axis=1, keepdims=True)  # (B, 1)

    letter = ops.logical_and(label, kind <= LETTERS)
    digit = ops.logical_and(label, ops.logical_and(kind > LETTERS, kind <= DIGITS))
    length, letters, digits = count(label), count(letter), count(digit)
    vowel = ops.equal(kind, VOWELS[0])
    for other in VOWELS[1:]:
        vowel = ops.logical_or(vowel, ops.equal(kind, other))
    vowels = ops.floor_divide(8 * count(ops.logical_and(letter, vowel)), ops.maximum(letters, 1))
    share = ops.floor_divide(6 * digits, ops.maximum(length, 1)) + ops.minimum(digits, 1)
    made_of = (
        ops.minimum(letters, 1) + 2 * ops.minimum(digits, 1)
        + 4 * ops.minimum(count(ops.logical_and(label, ops.equal(kind, HYPHEN))), 1)
        + 8 * ops.minimum(count(ops.logical_and(letter, kind > LAST_HEX)), 1)
    )  # fmt: skip
    mixed = ops.minimum(vowels, 4) * 4 + ops.minimum(share, 3)
    inside = ops.cast(tokens >= 128, "int32")
    rank = ops.cumsum(inside, axis=1)
    suffix = ops.mod(
        ops.sum(inside * kind * ops.mod(rank * rank * PRIME + rank, FORM_BUCKETS), axis=1, keepdims=True), FORM_BUCKETS
    )
    before = ops.logical_and(tokens > 0, tokens < 64)
    below = ops.minimum(count(before), 1) + 2 * ops.minimum(count(ops.logical_and(before, ops.equal(kind, DOT))), 3)
    length = ops.minimum(length, 40)
    found = []
    for number, parts in enumerate([
        (suffix,), (length,), (suffix, length), (length, made_of), (suffix, made_of), (suffix, length, made_of),
        (suffix, length, made_of, mixed), (suffix, below),
    ]):  # fmt: skip
        code = ops.full_like(suffix, number)
        for part in parts:
            code = ops.mod(code * PRIME + part, FORM_BUCKETS)
        found.append(code)
    return ops.concatenate(found, axis=1)


def _summed(codes: Any, there: Any, name: str, buckets: int, dropout: float) -> Any:
    """The weights of these codes, where they are there, summed, over the root of their number: (B, 1).

    A mean would drown the one that tells, a sum grows with the length of the name.
    """
    from keras import layers, ops

    weights = layers.Embedding(buckets, 1, embeddings_initializer="zeros", name=name)(codes)
    weights = layers.Dropout(dropout)(ops.multiply(weights[:, :, 0], there))
    number = ops.maximum(ops.sum(there, axis=1, keepdims=True), 1.0)
    return ops.divide(ops.sum(weights, axis=1, keepdims=True), ops.sqrt(number))
