"""Sampling, grammars and training, on a handful of names."""

import contextlib
import random
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import model.train as train_module
from model.dataset import Corpus, collect
from model.dataset import build as corpus_of
from model.distil import Teachers
from model.encoding import SEGMENT, Rows, encoder
from model.families import Family
from model.grammars import KINDS, draw, sample
from model.network import (
    BOUND,
    Shape,
    build,
    low_rate_loss,
    masked_loss,
)
from model.plan import Plan, alone, distilling, rate_at, tuning
from model.sampling import LONG, LONG_SHARE, SHARES, Sampler
from model.sources import Source
from model.train import LOSSES, Cancelled, blend, history, train
from model.wide import HEADS, by_words
from tests.model_fixtures import SMALL, full_disk, weigh
from tests.synced import Disk

pytestmark = [
    pytest.mark.patient,
    pytest.mark.usefixtures("short_blocks"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
]

SOURCES = [
    Source("good.txt", "plain", "benign", "teach", "MIT", "-", 1.0),
    Source("dga.csv", "csv", "dga", "teach", "MIT", "-"),
    Source("feed.txt", "plain", "feed", "teach", "MIT", "-"),
]
TINY = Plan(epochs=2, blocks=1, batch_size=1024, grammars=100, mining=0.5, shape=SMALL)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    rng, data = random.Random(1), tmp_path_factory.mktemp("data")
    words = ["river", "stone", "market", "garden", "summer", "paper"]
    (data / "good.txt").write_text(
        "".join(f"www.{rng.choice(words)}{rng.choice(words)}{i}.com\n{rng.choice(words)}{i}.net\n" for i in range(300))
    )
    (data / "dga.csv").write_text(
        "name,family\n"
        + "".join("".join(rng.choices("bcdfghjkqxz", k=14)) + f".biz,{'ab'[i % 10 == 0]}\n" for i in range(600))
    )
    (data / "feed.txt").write_text("".join(f"login-{rng.choice(words)}{i}.top\n" for i in range(300)))
    return corpus_of(collect(SOURCES, data), SOURCES, {"a": Family("a", 1, "letters", 1)}, held_out=0)


@pytest.fixture
def sampler(corpus: Corpus) -> Sampler:
    sampler = Sampler(corpus, 0)
    sampler.renew(50)
    return sampler


def test_every_kind_of_grammar_makes_labels() -> None:
    rng = random.Random(0)
    for kind, _ in KINDS:
        labels = [kind(rng, ["wikipedia", "mountain"])(rng) for _ in range(20)]
        assert len(set(labels)) > 1 and all(labels)


def test_labels_of_grammars_are_dns_labels() -> None:
    labels = sample(random.Random(0), ["wikipedia", "mountain"], 300, 4)
    assert all(
        4 <= len(label) <= 60 and set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for label in labels
    )


def test_one_seed_draws_the_same_grammars() -> None:
    assert sample(random.Random(5), ["wikipedia"], 50, 2) == sample(random.Random(5), ["wikipedia"], 50, 2)
    assert callable(draw(random.Random(5), ["wikipedia"]))


def test_a_block_has_each_kind_in_its_share(sampler: Sampler) -> None:
    _, truth = sampler.block(4000)
    known = {tuple(row) for row in truth.tolist()}
    assert known == {(0, 0), (0, -1), (1, 1), (1, -1), (-1, 2)}
    assert (truth[:, 0] == 0).mean() == pytest.approx(SHARES["benign"], abs=0.01)


def test_an_edit_changes_one_character_of_the_registered_label(sampler: Sampler) -> None:
    x = encoder("segments-96")(["www.river2.com"] * 2000)
    changed = sampler._edit(x.copy()) != x
    assert set(changed.sum(1)) == {0, 1} and changed[:, :4].sum() == changed[:, 10:].sum() == 0
    assert 0.02 < changed.any(1).mean() < 0.15  # the dots and the other segments are left alone


def test_another_suffix_leaves_the_rest(sampler: Sampler) -> None:
    x = encoder("segments-96")(["www.river2.co.uk", "stone.com"])
    moved = sampler._other_suffix(x)
    endings = {tuple(row[row > 0]) for row in sampler.endings}
    for before, after in zip(x, moved, strict=True):
        assert (before[before < 2 * SEGMENT].nonzero()[0].size) == (after[(after > 0) & (after < 2 * SEGMENT)]).size
        assert (
            (after[: (before > 0).sum()][before[before > 0] < 2 * SEGMENT]).tolist()
            == (before[(before > 0) & (before < 2 * SEGMENT)]).tolist()
        )
        assert tuple(after[after >= 2 * SEGMENT]) in endings


def test_mining_draws_what_looks_machine_made_more_often(sampler: Sampler) -> None:
    count = len(sampler.benign_rows)
    scores = np.zeros(count, np.float32)
    scores[: count // 50] = 20
    hard = sampler.pools["benign"].rows[: count // 50]
    sampler.mine(scores)
    assert np.isin(sampler.pools["benign"].draw(sampler.rng, 10_000), hard).mean() > 0.25
    assert len(np.unique(sampler.pools["benign"].draw(sampler.rng, 40 * count))) > 0.9 * count


def test_half_of_the_benign_names_have_a_subdomain(sampler: Sampler) -> None:
    rows = sampler.pools["benign"].draw(sampler.rng, 4000)
    assert (sampler.corpus.x[rows, 0] < SEGMENT).mean() == pytest.approx(0.5, abs=0.05)


def test_a_small_family_is_drawn_more_than_its_size(sampler: Sampler) -> None:
    rows = sampler.pools["dga"].draw(sampler.rng, 4000)
    small = sampler.corpus.families.index("b")
    assert (sampler.corpus.family[rows] == small).mean() > 0.2


def test_only_teaching_names_are_drawn(sampler: Sampler) -> None:
    for pool in sampler.pools.values():
        assert (sampler.corpus.part[pool.rows] == 0).all()


def test_batches_hold_every_row_once_at_a_width_that_fits(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    x, truth = sampler.block(4096)
    monkeypatch.setattr(sampler, "block", lambda *_: (x, truth))
    batches = sampler.batches(4096, 256, (24, 48, 96))
    rows = np.concatenate([np.pad(batch.x, ((0, 0), (0, 96 - batch.x.shape[1]))) for batch in batches])
    assert sorted(map(bytes, rows.astype(np.uint8))) == sorted(map(bytes, x))
    assert {batch.x.shape[1] for batch in batches} <= {24, 48, 96}


def test_a_block_has_fewer_long_names(sampler: Sampler) -> None:
    sampler.synthetic = encoder("segments-96")(["a" * 40 + ".com"] * 50 + ["river.com"] * 50)
    x, _ = sampler.block(40_000)
    assert len(x) == pytest.approx(40_000 * (1 - SHARES["synthetic"] / 2 * (1 - LONG_SHARE)), rel=0.002)
    assert (x[:, LONG] > 0).any()


def test_some_names_without_a_subdomain_are_given_one(sampler: Sampler) -> None:
    x = encoder("segments-96")(["river2.com", "a.river2.com"] * 1000)
    given = sampler._prefix(x.copy(), 0.5, sampler.www, np.array([4]))
    changed = (given != x).any(1)
    assert not changed[1::2].any() and changed[::2].mean() == pytest.approx(0.5, abs=0.05)
    assert np.unique(given[changed], axis=0).tolist() == encoder("segments-96")(["www.river2.com"]).tolist()


def test_what_is_not_altered_keeps_its_label_and_suffix(sampler: Sampler) -> None:
    def without_subdomains(x: Rows) -> set[bytes]:
        return {row[row >= SEGMENT].tobytes() for row in x}

    known = without_subdomains(np.concatenate([sampler.corpus.x, sampler.synthetic]))
    assert without_subdomains(sampler.block(2000, altered=False)[0]) <= known
    assert len(without_subdomains(sampler.block(2000)[0]) - known) > 200


@pytest.mark.parametrize("shape", [Shape(), Shape(places=16), Shape(grams=1009), Shape(grams=1009, worded=HEADS)])
def test_padding_changes_no_score(shape: Shape) -> None:
    network = build(shape)
    for head in shape.worded if shape.grams else ():
        weigh(network, head)
    x = encoder("segments-96")(["login-bank.example.top", "a.b.co.uk", "x.com"]).astype(np.int32)
    assert np.abs(np.asarray(network(x[:, :24])) - np.asarray(network(x))).max() < 1e-5


def test_places_count_from_the_start_of_the_registered_label() -> None:
    network = build(Shape(places=8))
    kept = keras.Model(network.input, network.get_layer("places").output)
    label = "abcdefghijklmnopqrst.com"
    names = [label, "www." + label, "xx" + label]
    bare, below, moved = np.asarray(kept(encoder("segments-96")(names).astype(np.int32))).reshape(3, 8, -1)
    assert below[7] == pytest.approx(bare[7], abs=1e-5)  # so far from the subdomain that no filter sees it
    assert moved[7] == pytest.approx(bare[6], abs=1e-5)
    assert np.abs(moved[7] - bare[7]).max() > 1e-3


@pytest.mark.parametrize(("head", "column", "bad"), [("malicious", 1, 2), ("generated", 0, 1)])
def test_a_head_is_taught_alone_and_goes_on_where_it_was(
    sampler: Sampler, tmp_path: Path, head: str, column: int, bad: int
) -> None:
    start = build(SMALL)
    plan = msgspec.structs.replace(alone(TINY, head), epochs=2)
    x, truth = sampler.block(512)
    x = x.astype(np.int32)
    stops = iter([False] * 3 + [True] * 99)
    with pytest.raises(Cancelled):
        train(sampler, plan, tmp_path, cancelled=lambda: next(stops), start=start)
    assert [line["epoch"] for line in history(tmp_path)] == [1]
    network = train(sampler, plan, tmp_path, start=start)
    assert [line["epoch"] for line in history(tmp_path)] == [1, 2]
    before, after = np.asarray(start(x)), np.asarray(network(x))
    assert np.abs(after[:, 1 - column] - before[:, 1 - column]).max() < 1e-6
    told, good = truth[:, column] == bad, truth[:, column] == 0

    def gap(logits: NDArray[np.float32]) -> float:
        return float(logits[told, column].mean() - logits[good, column].mean())

    assert gap(np.asarray(by_words(network, head)(x))) > gap(before) + 0.4
    assert gap(after) > gap(before) + (0.4 if head == "malicious" else 0.1)  # that of generated only raises
    assert all(layer.trainable for layer in network.layers)  # by analysts' labels, later
    again = train(sampler, plan, tmp_path / "again", start=network)  # what has a wide part keeps it
    assert np.abs(np.asarray(again(x))[:, 1 - column] - before[:, 1 - column]).max() < 1e-6
    both = alone(plan, HEADS[1 - column])  # what has one wide part keeps it and gets another
    again = train(sampler, both, tmp_path / "both", start=network)
    assert both.shape.worded == HEADS and np.asarray(again(x))[:, column] == pytest.approx(after[:, column], abs=1e-5)


def test_a_masked_head_has_no_loss() -> None:
    logits = np.array([[3.0, -2.0]], np.float32)
    assert float(masked_loss(np.array([[-1.0, -1.0]]), logits)) == 0
    assert float(masked_loss(np.array([[1.0, -1.0]]), logits)) == pytest.approx(np.log1p(np.exp(-3.0)), rel=1e-4)


def test_a_benign_name_above_the_generated_ones_costs_more_at_a_low_rate() -> None:
    truth = np.array([[1.0, 1.0], [0.0, 0.0]])
    above, below = (np.array([[1.0, 0.0], [benign, 0.0]], np.float32) for benign in (3.0, -3.0))
    more = [float(low_rate_loss(truth, logits) - masked_loss(truth, logits)) for logits in (above, below)]
    assert more[0] > 0.1 > more[1] > 0


def test_without_a_benign_name_there_is_nothing_to_compare_with() -> None:
    truth, logits = np.array([[1.0, 1.0]]), np.array([[1.0, 0.0]], np.float32)
    assert float(low_rate_loss(truth, logits)) == pytest.approx(float(masked_loss(truth, logits)))


def test_a_feed_s_error_costs_a_bounded_loss() -> None:
    assert float(masked_loss(np.array([[-1.0, 2.0]]), np.array([[0.0, -40.0]], np.float32))) < 1 / BOUND


def test_the_rate_rises_then_falls() -> None:
    plan = Plan()
    assert rate_at(plan, 0.001) < rate_at(plan, plan.warm_up) == plan.rate > rate_at(plan, 0.6) > rate_at(plan, 1.0)


def test_training_notes_a_line_an_epoch(sampler: Sampler, tmp_path: Path) -> None:
    seen: list[dict[str, object]] = []
    network = train(sampler, TINY, tmp_path, seen.append)
    assert network.output_shape == (None, 2)
    assert [line["epoch"] for line in history(tmp_path)] == [1, 2] == [line["epoch"] for line in seen]


def test_the_last_part_of_training_mines(sampler: Sampler, tmp_path: Path) -> None:
    before = sampler.pools["benign"].cumulative.copy()
    train(sampler, TINY, tmp_path)
    assert not np.allclose(sampler.pools["benign"].cumulative / before[-1], before / before[-1])


@pytest.mark.parametrize(("mining", "hard"), [(0.5, True), (1.0, False)])
def test_mining_begins_within_an_epoch_or_not_at_all(corpus: Corpus, tmp_path: Path, mining: float, hard: bool) -> None:
    sampler = Sampler(corpus, 0)
    plain = sampler.pools["benign"]
    train(sampler, msgspec.structs.replace(TINY, epochs=1, blocks=2, mining=mining), tmp_path)
    assert (sampler.pools["benign"] is not plain) == hard


def test_without_grammars_the_other_kinds_keep_their_shares(corpus: Corpus, tmp_path: Path) -> None:
    sampler = Sampler(corpus, 0)
    train(sampler, msgspec.structs.replace(TINY, epochs=1, grammars=0), tmp_path)
    _, truth = sampler.block(40_000)
    assert len(truth) == pytest.approx(40_000 * (1 - SHARES["synthetic"]), rel=0.001)
    assert (truth[:, 1] == 2).mean() == pytest.approx(SHARES["feed"] / (1 - SHARES["synthetic"]), abs=0.01)


def test_fine_tuning_ends_midway(sampler: Sampler, tmp_path: Path) -> None:
    start, plan = build(SMALL), tuning(TINY)
    assert plan.mining == 0 and plan.rate < TINY.rate
    network = train(sampler, TINY, tmp_path, start=start)
    end = keras.saving.load_model(tmp_path / "average.keras")
    for begun, found, ended in zip(start.get_weights(), network.get_weights(), end.get_weights(), strict=True):
        assert found == pytest.approx((begun + ended) / 2, abs=1e-6)


def test_teachers_are_believed_beside_the_lists(sampler: Sampler, tmp_path: Path) -> None:
    teachers = [build(SMALL), build(SMALL)]
    for teacher, generated in zip(teachers, (4.0, 8.0), strict=True):  # whatever the name, and never malicious
        *kept, weights, _ = teacher.get_weights()
        teacher.set_weights([*kept, np.zeros_like(weights), np.array([generated, -9.0], np.float32)])
    x, truth = sampler.block(64)
    told = Teachers(teachers).tell(x.astype(np.int32), truth)
    assert (told[:, :2] == truth).all() and told[:, 2:] == pytest.approx(np.tile([6.0, -7.0], (len(x), 1)))
    plan = distilling(TINY, ["one", "other"])
    assert (plan.crossed, plan.teachers, plan.rate) == (0.25, ["one", "other"], TINY.rate / 2)
    network = train(sampler, msgspec.structs.replace(plan, epochs=12, rate=0.02), tmp_path, teachers=teachers)
    x, truth = sampler.block(512)
    said = np.asarray(network(x.astype(np.int32)))
    assert said[truth[:, 0] == 0, 0].mean() > 2 and said[:, 1].mean() < -2


def test_a_crossed_name_is_the_head_of_one_and_the_tail_of_another(sampler: Sampler) -> None:
    x = encoder("segments-96")(["a.bcd.com", "wxyz.co.uk"] * 200)
    heads = ["a." + "bcd"[:cut] for cut in (1, 2, 3)] + ["wxyz"[:cut] for cut in (1, 2, 3, 4)]
    tails = ["bcd.com"[cut:] for cut in range(4)] + ["wxyz.co.uk"[cut:] for cut in range(5)]
    expected = {
        bytes(row[row > 0]) for row in encoder("segments-96")([head + tail for head in heads for tail in tails])
    }
    crossed = sampler._cross(x, 0.5)
    assert len(crossed) == 200
    found = {bytes(row[: np.count_nonzero(row)]) for row in crossed}
    assert found <= expected and len(found) > 40


def test_the_first_step_of_a_network_is_traced_once(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)  # else nothing is traced
    traces: list[int] = []

    def loss(truth: Any, logits: Any) -> Any:
        traces.append(1)
        return masked_loss(truth, logits)

    network, *_ = train_module._resume(tmp_path, TINY, None, loss)
    network.train_on_batch(np.ones((64, 12), np.int32), np.zeros((64, 2), np.float32))
    assert len(traces) == 1


def test_the_average_of_a_short_run_has_left_where_it_began(sampler: Sampler, tmp_path: Path) -> None:
    average = train(sampler, TINY, tmp_path)
    last = keras.saving.load_model(tmp_path / "checkpoint.keras", custom_objects=LOSSES)
    for found, ended in zip(average.get_weights(), last.get_weights(), strict=True):
        assert found == pytest.approx(ended, abs=1e-6)  # a tenth of two blocks is less than one


def test_a_blend_is_between(sampler: Sampler) -> None:
    one, other = build(SMALL), build(SMALL)
    before = one.get_weights()
    blend(one, other, 0.25)
    for begun, found, towards in zip(before, one.get_weights(), other.get_weights(), strict=True):
        assert found == pytest.approx(0.75 * begun + 0.25 * towards, abs=1e-6)


def test_a_cancelled_run_goes_on_from_its_checkpoint(sampler: Sampler, tmp_path: Path) -> None:
    done: list[dict[str, object]] = []
    with pytest.raises(Cancelled):
        train(sampler, TINY, tmp_path, done.append, cancelled=lambda: len(done) == 1)
    train(sampler, TINY, tmp_path, done.append)
    assert [line["epoch"] for line in done] == [1, 2]


def test_a_run_is_cancelled_within_a_block(sampler: Sampler, tmp_path: Path) -> None:
    asked = iter((False, False, True))  # at the block's start, at the first batch and at the second
    with pytest.raises(Cancelled):
        train(sampler, msgspec.structs.replace(TINY, epochs=1), tmp_path, cancelled=lambda: next(asked))


def test_a_run_that_goes_on_draws_what_it_would_have_drawn(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bytes] = []

    def noted(self: Sampler, count: int, *how: float) -> tuple[Rows, NDArray[np.float32]]:
        x, truth = block(self, count, *how)
        drawn.append(x.tobytes())
        return x, truth

    block = Sampler.block
    monkeypatch.setattr(Sampler, "block", noted)
    plan, done = msgspec.structs.replace(TINY, mining=1.0), list[dict[str, object]]()
    train(Sampler(corpus, 3), plan, tmp_path / "straight")
    with pytest.raises(Cancelled):
        train(Sampler(corpus, 3), plan, tmp_path / "twice", done.append, cancelled=lambda: bool(done))
    train(Sampler(corpus, 3), plan, tmp_path / "twice")
    assert len(drawn) == 4 and len(set(drawn)) == 2 and drawn[:2] == drawn[2:]


@pytest.mark.parametrize("more", ['{"epoch": 2, "loss": 0.1}\n', '{"epoch": 2, "lo'])
def test_a_run_killed_before_its_state_was_written_has_no_line_twice(
    sampler: Sampler, tmp_path: Path, more: str
) -> None:
    done: list[dict[str, object]] = []
    with pytest.raises(Cancelled):
        train(sampler, TINY, tmp_path, done.append, cancelled=lambda: len(done) == 1)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(more)
    train(sampler, TINY, tmp_path)
    assert [line["epoch"] for line in history(tmp_path)] == [1, 2] and history(tmp_path)[1]["loss"] != 0.1


def test_what_the_state_vouches_for_is_on_disk_before_it(
    sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, held = Disk(monkeypatch), list[bool]()
    kept = [tmp_path / name for name in ("checkpoint.keras", "average.keras", "history.jsonl")]
    disk.look = lambda target: held.extend(map(disk.holds, kept)) if target.name == "state.json" else None
    train(sampler, TINY, tmp_path)
    assert held == [True] * len(kept) * TINY.epochs


def test_a_full_disk_is_named_and_the_run_goes_on_from_the_epoch_before(sampler: Sampler, tmp_path: Path) -> None:
    def note(line: dict[str, object]) -> None:
        fills.enter_context(full_disk())

    with (
        contextlib.ExitStack() as fills,
        pytest.raises(OSError, match=f"{tmp_path}: no checkpoint of epoch 2: .*la"),
    ):
        train(sampler, TINY, tmp_path, note)
    assert not (tmp_path / "new.keras").exists()
    train(sampler, TINY, tmp_path)
    assert [line["epoch"] for line in history(tmp_path)] == [1, 2]


def test_a_run_of_another_plan_is_not_gone_on_with(sampler: Sampler, tmp_path: Path) -> None:
    plan = msgspec.structs.replace(TINY, epochs=1)
    train(sampler, plan, tmp_path)
    with pytest.raises(ValueError, match="another plan"):
        train(sampler, TINY, tmp_path)


@pytest.mark.parametrize("file", ["state.json", "checkpoint.keras", "average.keras"])
def test_a_checkpoint_that_was_cut_short_is_named(sampler: Sampler, tmp_path: Path, file: str) -> None:
    plan = msgspec.structs.replace(TINY, epochs=1)
    train(sampler, plan, tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:20])
    with pytest.raises(ValueError, match=f"{tmp_path}: a checkpoint that cannot be read"):
        train(sampler, plan, tmp_path)


def test_training_by_the_clock_ends_by_the_clock(sampler: Sampler, tmp_path: Path) -> None:
    plan = Plan(minutes=1e-9, blocks=2, grammars=100, shape=Shape(4, 8, 1, 8))
    train(sampler, plan, tmp_path)
    (line,) = history(tmp_path)
    # One block: what learnt nothing is no network.
    assert 0.6 * train_module.BLOCK < line["rows"] < 1.2 * train_module.BLOCK
