"""Published networks beside our own, written anew from their papers, on the same names and for the same time.

- `woodbridge`: Woodbridge et al. 2016, an embedding of 128 and an LSTM of 128 with dropout 0.5.
- `yu`: Yu et al. 2018, their simplest CNN: an embedding of 128, one layer of 128 filters over 3 characters, a dense
  layer of 64.
- `drichel`: Drichel et al. 2020, B-ResNet: an embedding of 128 and one residual block of two convolutions of 128
  filters over 4 characters, then the maximum over the name.
- `ngrams`: logistic regression over which of 65,536 buckets the name's 1- to 3-grams fall into.

They see the characters of the whole name, without its segments, and learn from benign and DGA names alone, drawn with
the weights that ours are drawn with. What is ours, synthetic families and alterations, they do not get.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.dataset import FEED, Corpus
from model.encoding import CLASSES, SEGMENT, encoder
from model.families import Family
from model.metrics import Interval, mean_of_groups, paired, strictest
from model.plan import Plan
from model.protocol import FAMILY_NAMES, Judged, Progress, Score, benign_strata, choose, family_hits, standings
from model.sampling import Sampler
from model.train import history, train

WIDTH = 64  # characters, the end of a longer name
BUCKETS = 65_536
BATCH = 256
# By group and rate ("unseen 0.01") and family: of each registered domain the share that was found.
Hits = dict[str, dict[str, NDArray[np.float64]]]


class Row(NamedTuple):
    """One network in the comparison; rates are means over families at the strictest stratum's threshold."""

    name: str
    parameters: int
    trained_rows: int
    names_per_second: float  # of processor time, judged in batches of 1,024
    rates: dict[str, float]  # "known 0.01", ...
    lead: dict[str, Interval]  # the first row's minus this one's, with its 95 % interval


def characters(names: Sequence[str]) -> NDArray[np.int32]:
    """Character classes of the last 64 characters, (N, 64), left-aligned, 0 pads."""
    return of_tokens(encoder("segments-96")(names))


def of_tokens(x: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The same of rows of `segments-96`."""
    length = (x > 0).sum(1)
    start = np.maximum(length - WIDTH, 0)
    return (np.take_along_axis(x, start[:, None] + np.arange(WIDTH)[None], 1) % SEGMENT).astype(np.int32)


def woodbridge() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([
        keras.Input((WIDTH,), dtype="int32"), layers.Embedding(CLASSES, 128), layers.LSTM(128), layers.Dropout(0.5),
        layers.Dense(1),
    ])  # fmt: skip


def yu() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([
        keras.Input((WIDTH,), dtype="int32"), layers.Embedding(CLASSES, 128),
        layers.Conv1D(128, 3, padding="same", activation="relu"), layers.Flatten(), layers.Dropout(0.5),
        layers.Dense(64, activation="relu"), layers.Dropout(0.5), layers.Dense(1),
    ])  # fmt: skip


def drichel() -> Any:
    import keras
    from keras import layers

    tokens = keras.Input((WIDTH,), dtype="int32")
    x = layers.Embedding(CLASSES, 128)(tokens)
    y = layers.Conv1D(128, 4, padding="same", activation="relu")(x)
    y = layers.Conv1D(128, 4, padding="same")(y)
    x = layers.Activation("relu")(layers.Add()([x, y]))
    return keras.Model(tokens, layers.Dense(1)(layers.GlobalMaxPooling1D()(x)))


def ngrams() -> Any:
    """Buckets are computed in the graph: (B, 64) -> (B, 3 * 64) -> the sum of their weights."""
    import keras
    from keras import layers, ops

    tokens = keras.Input((WIDTH,), dtype="int32")
    second = ops.pad(tokens[:, 1:], ((0, 0), (0, 1)))
    third = ops.pad(tokens[:, 2:], ((0, 0), (0, 2)))
    one, two = tokens, tokens * 41 + second + 41
    three = (tokens * 1681 + second * 41 + third) % (BUCKETS - 2000) + 2000
    grams = ops.concatenate([one, two, three], 1)
    present = ops.cast(ops.concatenate([tokens, tokens * second, tokens * second * third], 1) > 0, "float32")
    weights = layers.Embedding(BUCKETS, 1, embeddings_initializer="zeros")(grams)
    total = ops.sum(ops.multiply(ops.squeeze(weights, -1), present), 1, keepdims=True)
    return keras.Model(tokens, layers.Dense(1, kernel_initializer="ones")(total))


BUILDERS: dict[str, Callable[[], Any]] = {"woodbridge": woodbridge, "yu": yu, "drichel": drichel, "ngrams": ngrams}


class Plain(msgspec.Struct):
    """Benign and DGA names in equal numbers, by the weights that ours are drawn with, unaltered."""

    sampler: Any

    def batch(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        pools, rng = self.sampler.pools, self.sampler.rng
        rows = np.concatenate([pools[kind].draw(rng, BATCH // 2) for kind in ("benign", "dga")])
        return of_tokens(self.sampler.corpus.x[rows]), np.repeat(np.array([0, 1], np.float32), BATCH // 2)[:, None]


def fit(build: Callable[[], Any], sampler: Sampler, minutes: float, seed: int, progress: Progress) -> tuple[Any, int]:
    """Train for so many minutes of processor time with Adam at 1e-3; return the network and how many rows it saw."""
    import keras

    keras.utils.set_random_seed(seed)
    network = build()
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)  # as in `model.train`, so that both begin after as little time
    network.compile(optimizer, keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    source, rows, ends, loss = Plain(sampler), 0, time.process_time() + 60 * minutes, 0.0
    while time.process_time() < ends:
        x, y = source.batch()
        loss = float(network.train_on_batch(x, y))
        rows += len(x)
    progress({"network": network.name, "rows": rows, "loss": loss})
    return network, rows


def fit_ours(corpus: Corpus, minutes: float) -> tuple[Any, int]:
    """Our network, trained for so many minutes of processor time; and how many rows it saw."""
    with tempfile.TemporaryDirectory() as run:
        network = train(Sampler(corpus, 0), Plan(minutes=minutes), Path(run), clock=time.process_time)
        return network, sum(line["rows"] for line in history(Path(run)))


def scoring(network: Any) -> Score:
    """The network as the protocol asks for it, its one head twice; compiled, batches of 1,024."""
    import tensorflow as tf

    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, WIDTH), tf.int32)])  # type: ignore[untyped-decorator]
    def forward(x: Any) -> Any:
        return network(x, training=False)

    def score(names: Sequence[str]) -> NDArray[np.float32]:
        x = characters(names)
        parts = [np.asarray(forward(tf.constant(x[start : start + 1024]))) for start in range(0, len(x), 1024)]
        return np.repeat(np.concatenate(parts), 2, 1)

    return score


def compare(
    corpus: Corpus, ours: Score, parameters: int, families: dict[str, Family], held_out: int, minutes: float,
    progress: Progress, seed_network: Score, scored: Callable[[Any], Score], only: Sequence[str] = (),
    rates: Sequence[float] = (1e-2, 1e-3),
) -> list[Row]:  # fmt: skip
    """Train every reference for `minutes` of processor time and judge all on the same names.

    First comes our network trained for that time too, over which the leads are; then as it was given. `scored` gives
    the scores of a network of ours. With `only` these references alone are trained, and the first is ours as given.
    """
    rows, names = to_judge(corpus)
    table: list[Row] = []
    first: Hits = {}

    def add(name: str, score: Score, size: int, seen: int) -> None:
        began = time.process_time()
        judged = Judged(rows, score(names))
        speed = len(names) / (time.process_time() - began)
        hits = grouped(corpus, judged, families, held_out, rates)
        if not table:
            first.update(hits)
        shares = {key: list(of.values()) for key, of in hits.items()}
        lead = {key: paired(list(first[key].values()), of) for key, of in shares.items()}
        table.append(Row(name, size, seen, speed, {k: mean_of_groups(v, 1).value for k, v in shares.items()}, lead))
        progress({"judged": name, **{key: round(value, 3) for key, value in table[-1].rates.items()}})

    if not only:
        network, seen = fit_ours(corpus, minutes)
        add("segments, the same time", scored(network), int(network.count_params()), seen)
    add("segments", ours, parameters, 0)
    if not only:
        add("seed", seed_network, 1913, 0)
    for name in only or BUILDERS:
        network, seen = fit(BUILDERS[name], Sampler(corpus, 0), minutes, 0, progress)
        add(name, scoring(network), int(network.count_params()), seen)
    return table


def to_judge(corpus: Corpus) -> tuple[NDArray[np.int64], list[str]]:
    """The judged rows but for feeds, of which references learn nothing, and their names."""
    rows = choose(corpus)
    rows = rows[corpus.kind[rows] != FEED]
    return rows, [corpus.names[i] for i in rows]


def grouped(corpus: Corpus, judged: Judged, families: dict[str, Family], held_out: int, rates: Sequence[float]) -> Hits:
    """Hits of each family at the threshold of the strictest stratum."""
    strata = {name: scores[:, 0] for name, scores in benign_strata(corpus, judged).items()}
    standing = standings(corpus, families, held_out)
    found: Hits = {}
    for rate in rates:
        threshold, _ = strictest(strata, rate)
        for name, hits in family_hits(corpus, judged, threshold).items():
            if len(hits) >= FAMILY_NAMES and standing[name] != "apart":
                found.setdefault(f"{standing[name]} {rate:g}", {})[name] = hits
    return found
