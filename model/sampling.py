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
SHARES = {"benign": 0.45, "dga": 0.32, "synthetic": 0.08, "feed": 0.15}
TRUTH = {"benign": (0, 0), "dga": (1, 1), "synthetic": (1, -1), "feed": (-1, 2)}
FAMILY_POWER = 0.3  # a family of n names weighs n ** 0.3
GRAMMARS, NAMES_EACH = 20_000, 8  # of an epoch
# Shares of the rows of all kinds but feeds that lose their suffix or get another; the malicious head is not asked then.
BARE_SUFFIX, OTHER_SUFFIX = 0.1, 0.05
EDITED = 0.15  # share of rows with one character of the registered label replaced by another of its kind
HARD = 0.3  # share of the benign rows that are drawn by how machine-made the network finds them, once it was asked
HARDEST, SPAN = 0.99, 8.0  # rows above this quantile weigh alike, below it less by the odds, down to exp(-SPAN)
# Shares of the bare names that are given www. and the sub-label of another benign name. Generated names are asked for
# bare, and random-looking names of advertisers with a sub-label: that tells them apart, unless it is trained away. The
# little that is here keeps a sub-label from clearing a generated name.
WWW = {"benign": 0.05, "dga": 0.1, "synthetic": 0.1, "feed": 0.0}
PREFIXED = {"benign": 0.02, "dga": 0.04, "synthetic": 0.04, "feed": 0.0}
# Longer than this are few names that the network is asked about, yet they took half of the time: a share of them does.
LONG, LONG_SHARE = 32, 0.4


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
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.pools = {
            "benign": _pool(corpus, BENIGN, _benign_weights), "dga": _pool(corpus, DGA, _family_weights),
            "feed": _pool(corpus, FEED, _campaign_weights),
        }  # fmt: skip
        self._benign = self.pools["benign"]
        taught = corpus.where(BENIGN, TEACH)
        parts = [split(corpus.names[i]) for i in self.rng.choice(taught, min(len(taught), 60_000))]
        self.labels = [label for p in parts if len(label := p.registered.partition(".")[0]) >= 4]
        prefixes = [p.subdomain + "." for p in parts if p.subdomain and len(p.subdomain) < 40] or ["www."]
        self.prefixes = encoder("segments-96")(prefixes) % SEGMENT  # as subdomains: segment 0
        self.prefix_lengths = (self.prefixes > 0).sum(1)
        self.www = encoder("segments-96")(["www."]) % SEGMENT
        dga = [split(corpus.names[i]).suffix for i in self.pools["dga"].draw(self.rng, 5000)] if len(
            self.pools["dga"].rows) else []  # fmt: skip
        self.suffixes = [p.suffix for p in parts[:5000]] + dga
        self.endings = encoder("segments-96")(sorted(set(self.suffixes)) or ["com"]) % SEGMENT
        self.endings[self.endings > 0] += 2 * SEGMENT
        self.synthetic = np.zeros((0, WIDTH), np.uint8)

    def renew(self, grammars: int = GRAMMARS, epoch: int = 0) -> None:
        """Begin an epoch: new grammars (0: none) and their names, under suffixes of benign and generated names alike.

        What an epoch draws is of the seed and its number alone: a run that goes on draws no rows that it has had.
        """
        self.rng = np.random.default_rng((self.seed, epoch))
        drawn = random.Random(f"{self.seed} {epoch}")
        labels = sample(drawn, self.labels, grammars, NAMES_EACH)
        self.synthetic = encoder("segments-96")([f"{label}.{drawn.choice(self.suffixes)}" for label in labels])

    def mine(self, logits: NDArray[np.float32]) -> None:
        """Draw a share of the benign rows by these logits (N,) of `generated`, in the order of `benign_rows`."""
        plain = self._benign.cumulative / self._benign.cumulative[-1]
        weights = np.exp(np.clip(logits.astype(np.float64) - np.quantile(logits, HARDEST), -SPAN, 0.0))
        hard = np.cumsum(weights) / weights.sum()
        self.pools["benign"] = Pool(self._benign.rows, (1 - HARD) * plain + HARD * hard)

    @property
    def benign_rows(self) -> Rows:
        """All benign names that teach, (N, 96)."""
        found: Rows = self.corpus.x[self._benign.rows]
        return found

    def block(self, count: int, crossed: float = 0.0, altered: bool = True) -> tuple[Rows, NDArray[np.float32]]:
        """About `count` rows in random order: tokens uint8 (N, 96) and truth (N, 2).

        `altered`: whether some have a character replaced, lose their suffix or get another.
        `crossed`: the share of rows of which nothing is known, the head of one name with the tail of another; the
        others are edited more then. For networks that are taught by others, which tell of any name.
        """
        xs, ys = [], []
        for kind, share in SHARES.items():
            x = self._rows(kind, round(count * (1 - crossed) * share))
            y = np.tile(np.array(TRUTH[kind], np.float32), (len(x), 1))
            x = self._prefix(x, WWW[kind], self.www, np.array([4]))
            x = self._prefix(x, PREFIXED[kind], self.prefixes, self.prefix_lengths)
            x = self._edit(x) if altered else x
            if kind != "feed" and altered:
                chance = self.rng.random(len(x))
                bare, other = chance < BARE_SUFFIX, chance > 1 - OTHER_SUFFIX
                x[bare] = np.where(x[bare] >= 2 * SEGMENT, 0, x[bare])
                x[other] = self._other_suffix(x[other])
                y[bare | other, 1] = -1
            if kind != "feed" and crossed:
                x = self._edit(x)
            kept = (x[:, LONG] == 0) | (self.rng.random(len(x)) < LONG_SHARE)
            xs.append(x[kept])
            ys.append(y[kept])
        if crossed:
            xs.append(self._cross(np.concatenate(xs), crossed / (1 - crossed)))
            ys.append(np.full((len(xs[-1]), 2), -1, np.float32))
        order = self.rng.permutation(sum(map(len, xs)))
        return np.concatenate(xs)[order], np.concatenate(ys)[order]

    def batches(
        self, count: int, size: int, widths: tuple[int, ...], crossed: float = 0.0, altered: bool = True
    ) -> list[Batch]:
        """A block cut into batches of rows that fit the same width."""
        x, y = self.block(count, crossed, altered)
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
            return self.synthetic[self.rng.integers(0, len(self.synthetic), count if len(self.synthetic) else 0)]
        pool = self.pools[kind]
        return self.corpus.x[pool.draw(self.rng, count)] if len(pool.rows) else self.corpus.x[:0].copy()

    def _prefix(self, x: Rows, share: float, prefixes: Rows, prefix_lengths: NDArray[np.int64]) -> Rows:
        """Give this share of the names without a subdomain one of these, of so many characters."""
        chosen = np.flatnonzero((self.rng.random(len(x)) < share) & (x[:, 0] >= SEGMENT))
        picks = self.rng.integers(0, len(prefixes), len(chosen))
        lengths = prefix_lengths[picks]
        fits = lengths + (x[chosen] > 0).sum(1) <= WIDTH
        chosen, picks, lengths = chosen[fits], picks[fits], lengths[fits]
        at = np.arange(WIDTH)[None] - lengths[:, None]
        moved = np.take_along_axis(x[chosen], np.maximum(at, 0), 1)
        x[chosen] = np.where(at < 0, prefixes[picks], moved)
        return x

    def _edit(self, x: Rows) -> Rows:
        """Replace one character of the registered label of some names: a letter by a letter, a digit by a digit."""
        chosen = np.flatnonzero(self.rng.random(len(x)) < EDITED)
        at = (self.rng.random(len(chosen)) * (x[chosen] > 0).sum(1)).astype(np.int64)
        letter = x[chosen, at].astype(np.int64) - SEGMENT  # of other segments no class of a letter or digit
        new = np.where(letter <= 26, self.rng.integers(1, 27, len(chosen)), self.rng.integers(27, 37, len(chosen)))
        fits = (letter >= 1) & (letter <= 36)
        x[chosen[fits], at[fits]] = (new[fits] + SEGMENT).astype(np.uint8)
        return x

    def _cross(self, x: Rows, share: float) -> Rows:
        """Names cut within their registered labels, the heads of this share of the rows with tails of any."""
        heads, tails = self.rng.permutation(len(x))[: round(len(x) * share)], self.rng.permutation(len(x))
        tails = tails[: len(heads)]
        cut, place = self._cuts(x[heads], 1)[:, None], self._cuts(x[tails], 0)[:, None]
        at = np.arange(WIDTH)[None]
        source = at - cut + place
        tail = np.where(source < WIDTH, np.take_along_axis(x[tails], np.clip(source, 0, WIDTH - 1), 1), 0)
        return np.where(at < cut, x[heads], tail)

    def _cuts(self, x: Rows, least: int) -> NDArray[np.int64]:
        """A place from the start of each name's registered label to its dot, at least so many characters on."""
        start, end = ((x > 0) & (x < SEGMENT)).sum(1), ((x > 0) & (x < 2 * SEGMENT)).sum(1)
        inside = (self.rng.random(len(x)) * np.maximum(end - start, 1)).astype(np.int64)
        return np.asarray(start + np.maximum(inside, least), np.int64)

    def _other_suffix(self, x: Rows) -> Rows:
        """The names under the suffixes of other names, of all kinds alike."""
        kept = ((x > 0) & (x < 2 * SEGMENT)).sum(1)
        endings = self.endings[self.rng.integers(0, len(self.endings), len(x))]
        at = np.arange(WIDTH)[None] - kept[:, None]
        return np.where(at < 0, x, np.take_along_axis(endings, np.maximum(at, 0), 1))


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
