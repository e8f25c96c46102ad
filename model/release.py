"""From data to a released artifact: train, calibrate on the tune part, judge, write."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.artifact import Artifact, save
from model.begun import OTHER, came_of, digests_of_parts, of_other_lists, same_lists
from model.calibrate import BASE_RATE, Tuned, tune
from model.dataset import BENIGN, ENCODING, JUDGE, LEFT_OUT, TEACH, TUNE, Corpus, require
from model.evaluate import HELD_OUT, evaluation, load_corpora, tune_rows
from model.manifest import FORMAT, Limits, Manifest, Platt, Source, Threshold
from model.metrics import threshold_at
from model.plan import SHARES, Plan
from model.sampling import Sampler
from model.scorer import Scorer
from model.train import Progress, history, logits, train
from model.wide import has_wide, plain_of, raise_above, words_of

# Of benign names: the share that the wide part of `generated` raises, and the share that what it raises stays below.
# Chosen on the tune part, of 0.005 to 0.05 and of 1e-4 and 2e-4.
RAISED, UNTOUCHED = 0.01, 1e-4
Line = dict[str, Any]  # of a history


def release(
    data: str, path: Path, run: Path, plans: Sequence[Plan], rows: int, progress: Progress,
    cancelled: Callable[[], bool], held_out: int = HELD_OUT, start: Artifact | None = None,
    teachers: Sequence[Artifact] = (),
) -> Manifest:  # fmt: skip
    """Train by the plans, one after the other, on at most `rows` names of each kind (0: all) and write the judged
    artifact to `path`.

    `held_out`: the fold of families that does not teach (-1: all teach). `start`: an artifact to begin from instead
    of a new network. `teachers`: artifacts that teach it by the first plan, see `model.distil`. Raises
    `model.train.Cancelled`; the run goes on from its checkpoint when asked again, with the same lists or `OtherLists`.
    """
    parents = [found for found in (start, *teachers) if found]
    others = {found.manifest.held_out for found in parents} - {held_out}
    corpus_of = load_corpora(data, progress)
    judged = {fold: corpus_of(fold).digest(JUDGE) for fold in sorted(others)}
    corpus = corpus_of(held_out)
    del corpus_of  # it holds every row of the lists
    require(corpus, "teach", "tune", "judge")  # before hours are spent
    same_lists(corpus, run)
    strange = of_other_lists(parents, judged | {held_out: corpus.digest(JUDGE)})
    if strange:
        progress({"notice": came_of(strange)})
    labels = labels_of(parents)
    handed = ({OTHER: strange} if strange else {}) | ({"labels": labels} if labels else {})
    corpus = sampled(corpus, rows, plans[0].seed)
    network = start.network if start else None
    lines: list[Line] = []
    for number, plan in enumerate(plans):
        folder = run / plan.head if number else run
        placed = _placed(plans, number, lines)
        told = _each(placed, progress)
        asked = [] if number else [teacher.network for teacher in teachers]
        # A sampler of its own: that of the stage before has come to draw hard benign names.
        network = train(Sampler(corpus, plan.seed), plan, folder, told, cancelled, network, teachers=asked)
        plain = None
        # Where all of it was taught, what the network alone says has moved, and what its wide part says.
        if plan.head == "generated" or not plan.head and has_wide(network, "generated"):
            said = of_benign(network, corpus)
            plain = said[:, 1]
            raise_above(network, *raising(said))
        lines += [placed(line) for line in history(folder)]
    parent = start.version if start else ""
    return finish(network, corpus, path, lines, plans, progress, held_out, parent, handed, plain)


def labels_of(artifacts: Sequence[Artifact]) -> int:
    """With how many labels these were fine-tuned: names that may be among the judged ones."""
    tuned = {found.version: found.manifest.metrics.get("labels", 0) for found in artifacts}
    return sum(tuned.values())


def _each(placed: Callable[[Line], Line], progress: Progress) -> Progress:
    return lambda line: progress(placed(line))


def _placed(plans: Sequence[Plan], number: int, before: Sequence[Line]) -> Callable[[Line], Line]:
    """From a line of this stage's history to one of the whole training, after those of the stages `before`."""
    last = before[-1] if number else {"epoch": 0, "done": 0.0, "seconds": 0.0}
    share = SHARES[plans[number].head] if len(plans) > 1 else 1.0
    stage = {"head": plans[number].head} if number else {}

    def placed(line: Line) -> Line:
        counts = {
            key: round(last[key] + of * line[key], 4) for key, of in (("epoch", 1), ("done", share), ("seconds", 1))
        }
        return line | counts | stage

    return placed


def finish(
    network: Any, corpus: Corpus, path: Path, lines: list[Line], plans: Sequence[Plan], progress: Progress,
    held_out: int = HELD_OUT, parent: str = "", handed: Mapping[str, Any] = {},
    plain: NDArray[np.float32] | None = None,
) -> Manifest:  # fmt: skip
    """Calibrate, set thresholds, judge, and write the artifact. `handed`: the metrics that others hand on to it;
    `plain`: the second column of its `of_benign`, where that is known."""
    blank = Threshold(None)

    def described(tuned: Tuned | None, limits: Limits, metrics: dict[str, Any]) -> Manifest:
        manifest = manifest_of(path.name, corpus, plans, tuned, limits, {**metrics, **handed})
        return msgspec.structs.replace(manifest, held_out=held_out, parent=parent)

    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / path.name
        save(draft, network, described(None, Limits(blank, blank, blank), {}))
        artifact = Artifact.load(draft)
    scorer = Scorer(artifact, batch_sizes=(64, 1024))
    chosen = tune_rows(corpus)
    said = np.concatenate(
        [scorer.logits(corpus.x[chosen[start : start + 65_536]]) for start in range(0, len(chosen), 65_536)]
    )
    if plain is None and has_wide(network, "generated"):
        plain = of_benign(network, corpus)[:, 1]
    tuned = tune(corpus, chosen, said, plain)
    limits = limits_of(tuned)
    judged_as = artifact._replace(manifest=described(tuned, limits, {}))
    report, _ = evaluation(judged_as, corpus, progress)
    manifest = described(tuned, measured(limits, report["tiers"]), headline(report))
    return save(path, network, manifest, lines, nameless(report))


def of_benign(network: Any, corpus: Corpus) -> NDArray[np.float32]:
    """What the wide part of `generated` says of the tune part's benign names, and what the network without it, (N, 2).

    One network gives both: TensorFlow traces each that it is asked for, and warns of many.
    """
    import keras

    parts = [part(network, "generated").output for part in (words_of, plain_of)]
    both = keras.Model(network.input, keras.layers.Concatenate()(parts))
    return logits(both, corpus.x[corpus.where(BENIGN, TUNE)])


def raising(said: NDArray[np.float32]) -> tuple[float, float]:
    """Above what the wide part of `generated` should raise, and how high at most, by `of_benign`."""
    return threshold_at(said[:, 0], RAISED), threshold_at(said[:, 1], UNTOUCHED)


def nameless(report: dict[str, Any]) -> dict[str, Any]:
    """The report without the names it gives as examples: an artifact is published, rows of lists are not."""
    out = dict(report)
    for table, names in (("tiers", "examples"), ("hard_benign", "highest")):
        out[table] = {key: {k: v for k, v in found.items() if k != names} for key, found in report[table].items()}
    return out


def limits_of(tuned: Tuned) -> Limits:
    """Thresholds as probabilities; unmeasured."""

    def threshold(head: str, logit: float, rule: str) -> Threshold:
        value = float(tuned.calibration[head](np.array([logit], np.float32))[0])
        return Threshold(value, note=f"tuned on {tuned.strata[rule]} benign names")

    return Limits(
        threshold("generated", tuned.block, "block"),
        threshold("generated", tuned.alert_generated, "alert_generated"),
        threshold("malicious", tuned.alert_score, "alert_score"),
    )


def measured(limits: Limits, tiers: dict[str, Any]) -> Limits:
    """The limits with what the judged benign names showed."""

    def filled(threshold: Threshold, tier: str) -> Threshold:
        found = tiers[tier]
        return msgspec.structs.replace(
            threshold, false_positives=found["false_positives"], benign=found["benign"], bound=found["bound"]
        )

    return Limits(
        filled(limits.block, "block"), filled(limits.alert_generated, "alert or block"),
        filled(limits.alert_score, "alert or block"),
    )  # fmt: skip


def headline(report: dict[str, Any]) -> dict[str, Any]:
    """The figures of the manifest: means over families at the strictest stratum's threshold."""
    return {
        "parameters": report["parameters"],
        "true_positive_rate": {
            rate: {name: round(group["value"], 4) for name, group in found["strictest"]["groups"].items()}
            for rate, found in report["rates"].items()
        },
        "feeds_mean": {
            rate: round(found["strictest"]["feeds_mean"]["value"], 4)
            for rate, found in report["rates"].items()
            if found["strictest"]["feeds_mean"]
        },
    }  # fmt: skip


def manifest_of(
    version: str, corpus: Corpus, plans: Sequence[Plan], tuned: Tuned | None, limits: Limits, metrics: dict[str, Any]
) -> Manifest:
    """The manifest; of the plans the last one, which holds the shape, is `plan`, those before it are `stages`."""
    *stages, plan = (msgspec.to_builtins(plan) for plan in plans)
    uncalibrated = {"generated": Platt(1.0, 0.0), "malicious": Platt(1.0, 0.0)}
    counts = np.bincount(corpus.source[corpus.part != LEFT_OUT], minlength=len(corpus.sources))
    return Manifest(
        format=FORMAT, version=version, network="attention" if plan["attention"] else "segments", encoding=ENCODING,
        heads=["generated", "malicious"],
        calibration=tuned.calibration if tuned else uncalibrated, base_rate=BASE_RATE, thresholds=limits,
        metrics=metrics | {"plan": plan} | ({"stages": stages} if stages else {}), digests={},
        splits=digests_of_parts(corpus),
        sources=[
            Source(source.path, source.licence, source.use, int(count), corpus.digest_of_source(number))
            for number, (source, count) in enumerate(zip(corpus.sources, counts, strict=True))
        ],
        notes=f"{'Transformer over characters' if plan['attention'] else 'Character CNN'}, two heads.",
    )  # fmt: skip


def sampled(corpus: Corpus, rows: int, seed: int) -> Corpus:
    """The corpus with at most `rows` teaching names of each kind (0: all)."""
    if not rows:
        return corpus
    part = corpus.part.copy()
    rng = np.random.default_rng(seed)
    for kind in np.unique(corpus.kind):
        part[rng.permutation(corpus.where(int(kind), TEACH))[rows:]] = LEFT_OUT
    return corpus._replace(part=part)
