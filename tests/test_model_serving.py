"""What surrounds a served model: explanation, replay, guard, retraining, offline classification."""

from typing import Any

import keras
import msgspec
import numpy as np
import pytest
import tensorflow

from model.artifact import Artifact
from model.classify import as_line, as_picture, judge
from model.explain import explain, likelihood, profile_of
from model.manifest import Limits, Threshold
from model.registry import RELEASED
from model.replay import guard, guard_set, replay
from model.retrain import (
    LABEL_SHARE,
    TRUTH,
    Kind,
    Label,
    NothingToLearn,
    Tuning,
    _batch,
    anchor_names,
    manifest_of,
    retrain,
    soft_loss,
)
from model.scorer import Scorer
from model.seed import build
from model.train import Cancelled
from tests.model_fixtures import manifest, write
from verdicts.policy import Policy, Thresholds

pytestmark = pytest.mark.patient

NAMES = ["example.com.de", "kq3v9z7xw1.info", "www.wikipedia.org", "x8d7f6g5h4.biz", "github.com"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return Artifact.load(write(tmp_path_factory.mktemp("serving")))


@pytest.fixture(scope="module")
def scorer(artifact: Artifact) -> Scorer:
    return Scorer(artifact, batch_sizes=(64,))


def test_an_explanation_weighs_every_character(scorer: Scorer) -> None:
    found = explain(scorer, "kq3v9z7xw1.info")
    assert "".join(c["character"] for c in found["characters"]) == "kq3v9z7xw1.info"
    assert any(c["weight"] for c in found["characters"])


def test_a_weight_is_what_hiding_the_character_takes_away(scorer: Scorer) -> None:
    found = explain(scorer, "kq3v9z7xw1.info", Thresholds(alert_generated=0.5))
    x = scorer.encoding(["kq3v9z7xw1.info"])
    hidden = x.copy()
    hidden[0, 2] = x[0, 2] // 64 * 64 + 40
    expected = (scorer.logits(x) - scorer.logits(hidden))[0, 0]
    assert found["head"] == "generated" and found["characters"][2]["weight"] == pytest.approx(expected, abs=1e-3)


def test_a_long_name_is_explained_where_the_network_reads_it(scorer: Scorer) -> None:
    name = ".".join(["a" * 60] * 3 + ["com"])
    found = explain(scorer, name)
    assert len(found["characters"]) == len(name) and not any(c["weight"] for c in found["characters"][: len(name) - 96])


def test_of_a_long_name_the_seed_network_s_explanation_is_of_its_beginning(artifact: Artifact) -> None:
    keras.utils.set_random_seed(1)
    network = build()
    network.set_weights([weights / 5 for weights in network.get_weights()])  # else it is as sure as it can be
    only = manifest("seed-1", network="seed", encoding="codepoints-256", heads=["malicious"])
    only = msgspec.structs.replace(only, calibration={"malicious": only.calibration["malicious"]})
    scorer = Scorer(artifact._replace(manifest=only, network=network), batch_sizes=(64,))
    name = "_dns." + "\\200" * 60 + ".covid19-relief." + "\\200" * 15 + ".net"  # of 320 characters
    found = explain(scorer, name)["characters"]
    assert "".join(c["character"] for c in found) == name
    weighed = [place for place, c in enumerate(found) if c["weight"]]
    assert weighed and 5 <= weighed[0] < 20 and weighed[-1] < 5 + 256
    x = scorer.encoding([name])
    hidden = x.copy()
    hidden[0, weighed[0] - 5] = ord("?")
    moved = (scorer.logits(x) - scorer.logits(hidden)).item()
    assert found[weighed[0]]["weight"] == pytest.approx(moved, abs=1e-3)


def test_a_flagged_name_has_a_nearest_family(scorer: Scorer) -> None:
    flagged = explain(scorer, "kq3v9z7xw1.info", Thresholds(alert_generated=0.0))
    unflagged = explain(scorer, "kq3v9z7xw1.info", Thresholds())
    assert unflagged["nearest"] is None and 0 < flagged["nearest"]["share"] <= 1


def test_a_family_s_own_name_is_likeliest_under_its_profile() -> None:
    digits, letters = profile_of(["0123456789.biz"] * 3), profile_of(["abcdefghij.com"] * 3)
    assert likelihood(digits, "9876543210", "biz") > likelihood(letters, "9876543210", "biz")


def test_the_seed_network_is_explained_too() -> None:
    scorer = Scorer(Artifact.load(RELEASED / "seed-2020"), batch_sizes=(64,))
    assert explain(scorer, "covid19-relief.example.net")["head"] == "malicious"


def moved(artifact: Artifact, **limits: float) -> Scorer:
    blank = {"block": 2.0, "alert_generated": 2.0, "alert_score": 2.0} | limits
    changed = manifest("moved", thresholds=Limits(*(Threshold(value, 0, 9, 1e-6) for value in blank.values())))
    return Scorer(artifact._replace(manifest=changed), batch_sizes=(64,))


def test_a_replay_counts_every_verdict_that_would_change(artifact: Artifact) -> None:
    found = replay([(name, 3) for name in NAMES], moved(artifact), moved(artifact, alert_score=0.0))
    assert [change.name for change in found.changes] == NAMES and found.after["alert"] == 15 == found.before["none"]
    assert {(change.before, change.after) for change in found.changes} == {("none", "alert")}


def test_a_replay_of_the_same_model_changes_nothing(scorer: Scorer) -> None:
    found = replay([(name, 1) for name in NAMES], scorer, scorer)
    assert found.names == 5 and not found.changes


def test_a_replay_leaves_out_what_no_model_is_asked(scorer: Scorer) -> None:
    assert replay([("localhost", 9), ("1.0.0.127.in-addr.arpa", 9)], scorer, scorer).names == 0


def test_a_replay_caps_popular_names_as_a_resolver_is_told(artifact: Artifact) -> None:
    found = replay([(name, 1) for name in NAMES], moved(artifact), moved(artifact, block=0.0), popular={NAMES[0]})
    assert [change.after for change in found.changes] == ["alert", *["block"] * (len(NAMES) - 1)]
    assert "capped" in found.changes[0].rule


def test_thresholds_of_an_administrator_hold_for_both(artifact: Artifact) -> None:
    policy = Policy(thresholds=Thresholds(alert_score=0.0))
    assert not replay([(NAMES[0], 1)], moved(artifact), moved(artifact, alert_score=0.0), policy).changes


def test_a_candidate_that_flags_everything_fails_the_guard(artifact: Artifact) -> None:
    assert len(guard(moved(artifact, block=0.0).artifact)) == len(guard_set()[0])


def test_the_guard_asks_whom_an_administrator_s_thresholds_would_flag_and_not_whom_they_pass(
    artifact: Artifact,
) -> None:
    assert len(guard(moved(artifact).artifact, Thresholds(block=0.0))) == len(guard_set()[0]) + 1
    assert guard(moved(artifact, block=0.0).artifact, Thresholds()) == []


def test_a_candidate_that_flags_nothing_fails_the_guard(artifact: Artifact) -> None:
    assert guard(moved(artifact).artifact) == [
        f"{len(guard_set()[1])} of {len(guard_set()[1])} generated names would pass, expected at most half"
    ]


LABELS = [Label("qzx9k2v7.info", "generated"), Label("wikipedia.org", "benign"), Label("shop.example.de", "unsure")]


def test_retraining_learns_its_labels_and_keeps_the_rest(artifact: Artifact) -> None:
    seen = [f"host{i}.site{i % 50}.com" for i in range(300)]
    lines: list[dict[str, object]] = []
    network = retrain(artifact, LABELS, seen, Tuning(steps=60, batch_size=128, rate=2e-3), lines.append)
    before, after = Scorer(artifact, (64,)), Scorer(artifact._replace(network=network), (64,))
    x = before.encoding(["qzx9k2v7.info"])
    assert after.logits(x)[0, 0] > before.logits(x)[0, 0]
    kept = before.encoding(seen)
    assert np.abs(after(kept) - before(kept)).mean() < 0.1 and lines[-1]["step"] == 60


@pytest.mark.parametrize("size", [20, 30, 39, 40, 512])
def test_labels_are_at_most_a_twentieth_of_a_batch(
    artifact: Artifact, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    labelled = artifact.encoding(["qzx9k2v7.info"])[0]

    def batch(*arguments: Any) -> Any:
        x, y = _batch(*arguments)
        seen.append(float((x == labelled).all(1).mean()))
        return x, y

    monkeypatch.setattr("model.retrain._batch", batch)
    retrain(artifact, LABELS[:1], [], Tuning(steps=2, batch_size=size))
    assert all(0 < share <= 0.05 for share in seen)


@pytest.mark.parametrize("size", [20, 39, 512])
@pytest.mark.parametrize("kind", TRUTH)
def test_labels_weigh_at_most_a_twentieth_in_the_loss(kind: Kind, size: int) -> None:
    """The gradient of a cell is its weight times its error."""
    x, rng, few = np.zeros((1, 4), np.uint8), np.random.default_rng(0), int(size * LABEL_SHARE)
    _, y = _batch(rng, (x, np.zeros((1, 2), np.float32)), (x, np.array([TRUTH[kind]], np.float32)), size, few)
    logits = tensorflow.ones((size, 2))
    with tensorflow.GradientTape() as tape:
        tape.watch(logits)
        loss = soft_loss(y, logits)
    errors = 1 / (1 + np.exp(-1)) - np.clip(y, 0, 1)
    weights = (tape.gradient(loss, logits).numpy() / errors).sum(axis=1)
    assert 0 < weights[-few:].sum() / weights.sum() <= 0.05 + 1e-6  # float32


def test_a_step_of_retraining_is_traced_once(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    traces: list[int] = []

    def loss(truth: Any, logits: Any) -> Any:
        traces.append(1)
        return soft_loss(truth, logits)

    monkeypatch.setattr("model.retrain.soft_loss", loss)
    retrain(artifact, LABELS[:1], [], Tuning(steps=2, batch_size=40))
    assert len(traces) == 1


def test_retraining_is_cancelled(artifact: Artifact) -> None:
    with pytest.raises(Cancelled):
        retrain(artifact, LABELS, [], Tuning(steps=5), cancelled=lambda: True)


def test_labels_that_teach_nothing_are_refused(artifact: Artifact) -> None:
    with pytest.raises(NothingToLearn, match="2 labels, none of them generated, .* of a name that the model is asked"):
        retrain(artifact, [Label("a.de", "unsure"), Label("printer.internal", "benign")], [])


def test_a_fine_tuned_model_does_not_block_on_its_parent_s_bound(artifact: Artifact) -> None:
    assert artifact.thresholds().block is not None
    tuned = manifest_of(artifact.manifest, "tuned-1", 2, {})
    limits = (artifact.manifest.thresholds, tuned.thresholds)
    for old, new in zip(*map(msgspec.structs.astuple, limits), strict=True):
        assert new == Threshold(old.value, note="threshold of test-1, not measured anew")
    assert tuned.policy_thresholds().block is None and artifact.manifest.notices() == []
    assert tuned.notices() == ["tuned-1 never blocks, it only alerts: its rate of false positives was not measured"]


def test_labelled_names_are_no_anchors() -> None:
    assert "a.de" not in anchor_names(["a.de"], ["a.de", "b.de"], 0)


def test_names_are_judged_in_their_order(scorer: Scorer) -> None:
    names = [*NAMES, "a..b", "localhost", "WWW.Example.COM.de."]
    found = list(judge(names, scorer))
    assert [judged.name for judged in found] == names
    assert found[5].verdict is None and found[6].verdict is not None and found[6].verdict.source == "ineligible"


def test_a_line_has_four_columns_whatever_the_name(scorer: Scorer) -> None:
    for judged in judge(["a\tb.com", "a..b\t\n", "github.com"], scorer):
        line = as_line(judged)
        assert len(line.split("\t")) == 4 and "\n" not in line


def test_the_picture_marks_each_character(scorer: Scorer) -> None:
    lines = as_picture(explain(scorer, "kq3v9z7xw1.info")).splitlines()
    assert len(lines[1]) == len("  kq3v9z7xw1.info")


def test_the_released_network_passes_its_guard_and_blocks_with_a_bound() -> None:
    artifact = Artifact.load(RELEASED / "segments-2026-11h")
    block = artifact.manifest.thresholds.block
    assert guard(artifact) == [] and artifact.thresholds().block is not None
    assert all(len(source.digest) == 64 and source.licence for source in artifact.manifest.sources)
    assert block.bound is not None and block.bound <= 1e-4 and block.benign is not None and block.benign >= 200_000
    scores = Scorer(artifact, (64,))(artifact.encoding(["kxrutmcfwxyiruqvnrrgxybzz.ru", "wikipedia.org"]))
    assert scores[0, 0] >= artifact.thresholds().block > scores[1, 0]
