"""`verdict evaluate`: an artifact judged by the protocol, as JSON, a readable report and plots."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.artifact import Artifact
from model.begun import OTHER, came_of
from model.calibrate import case_weights
from model.dataset import BENIGN, DGA, ENCODING, FEED, JUDGE, TUNE, Corpus, build, collect, require
from model.families import read_plan
from model.hard import hard_benign
from model.manifest import Manifest
from model.metrics import upper_bound
from model.parts import parts
from model.protocol import Judged, Progress, Score, calibration, judge, measure, robustness
from model.report import as_text, plot
from model.scorer import Scorer
from model.sources import SOURCES, check_folder, sources_of

TUNED_FEEDS = 60_000
HELD_OUT = 0  # the fold of families that a network never sees in training, unless told otherwise


def load_corpus(data: str | Path, progress: Progress, held_out: int = HELD_OUT) -> Corpus:
    """Read all lists below `data` and build the corpus; raises OSError for a missing list, `BadRow`."""
    return load_corpora(data, progress)(held_out)


def load_corpora(data: str | Path, progress: Progress) -> Callable[[int], Corpus]:
    """Read all lists below `data` once, and build the corpus of each fold that is asked for; raises as above."""
    check_folder(data)
    sources = sources_of(data)
    try:
        found = collect(sources, data, progress)
    except FileNotFoundError as error:
        stated = Path(data) / SOURCES.name
        own = "" if stated.exists() else f"; lists of your own need a {SOURCES.name} of their own in {data}"
        stated = SOURCES if own else stated
        raise FileNotFoundError(f"{error.filename}: no such file, expected the lists of {stated}{own}") from error
    progress({"names": len(found), "contested": sum(entry is None for entry in found.values())})
    return partial(build, found, sources, read_plan())


def evaluate_artifact(artifact: Artifact, data: str | Path, out: Path, progress: Progress) -> str:
    """Judge an artifact, write `evaluation.json`, `report.md` and plots into `out`; return the report's text."""
    out.mkdir(parents=True, exist_ok=True)  # where it cannot be, that is known before minutes were spent
    corpus = load_corpus(data, progress, artifact.manifest.held_out)
    require(corpus, "judge")
    report, judged = evaluation(artifact, corpus, progress)
    (out / "evaluation.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    text = as_text(report)
    (out / "report.md").write_text(text)
    plot(report, benign_scores(corpus, judged), out)
    return text


def compare_references(
    artifact: Artifact, data: str | Path, minutes: float, progress: Progress, only: Sequence[str] = ()
) -> str:
    """Train every reference, and our network, for `minutes` of processor time, and judge them beside the artifact and
    the seed network; with `only`, these references alone beside the artifact. A table."""
    from model.references import compare
    from model.registry import RELEASED

    held_out, encoding = artifact.manifest.held_out, artifact.manifest.encoding
    if not only and encoding != ENCODING:  # a network of ours is trained, and scored as the artifact is
        raise ValueError(
            f"model {artifact.version}, encoding {encoding}: expected {ENCODING}, or references by name to compare with"
        )
    corpus = load_corpus(data, progress, held_out)
    require(corpus, "teach", "judge")
    seed = Artifact.load(RELEASED / "seed-2020")
    ours, theirs = (scoring(Scorer(found, batch_sizes=(64, 1024)), found) for found in (artifact, seed))

    def scored(network: Any) -> Score:
        return scoring(Scorer(artifact._replace(network=network), batch_sizes=(64, 1024)), artifact)

    rows = compare(
        corpus, ours, int(artifact.network.count_params()), read_plan(), held_out, minutes, progress, theirs, scored,
        only,
    )  # fmt: skip
    keys = list(rows[0].rates)
    lines = ["network\tparameters\trows trained\tnames a CPU second\t" + "\t".join(keys)]
    for row in rows:
        cells = [f"{row.rates[key]:.3f} (lead {row.lead[key].low:+.3f} to {row.lead[key].high:+.3f})" for key in keys]
        figures = [row.name, str(row.parameters), str(row.trained_rows), f"{row.names_per_second:.0f}"]
        lines.append("\t".join(figures + cells))
    return "\n".join(lines)


def validate_folds(
    artifact: Artifact, data: str | Path, minutes: float, progress: Progress, folds: Sequence[int],
    references: Sequence[str], out: Path,
) -> str:  # fmt: skip
    """Train our network and these references anew for `minutes` of processor time, each of the `folds` held out in
    turn; what each found goes into `out`. A table. The artifact's scorer scores ours."""
    from model.folds import table, validate

    def scored(network: Any) -> Score:
        return scoring(Scorer(artifact._replace(network=network), batch_sizes=(64, 1024)), artifact)

    load = load_corpora(data, progress)
    return table(validate(load, folds, references, minutes, read_plan(), scored, out, progress), references)


def evaluation(artifact: Artifact, corpus: Corpus, progress: Progress) -> tuple[dict[str, Any], Judged]:
    """The whole report of an artifact, and the judged scores."""
    score = scoring(Scorer(artifact, batch_sizes=(64, 1024)), artifact)
    judged = judge(corpus, score, progress)
    report = measure(corpus, judged, read_plan(), artifact.manifest.held_out)
    limits = report["rates"]["0.001"]["thresholds"]
    part = np.flatnonzero(corpus.part == JUDGE)
    report |= {
        "model": artifact.version,
        "parameters": int(artifact.network.count_params()),
        "judge_digest": corpus.digest(JUDGE),
        "calibration": calibration(corpus, judged, case_weights(corpus, judged.rows, part)),
        "robustness": robustness(corpus, judged, score, limits["generated"]["strictest"]),
        "parts": parts(corpus, score, artifact.manifest.thresholds),
        "hard_benign": hard_benign(corpus, judged, *(limits[head]["strictest"] for head in ("generated", "malicious"))),
        "tiers": tiers(artifact, corpus, judged),
    }
    report["notices"] = notices(artifact.manifest, report["judge_digest"])
    return report, judged


def notices(manifest: Manifest, judge_digest: str | None) -> list[str]:
    """What keeps an evaluation from being of names that the model never saw, one sentence each."""
    found = []
    if manifest.splits.get("judge") != judge_digest:
        found.append(
            "These are not the judged names that the model's manifest states: if it was taught by other lists, some of "
            "these may be among them."
        )
    if "labels" in manifest.metrics:
        labels = manifest.metrics["labels"]
        found.append(f"It, or what taught it, was fine-tuned with {labels} labels, some of which may be judged here.")
    if OTHER in manifest.metrics:
        found.append(came_of(manifest.metrics[OTHER]))
    return found


def scoring(scorer: Scorer, artifact: Artifact) -> Score:
    """The artifact's network as the protocol asks for it: one with one head repeats it."""

    def score(names: Sequence[str]) -> NDArray[np.float32]:
        found = scorer(scorer.encoding(names))
        return found if len(artifact.manifest.heads) == 2 else np.repeat(found[:, 1:], 2, 1)

    return score


def tiers(artifact: Artifact, corpus: Corpus, judged: Judged) -> dict[str, Any]:
    """What the artifact's own thresholds do to the judged names."""
    limits = artifact.manifest.thresholds
    kind = corpus.kind[judged.rows]
    block = at_least(judged.scores[:, 0], limits.block.value)
    alert = at_least(judged.scores[:, 0], limits.alert_generated.value) | at_least(
        judged.scores[:, 1], limits.alert_score.value
    )
    report = {}
    for tier, flagged in (("block", block), ("alert or block", alert | block)):
        count, of = int(flagged[kind == BENIGN].sum()), int((kind == BENIGN).sum())
        report[tier] = {
            "benign": of, "false_positives": count, "bound": upper_bound(count, of),
            "dga_flagged": float(flagged[kind == DGA].mean()),
            "examples": [corpus.names[i] for i in judged.rows[(kind == BENIGN) & flagged][:20]],
        }  # fmt: skip
    return report


def at_least(scores: NDArray[np.float32], threshold: float | None) -> NDArray[np.bool_]:
    """Which scores reach a threshold; None: none does."""
    return np.zeros(len(scores), np.bool_) if threshold is None else np.asarray(scores >= threshold, np.bool_)


def benign_scores(corpus: Corpus, judged: Judged) -> dict[str, NDArray[np.float32]]:
    """Scores of the generated head by kind, for the plots."""
    kind = corpus.kind[judged.rows]
    return {"benign": judged.scores[kind == BENIGN, 0], "generated": judged.scores[kind == DGA, 0]}


def tune_rows(corpus: Corpus) -> NDArray[np.int64]:
    """The rows that calibration and thresholds are fitted on: all benign and DGA names, a fixed sample of feeds."""
    rows = np.flatnonzero(corpus.part == TUNE)
    feeds = np.random.default_rng(5).permutation(rows[corpus.kind[rows] == FEED])
    return np.sort(np.concatenate([rows[corpus.kind[rows] != FEED], feeds[:TUNED_FEEDS]]))
