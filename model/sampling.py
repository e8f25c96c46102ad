"""Batches for training: balanced by kind and shape, both classes altered alike.

Truth per row is (generated, malicious), -1 where a source cannot tell: benign (0, 0), DGA (1, 1), synthetic (1, -1),
feed (-1, 2). A feed names machine-made hosts too, so it says nothing of `generated`; 2 asks for a bounded loss.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.dataset import BENIGN, DGA, FEED, TEACH, Corpus
from model.encoding import SEGMENT, Rows, encoder
from model.grammars import sample
from verdicts.names import split

WIDTH = 96
SHARES = {"benign": 0.44, "dga": 0.22, "synthetic": 0.19, "feed": 0.15}
TRUTH = {"benign": (0, 0), "dga": (1, 1), "synthetic": (1, -1), "feed": (-1, 2)}
FAMILY_POWER = 0.3  # a family of n names weighs n ** 0.3
GRAMMARS, NAMES_EACH = 20_000, 8  # of an epoch
BARE_SUFFIX = 0.3  # share of rows that lose their suffix; the malicious head is not asked then
PREFIXED = {"benign": 0.2, "dga": 0.35, "synthetic": 0.35, "feed": 0.0}  # share of bare names given a benign sub-label


class Pool(NamedTuple):
    """Rows to draw from, and the cumulative weight of each."""

    rows: NDArray[np.int64]
    cumulative: NDArray[np.float64]

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw with replacement, by weight."""
        picks = np.searchsorted(self.cumulative, rng.random(count) * self.cumulative[-1], side="right")
        chosen: NDArray[np.int64] = self.rows[np.minimum(picks, len(self.rows) - 1)]
        return chosen


class Batch(NamedTuple):
    """Tokens (B, W) int32 and truth (B, 2) float32."""

    x: NDArray[np.int32]
    y: NDArray[np.float32]


class Sampler:
    """Draws training rows of a corpus; the synthetic families are new at each `renew`."""

    def __init__(self, corpus: Corpus, seed: int):
        self.corpus = corpus
        self.rng = np.random.default_rng(seed)
        self._random = random.Random(seed)
        self.pools = {
            "benign": _pool(corpus, BENIGN, _benign_weights), "dga": _pool(corpus, DGA, _family_weights),
            "feed": _pool(corpus, FEED, _campaign_weights),
        }  # fmt: skip
        taught = corpus.where(BENIGN, TEACH)
        parts = [split(corpus.names[i]) for i in self.rng.choice(taught, min(len(taught), 60_000))]
        self.labels = [label for p in parts if len(label := p.registered.partition(".")[0]) >= 4]
        prefixes = [p.subdomain + "." for p in parts if p.subdomain and len(p.subdomain) < 40] or ["www."]
        self.prefixes = encoder("segments-96")(prefixes) % SEGMENT  # as subdomains: segment 0
        self.prefix_lengths = (self.prefixes > 0).sum(1)
        dga = [split(corpus.names[i]).suffix for i in self.pools["dga"].draw(self.rng, 5000)] if len(
            self.pools["dga"].rows) else []  # fmt: skip
        self.suffixes = [p.suffix for p in parts[:5000]] + dga
        self.synthetic = np.zeros((0, WIDTH), np.uint8)

    def renew(self, grammars: int = GRAMMARS) -> None:
        """Draw new grammars and their names, under suffixes of benign and generated names alike."""
        labels = sample(self._random, self.labels, grammars, NAMES_EACH)
        self.synthetic = encoder("segments-96")([f"{label}.{self._random.choice(self.suffixes)}" for label in labels])

    def block(self, count: int) -> tuple[Rows, NDArray[np.float32]]:
        """About `count` altered rows in random order: tokens uint8 (N, 96) and truth (N, 2)."""
        xs, ys = [], []
        for kind, share in SHARES.items():
            x = self._rows(kind, round(count * share))
            y = np.tile(np.array(TRUTH[kind], np.float32), (len(x), 1))
            x = self._prefix(x, PREFIXED[kind])
            if kind != "feed":
                bare = self.rng.random(len(x)) < BARE_SUFFIX
                x[bare] = np.where(x[bare] >= 2 * SEGMENT, 0, x[bare])
                y[bare, 1] = -1
            xs.append(x)
            ys.append(y)
        order = self.rng.permutation(sum(map(len, xs)))
        return np.concatenate(xs)[order], np.concatenate(ys)[order]

    def batches(self, count: int, size: int, widths: tuple[int, ...]) -> list[Batch]:
        """A block cut into batches of rows that fit the same width."""
        x, y = self.block(count)
        length = WIDTH - np.argmax(x[:, ::-1] > 0, axis=1)
        out: list[Batch] = []
        left = np.arange(len(x))
        for width in widths:
            fit = left[length[left] <= width]
            # Rows that fill no batch go with wider ones: a batch of few rows would weigh as much as a full one.
            used = fit if width == widths[-1] else fit[: len(fit) // size * size]
            for chosen in np.array_split(used, max(1, round(len(used) / size))) if len(used) else []:
                out.append(Batch(x[chosen, :width].astype(np.int32), y[chosen]))
            left = np.setdiff1d(left, used, assume_unique=True)
        self.rng.shuffle(out)
        return out

    def _rows(self, kind: str, count: int) -> Rows:
        if kind == "synthetic":
            return self.synthetic[self.rng.integers(0, len(self.synthetic), count)]
        pool = self.pools[kind]
        return self.corpus.x[pool.draw(self.rng, count)] if len(pool.rows) else self.corpus.x[:0].copy()

    def _prefix(self, x: Rows, share: float) -> Rows:
        """Give this share of the names without a subdomain one of a benign name."""
        chosen = np.flatnonzero((self.rng.random(len(x)) < share) & (x[:, 0] >= SEGMENT))
        picks = self.rng.integers(0, len(self.prefixes), len(chosen))
        lengths = self.prefix_lengths[picks]
        fits = lengths + (x[chosen] > 0).sum(1) <= WIDTH
        chosen, picks, lengths = chosen[fits], picks[fits], lengths[fits]
        at = np.arange(WIDTH)[None] - lengths[:, None]
        moved = np.take_along_axis(x[chosen], np.maximum(at, 0), 1)
        x[chosen] = np.where(at < 0, self.prefixes[picks], moved)
        return x


def _pool(corpus: Corpus, kind: int, weigh: Callable[[Corpus, NDArray[np.int64]], NDArray[np.float64]]) -> Pool:
    rows = corpus.where(kind, TEACH)
    weights = weigh(corpus, rows) if len(rows) else np.zeros(0)
    return Pool(rows, np.cumsum(weights))


def _benign_weights(corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each source by its share; then names with and without a subdomain equally."""
    source = corpus.source[rows]
    counts = np.bincount(source, minlength=len(corpus.sources))
    share = np.array([s.share for s in corpus.sources])
    weights = (share / np.maximum(counts, 1))[source]
    return _halved(weights, corpus.x[rows, 0] < SEGMENT)


def _family_weights(corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    family = corpus.family[rows]
    counts = np.bincount(family + 1)
    return np.asarray(counts[family + 1] ** (FAMILY_POWER - 1.0), np.float64)


def _campaign_weights(corpus: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """A campaign weighs at most as 1,000 names, names under private suffixes a quarter; shapes equally."""
    family = corpus.family[rows]
    counts = np.bincount(family + 1)
    weights = np.minimum(1.0, 1000.0 / counts[family + 1])
    weights[family < 0] = 1.0
    weights[corpus.private[rows]] *= 0.25
    return _halved(weights, corpus.x[rows, 0] < SEGMENT)


def _halved(weights: NDArray[np.float64], fully: NDArray[np.bool_]) -> NDArray[np.float64]:
    for half in (fully, ~fully):
        if half.any():
            weights[half] /= weights[half].sum()
    return weights
