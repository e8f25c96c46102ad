"""The teacher that reads names before it judges them."""

from pathlib import Path

import keras
import msgspec
import numpy as np
import pytest

from model.attention import HIDDEN, Attention, build, characters_loss, hide
from model.dataset import Corpus
from model.encoding import CLASSES, SEGMENT, encoder
from model.jobs import BadSettings, parse
from model.plan import Plan, rate_at, reading
from model.sampling import Sampler
from model.train import JUDGES, LOSSES, READS, Cancelled, history, judging, train
from tests.model_fixtures import SMALL
from tests.test_model_train import TINY, corpus  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.patient,
    pytest.mark.usefixtures("short_blocks"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
]

LITTLE = Attention(16, 1, 2, 0.0, 16)
TEACHER = msgspec.structs.replace(reading(TINY), epochs=4, mining=0.8, reading=0.5, attention=LITTLE)
NAMES = ["www.wikipedia.org", "kxrutmcfwxyiruqvnrrgxybzz.ru", "a.b-c_d.co.uk"]


def tokens(width: int = 96) -> np.ndarray:
    return encoder("segments-96")(NAMES)[:, :width].astype(np.int32)


def test_padding_does_not_move_the_scores() -> None:
    network = judging(build(LITTLE))
    narrow, wide = (np.asarray(network(tokens(width), training=False)) for width in (32, 96))
    assert narrow.shape == (3, 2)
    np.testing.assert_allclose(narrow, wide, atol=1e-5)


def test_a_place_in_the_registered_label_counts() -> None:
    keras.utils.set_random_seed(1)
    network = judging(build(LITTLE))
    x = encoder("segments-96")(["ab.com", "ba.com", "x.ab.com"]).astype(np.int32)
    scores = np.asarray(network(x, training=False))
    assert not np.allclose(scores[0], scores[1], atol=1e-6) and not np.allclose(scores[0], scores[2], atol=1e-6)


def test_hidden_characters_keep_their_segment_and_are_told() -> None:
    x = np.repeat(tokens(), 200, axis=0)
    shown, hidden = hide(np.random.default_rng(0), x, 0.2)
    there = hidden > 0
    assert there[x > 0].mean() == pytest.approx(0.2, abs=0.02) and not there[x == 0].any()
    assert (shown[there] % SEGMENT == HIDDEN).all() and (shown[there] // SEGMENT == x[there] // SEGMENT).all()
    assert (hidden[there] == x[there] % SEGMENT).all() and (shown[~there] == x[~there]).all()


def test_the_loss_is_of_hidden_characters_alone() -> None:
    truth = np.array([[3, 0, 0], [0, 0, 7]])
    even = np.zeros((2, 3, CLASSES), np.float32)
    assert float(characters_loss(truth, even)) == pytest.approx(np.log(CLASSES))
    sure = even.copy()
    sure[0, 0, 3] = sure[1, 2, 7] = 50.0
    sure[0, 1, 5] = -50.0
    assert float(characters_loss(truth, sure)) == pytest.approx(0.0, abs=1e-5)
    assert float(characters_loss(np.zeros((2, 3), int), sure)) == 0.0


def test_the_rate_falls_twice() -> None:
    plan = reading(Plan())
    read = [rate_at(plan, plan.reading * done) for done in (0.02, 0.5, 0.999)]
    judged = [rate_at(plan, plan.reading + (1 - plan.reading) * done) for done in (0.02, 0.5, 1.0)]
    assert read[0] == pytest.approx(plan.rate) and read == sorted(read, reverse=True)
    assert judged[0] == pytest.approx(plan.rate / 2) and judged == sorted(judged, reverse=True)
    assert JUDGES[0][0] > READS[0][0] and JUDGES[0][1] < READS[0][1]


def test_a_teacher_reads_judges_goes_on_and_teaches(corpus: Corpus, tmp_path: Path) -> None:  # noqa: F811
    half = msgspec.structs.replace(TEACHER, blocks=1)
    lines: list[int] = []
    asked = iter([False, False, False, True])  # stopped within the third epoch, the first after its reading
    with pytest.raises(Exception, match="cancelled in epoch"):
        train(Sampler(corpus, 0), half, tmp_path, lambda line: lines.append(line["epoch"]), lambda: next(asked))
    teacher = train(Sampler(corpus, 0), half, tmp_path, lambda line: lines.append(line["epoch"]))
    assert lines == [1, 2, 3, 4] and [line["epoch"] for line in history(tmp_path)] == lines
    file = tmp_path / "teacher.keras"
    teacher.save(file)
    again = keras.saving.load_model(file, compile=False, safe_mode=True)
    x = tokens()
    np.testing.assert_allclose(again(x, training=False), teacher(x, training=False), atol=1e-5)
    rows = corpus.x[corpus.kind < 2].astype(np.int32)
    scores = np.asarray(teacher(rows, training=False))[:, 0]
    generated = corpus.kind[corpus.kind < 2] == 1
    assert scores[generated].mean() > scores[~generated].mean() + 0.1
    plan = msgspec.structs.replace(TINY, epochs=1, crossed=0.25, teachers=["teacher"], shape=SMALL)
    assert train(Sampler(corpus, 0), plan, tmp_path / "taught", teachers=[again]).output_shape == (None, 2)


def test_a_teacher_that_goes_on_after_its_reading_judges_by_the_weights_of_judging(
    corpus: Corpus,  # noqa: F811
    tmp_path: Path,
) -> None:
    half, lines = msgspec.structs.replace(TEACHER, blocks=1), list[dict[str, object]]()
    for epochs in (2, 3):  # the second is the last of its reading
        with pytest.raises(Cancelled):
            train(Sampler(corpus, 0), half, tmp_path, lines.append, lambda epochs=epochs: len(lines) == epochs)
    kept = keras.saving.load_model(tmp_path / "checkpoint.keras", custom_objects=LOSSES)
    assert kept.get_compile_config()["loss_weights"] == list(JUDGES[0])


@pytest.mark.parametrize("given", [{"start": "segments-1"}, {"teachers": ["segments-1"]}])
def test_a_teacher_begins_from_nothing(given: dict[str, object]) -> None:
    with pytest.raises(BadSettings, match="network attention uses"):
        parse({"kind": "train", "network": "attention", "data": "x"} | given)
