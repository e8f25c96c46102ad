"""The protocol: what is measured of a network, the same for every network, on the judge part alone.

A `score` function takes normalised names and gives (N, 2): generated, malicious, any increasing scale. A network
with one head repeats it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.calibrate import rebased
from model.dataset import BENIGN, DGA, FEED, JUDGE, STRATA, TEACH, Corpus
from model.families import Family
from model.metrics import (
    auc,
    by_domain,
    log_loss,
    mean_of_groups,
    reliability,
    strictest,
    threshold_at,
)  # fmt: skip
from model.robustness import VARIANTS, vary

RATES = (1e-2, 1e-3, 1e-4)
FAMILY_NAMES = 100  # families with fewer judged registered domains are left out of the means
PER_FAMILY = 1000  # names judged of a family, drawn with a fixed seed
PER_SOURCE = 20_000
# Families whose hosts on feeds are for the most part ordinary sites that were broken into: their names tell nothing, so
# feeds are judged without them (43 % of blackbook's rows are Emotet's, 28 % of the ThreatFox set's QakBot's).
HACKED = ("emotet", "qakbot")
PER_SUFFIX = 30  # names of each kind that a private suffix needs for an AUC of its own
VARIED = 3000  # names of each kind in the robustness table
EDGES = (0.0, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0 + 1e-6)  # of predicted probabilities
Score = Callable[[Sequence[str]], NDArray[np.float32]]
Progress = Callable[[dict[str, Any]], None]


class Judged(NamedTuple):
    """Rows of the corpus that are judged, and their scores (N, 2)."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def choose(corpus: Corpus) -> NDArray[np.int64]:
    """All judged benign names; of each family and each feed a fixed sample."""
    rng = np.random.default_rng(7)
    chosen = [corpus.where(BENIGN, JUDGE)]
    dga = corpus.where(DGA, JUDGE)
    for family in np.unique(corpus.family[dga]):
        rows = dga[corpus.family[dga] == family]
        chosen.append(rng.permutation(rows)[:PER_FAMILY])
    feed = corpus.where(FEED, JUDGE)
    for source in np.unique(corpus.source[feed]):
        rows = rng.permutation(feed[corpus.source[feed] == source])
        chosen.append(rows[:PER_SOURCE])
    return np.sort(np.concatenate(chosen))


def judge(corpus: Corpus, score: Score, progress: Progress) -> Judged:
    """Score the chosen rows."""
    rows = choose(corpus)
    parts = []
    for start in range(0, len(rows), 65_536):
        parts.append(score([corpus.names[i] for i in rows[start : start + 65_536]]))
        progress({"judged": start + len(parts[-1]), "of": len(rows)})
    return Judged(rows, np.concatenate(parts))


def measure(corpus: Corpus, judged: Judged, families: dict[str, Family], held_out: int) -> dict[str, Any]:
    """Thresholds by stratum and true-positive rates at them, by group; the core of the report."""
    kind = corpus.kind[judged.rows]
    strata = benign_strata(corpus, judged)
    report: dict[str, Any] = {
        "benign": {name: len(scores) for name, scores in strata.items()},
        "malicious": {"dga": int((kind == DGA).sum()), "feed": int((kind == FEED).sum())},
        "held_out_fold": held_out,
        "rates": {},
    }
    for rate in RATES:
        limit: dict[str, Any] = {}
        for column, head in enumerate(("generated", "malicious")):
            by_head = {name: scores[:, column] for name, scores in strata.items()}
            value, stratum = strictest(by_head, rate)
            limit[head] = {
                "strictest": value, "stratum": stratum, "pooled": threshold_at(by_head["pooled"], rate),
                "by_stratum": {name: threshold_at(found, rate) for name, found in by_head.items() if len(found)},
            }  # fmt: skip
        report["rates"][f"{rate:g}"] = {
            "thresholds": limit,
            "strictest": groups_at(corpus, judged, families, held_out, limit["generated"]["strictest"],
                                   limit["malicious"]["strictest"]),
            "pooled": groups_at(corpus, judged, families, held_out, limit["generated"]["pooled"],
                                limit["malicious"]["pooled"]),
        }  # fmt: skip
    report["private_suffixes"] = within_suffixes(corpus, judged)
    return report


def benign_strata(corpus: Corpus, judged: Judged) -> dict[str, NDArray[np.float32]]:
    """The scores (n, 2) of each kind of benign names."""
    benign = corpus.kind[judged.rows] == BENIGN
    bits = corpus.strata[judged.rows]
    return {name: judged.scores[benign & ((bits >> i & 1) == 1)] for i, name in enumerate(STRATA)}


def groups_at(
    corpus: Corpus, judged: Judged, families: dict[str, Family], held_out: int, generated: float, malicious: float
) -> dict[str, Any]:
    """True-positive rates at these thresholds: family groups, each family, each feed, and both heads together."""
    named = family_hits(corpus, judged, generated)
    standing = standings(corpus, families, held_out)
    groups: dict[str, list[NDArray[np.float64]]] = {}
    for name, hits in named.items():
        if len(hits) < FAMILY_NAMES:
            continue
        status, shape = standing[name], families[name].shape if name in families else ""
        if status == "apart":
            groups[f"apart {name}"] = [hits]
            continue
        for group in (status, *([f"{status} {'words' if shape == 'words' else 'characters'}"] if shape else [])):
            groups.setdefault(group, []).append(hits)
    kind, source = corpus.kind[judged.rows], corpus.source[judged.rows]
    hacked = np.isin(corpus.family[judged.rows], [n for n, name in enumerate(corpus.families) if name in HACKED])
    telling = (kind == FEED) & ~corpus.private[judged.rows] & ~hacked
    feeds = {}
    for number in np.unique(source[telling]):
        chosen = telling & (source == number)
        feeds[corpus.sources[number].path] = by_domain(
            judged.scores[chosen, 1] >= malicious, corpus.registered[judged.rows[chosen]]
        )
    benign = kind == BENIGN
    both = (judged.scores[:, 0] >= generated) | (judged.scores[:, 1] >= malicious)
    return {
        "groups": {name: {"families": len(found), **mean_of_groups(found)._asdict()} for name, found in groups.items()},
        "families": {name: round(float(hits.mean()), 4) for name, hits in named.items()},
        "feeds": {name: round(float(hits.mean()), 4) for name, hits in feeds.items()},
        "feeds_mean": mean_of_groups(list(feeds.values()))._asdict() if feeds else None,
        "false_positives_of_both_heads": float(both[benign].mean()),
    }


def standings(corpus: Corpus, families: dict[str, Family], held_out: int) -> dict[str, str]:
    """Of each family of the corpus: `known` to the network, `unseen` (held out), or `apart`. A family of lists other
    than this release's is in no fold: it is known where any of its names teaches."""
    taught = set(corpus.family[corpus.where(DGA, TEACH)].tolist())
    found = {}
    for number, name in enumerate(corpus.families):
        fold = families[name].fold if name in families else None
        seen = number in taught if fold is None else fold != held_out
        found[name] = "apart" if fold == -1 else "known" if seen else "unseen"
    return found


def family_hits(corpus: Corpus, judged: Judged, threshold: float) -> dict[str, NDArray[np.float64]]:
    """For each family, the share of flagged names of each registered domain."""
    dga = corpus.kind[judged.rows] == DGA
    family = corpus.family[judged.rows]
    hits = {}
    for number in np.unique(family[dga]):
        chosen = dga & (family == number)
        if number >= 0:
            hits[corpus.families[number]] = by_domain(
                judged.scores[chosen, 0] >= threshold, corpus.registered[judged.rows[chosen]]
            )
    return hits


def within_suffixes(corpus: Corpus, judged: Judged) -> dict[str, float]:
    """AUC of the malicious head within each private suffix: customers of one host, told apart or not."""
    from verdicts.names import split

    private = corpus.private[judged.rows]
    by_suffix: dict[str, list[int]] = {}
    for place in np.flatnonzero(private):
        by_suffix.setdefault(split(corpus.names[judged.rows[place]]).suffix, []).append(int(place))
    found = {}
    for suffix, places in by_suffix.items():
        kind = corpus.kind[judged.rows[places]]
        scores = judged.scores[places, 1]
        if min((kind == BENIGN).sum(), (kind == FEED).sum()) >= PER_SUFFIX:
            found[suffix] = round(auc(scores[kind == BENIGN], scores[kind == FEED]), 3)
    return found


def calibration(corpus: Corpus, judged: Judged, weights: NDArray[np.float64]) -> dict[str, Any]:
    """Predicted against observed at the base rate, and log-loss against that of a constant; scores must be
    probabilities. `weights` as of `model.calibrate.case_weights`, with the judge part: each family and feed counts as
    there, not as in the sample that is judged."""
    kind = corpus.kind[judged.rows]
    report = {}
    for column, head in enumerate(("generated", "malicious")):
        chosen = np.flatnonzero(kind != FEED) if column == 0 else np.arange(len(kind))
        truth = (kind[chosen] != BENIGN).astype(np.float64)
        based = rebased(weights[chosen], truth)
        share = float((based * truth).sum() / based.sum())
        constant = np.full(len(chosen), share, np.float32)
        report[head] = {
            "base_rate": share,
            "log_loss": log_loss(judged.scores[chosen, column], truth, based),
            "log_loss_of_constant": log_loss(constant, truth, based),
            "reliability": reliability(judged.scores[chosen, column], truth, based, EDGES),
        }
    return report


def robustness(corpus: Corpus, judged: Judged, score: Score, generated: float) -> dict[str, dict[str, float]]:
    """True- and false-positive rates of the generated head at one threshold when names are written otherwise."""
    rng = np.random.default_rng(11)
    kind = corpus.kind[judged.rows]
    table = {}
    samples = {
        key: [corpus.names[i] for i in rng.permutation(judged.rows[kind == code])[:VARIED]]
        for key, code in (("true_positives", DGA), ("false_positives", BENIGN))
    }
    for variant in VARIANTS:
        table[variant] = {
            key: round(float((score([vary(name, variant, rng) for name in names])[:, 0] >= generated).mean()), 4)
            for key, names in samples.items()
        }
    return table
