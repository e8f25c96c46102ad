"""Retraining: the serving network, fine-tuned with analysts' labels, in minutes.

Labels are few and the network's knowledge is large, so most of the loss holds it in place: on anchors (names lately
seen, and names of random grammars) the tuned network must go on saying what the serving one says. Labels are at most
5 % of each batch, and weigh no more in its loss, whose value may be mostly theirs: on anchors the network begins with
the least there is. No training data is needed where the cluster runs.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from model.artifact import Artifact
from model.begun import OTHER
from model.encoding import Rows
from model.grammars import sample
from model.manifest import Limits, Manifest, Threshold
from model.scorer import Scorer
from model.train import Cancelled
from verdicts.names import ineligible, split, strip_service

Kind = Literal["generated", "malicious", "benign", "unsure"]
TRUTH: dict[Kind, tuple[int, int]] = {"generated": (1, 1), "malicious": (-1, 1), "benign": (0, 0)}  # -1: no loss
LABEL_SHARE = 0.05  # of a batch and of the weights in its loss, at most
SMALLEST_BATCH = 20  # in a smaller one a single label would be more
LARGEST_BATCH = 16_384  # rows; a training draws so many at once
MAX_MINUTES = 10.0


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An analyst's label of a normalised name: teaching, unlike a list decision. `unsure` teaches nothing."""

    name: str
    label: Kind


class Tuning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to fine-tune."""

    steps: int = 600
    batch_size: int = 512
    rate: float = 2e-4
    minutes: float = MAX_MINUTES
    seed: int = 0


class NothingToLearn(ValueError):
    """No label that teaches."""


def retrain(
    artifact: Artifact,
    labels: Sequence[Label],
    seen: Sequence[str],
    tuning: Tuning = Tuning(),  # noqa: B008
    progress: Callable[[dict[str, Any]], None] = lambda line: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Any:
    """Fine-tune a copy of the artifact's network and return it.

    `seen`: normalised names of recent traffic, to hold the network in place. `progress` gets a line about every
    second. Raises `NothingToLearn`, `Cancelled`, and ValueError for a network with one head.
    """
    import keras

    if artifact.manifest.heads != ["generated", "malicious"]:
        raise ValueError(f"model {artifact.version}: has one head, expected one with generated and malicious")
    teaching = teaching_of(labels)
    if not teaching:
        what = "generated, malicious or benign, of a name that the model is asked about"
        raise NothingToLearn(f"{len(labels)} labels, none of them {what}")
    keras.utils.set_random_seed(tuning.seed)
    rng = np.random.default_rng(tuning.seed)
    scorer = Scorer(artifact, batch_sizes=(1024,))
    anchors = scorer.encoding(anchor_names([label.name for label in teaching], seen, tuning.seed))
    held = (1 / (1 + np.exp(-np.clip(scorer.logits(anchors), -30, 30)))).astype(np.float32)  # (A, 2)
    taught = scorer.encoding([label.name for label in teaching])
    truth = np.array([TRUTH[label.label] for label in teaching], np.float32)
    network = keras.models.clone_model(artifact.network)
    network.set_weights(artifact.network.get_weights())
    optimizer = keras.optimizers.Adam(tuning.rate, clipnorm=1.0)
    optimizer.build(network.trainable_variables)  # TensorFlow traces twice a step that makes variables
    network.compile(optimizer, soft_loss, jit_compile=False)
    few = int(tuning.batch_size * LABEL_SHARE)
    if not few:
        raise ValueError(f"batch size {tuning.batch_size}: expected {SMALLEST_BATCH} or more")
    began = said = time.monotonic()
    for step in range(tuning.steps):
        if cancelled():
            raise Cancelled(f"cancelled at step {step + 1} of {tuning.steps}")
        x, y = _batch(rng, (anchors, held), (taught, truth), tuning.batch_size, few)
        loss = float(network.train_on_batch(x, y))
        now = time.monotonic()
        if now - said >= 1 or step + 1 == tuning.steps:
            said = now
            progress({"step": step + 1, "steps": tuning.steps, "loss": loss, "seconds": round(now - began, 1)})
        if now - began > 60 * min(tuning.minutes, MAX_MINUTES):
            break
    network.compile()  # the optimizer is no part of an artifact
    return network


def teaching_of(labels: Sequence[Label]) -> list[Label]:
    """The labels that teach: not `unsure`, and of names that the model is asked about."""
    return [label for label in labels if label.label in TRUTH and ineligible(strip_service(label.name)) is None]


def soft_loss(truth: Any, logits: Any) -> Any:
    """Mean cross-entropy against probabilities, (B, 2) and (B, 2) -> scalar; truth -1: no loss."""
    from keras import ops

    truth = ops.cast(truth, "float32")
    known = ops.cast(truth >= 0, "float32")
    target = ops.clip(truth, 0, 1)
    exact = ops.maximum(logits, 0) - logits * target + ops.log1p(ops.exp(-ops.absolute(logits)))
    # By the batch's size, not by what is known: a label without a head must not weigh its other head more.
    return ops.sum(known * exact) / (2.0 * ops.cast(ops.shape(truth)[0], "float32"))


def manifest_of(parent: Manifest, version: str, labels: int, metrics: dict[str, Any]) -> Manifest:
    """The manifest of a fine-tuned artifact.

    Thresholds stay, for the network was held in place; but what was measured at them was measured on other weights, so
    it is gone, and with the bound of `block` the tier, until somebody measures again.
    """

    def unmeasured(limit: Threshold) -> Threshold:
        return Threshold(limit.value, note=f"threshold of {parent.version}, not measured anew")

    old = parent.thresholds
    # By which a training may go on from it, and what is to be known of what it came of.
    kept = {key: parent.metrics[key] for key in ("plan", OTHER) if key in parent.metrics}
    limits = Limits(unmeasured(old.block), unmeasured(old.alert_generated), unmeasured(old.alert_score))
    return msgspec.structs.replace(
        parent, version=version, parent=parent.version, thresholds=limits,
        metrics={"parent": parent.version, "labels": labels, **kept, **metrics}, digests={},
        notes=f"{parent.version} fine-tuned with {labels} labels.",
    )  # fmt: skip


def anchor_names(labelled: Sequence[str], seen: Sequence[str], seed: int) -> list[str]:
    """Up to 40,000 names to hold the network in place: seen ones that are not labelled, and random grammars'."""
    rng = random.Random(seed)
    taken = set(labelled)
    kept = [name for name in dict.fromkeys(seen) if name not in taken and ineligible(strip_service(name)) is None]
    kept = rng.sample(kept, min(len(kept), 30_000))
    words = [split(name).registered.partition(".")[0] for name in kept] or ["example", "network", "service", "weather"]
    labels = sample(rng, words, 1_250, 8)
    suffixes = [split(name).suffix for name in kept] or ["com", "net", "org", "info"]
    return kept + [f"{label}.{rng.choice(suffixes)}" for label in labels]


def _batch(
    rng: np.random.Generator,
    anchors: tuple[Rows, NDArray[np.float32]],
    labels: tuple[Rows, NDArray[np.float32]],
    size: int,
    few: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    some = rng.integers(0, len(anchors[0]), size - few)
    taught = rng.integers(0, len(labels[0]), few)
    x = np.concatenate([anchors[0][some], labels[0][taught]]).astype(np.int32)
    return x, np.concatenate([anchors[1][some], labels[1][taught]]).astype(np.float32)
