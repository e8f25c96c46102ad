"""The served network: same scores in every company."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from model.artifact import Artifact, save
from model.registry import RELEASED
from model.scorer import Scorer
from tests.model_fixtures import manifest, write

pytestmark = pytest.mark.patient

NAMES = [
    "example.org",
    "kq3v9z7xw1.info",
    "www.example.co.uk",
    "a" * 60 + ".example.net",
    "a.very.long.host.name.under.example.com",
]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return Scorer(Artifact.load(write(tmp_path_factory.mktemp("scorer"))), batch_sizes=(1, 4, 16))


def test_scores_are_probabilities_in_two_columns(scorer: Scorer) -> None:
    scores = scorer(scorer.encoding(NAMES))
    assert scores.shape == (5, 2) and scores.dtype == np.float32 and ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("count", [1, 3, 5, 16, 37])
def test_a_score_does_not_depend_on_the_batch(scorer: Scorer, count: int) -> None:
    names = (NAMES * 8)[:count]
    alone = np.concatenate([scorer(scorer.encoding([name])) for name in names])
    assert np.allclose(scorer(scorer.encoding(names)), alone, atol=1e-5)


def test_a_score_does_not_depend_on_the_width_of_the_graph(scorer: Scorer) -> None:
    x = scorer.encoding(["example.org"])
    narrow = np.asarray(scorer.artifact.network(x[:, :24].astype(np.int32)))
    wide = np.asarray(scorer.artifact.network(x.astype(np.int32)))
    assert np.allclose(narrow, wide, atol=1e-5)


def test_the_served_graph_is_the_network(scorer: Scorer) -> None:
    x = scorer.encoding(NAMES)
    assert np.allclose(scorer.logits(x), np.asarray(scorer.artifact.network(x.astype(np.int32))), atol=1e-4)


@pytest.mark.parametrize("by_lite", [True, False])
@pytest.mark.parametrize("version", ["seed-2020", "segments-2026-11h"])
def test_rows_without_the_columns_that_are_zero_have_the_same_scores(version: str, by_lite: bool) -> None:
    made = Scorer(Artifact.load(RELEASED / version), batch_sizes=(1, 16, 64), by_lite=by_lite)
    for names in (NAMES[:1], NAMES[:3], NAMES * 5, NAMES[:3] * 30):  # padded, exact and several runs
        narrow = made.encoding.encode_narrow("\n".join(names).encode())
        assert narrow.shape[1] < made.encoding.width
        assert np.allclose(made(narrow), made(made.encoding(names)), atol=1e-6)


def test_no_call_goes_by_way_of_an_error(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    tf = pytest.importorskip("tensorflow")

    def printed(tensor: object) -> str:
        raise AssertionError("TensorFlow printed the rows: into an error, before it called the graph another way")

    shown = next(base for base in type(tf.constant(0)).__mro__ if "__repr__" in vars(base))
    large = Scorer(scorer.artifact, batch_sizes=(1, 32))
    large.warm_up()
    monkeypatch.setattr(shown, "__repr__", printed)
    assert len(large(large.encoding(NAMES * 5))) == 25 and len(large(large.encoding(NAMES[:1]))) == 1


def test_a_replica_that_is_killed_leaves_no_temporary_file(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from model.artifact import Artifact\n"
        "from model.scorer import Scorer; Scorer(Artifact.load(Path(sys.argv[1])), (1, 64)).warm_up()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    told = [sys.executable, "-c", program, str(RELEASED / "seed-2020")]
    ended = subprocess.run(told, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert ended.returncode == -signal.SIGKILL and not list(tmp_path.iterdir())


def test_no_rows_are_no_scores(scorer: Scorer) -> None:
    assert scorer(scorer.encoding([])).shape == (0, 2)


def test_rows_of_another_encoding_are_refused(scorer: Scorer) -> None:
    for width in (0, 256):
        with pytest.raises(ValueError, match="expected uint8"):
            scorer(np.zeros((2, width), np.uint8))


def test_warming_up_compiles_every_graph(scorer: Scorer) -> None:
    scorer.warm_up()
    assert sorted(scorer._graphs) == [(size, width) for size in (1, 4, 16) for width in (48, 96)]


def test_a_network_of_one_width_scores_names_of_all_lengths(tmp_path: Path) -> None:
    tokens = keras.Input((96,), dtype="int32")
    x = keras.layers.GlobalMaxPooling1D()(keras.layers.Embedding(192, 4)(tokens))
    save(tmp_path / "one", keras.Model(tokens, keras.layers.Dense(2)(x)), manifest("one"))
    artifact = Artifact.load(tmp_path / "one")
    rows = artifact.encoding(NAMES)
    for by_lite in (True, False):
        one_width = Scorer(artifact, batch_sizes=(1, 4, 16), by_lite=by_lite)
        one_width.warm_up()
        assert np.allclose(one_width.logits(rows), np.asarray(artifact.network(rows.astype(np.int32))), atol=1e-4)
        assert np.allclose(one_width.logits(rows[:1]), one_width.logits(rows)[:1], atol=1e-4)


def test_the_seed_network_judges_by_its_2020_rule() -> None:
    artifact = Artifact.load(RELEASED / "seed-2020")
    scorer = Scorer(artifact, batch_sizes=(4,))
    x = artifact.encoding(NAMES)
    raw = np.asarray(artifact.network(x.reshape(-1, 16, 16, 1).astype(np.float32))).ravel()
    scores = scorer(x)
    assert not scores[:, 0].any() and np.allclose(scores[:, 1], raw, atol=1e-5)
    assert artifact.thresholds().block is None and artifact.thresholds().alert_score == 0.5


def test_batch_sizes_must_grow(tmp_path: Path, scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="expected growing numbers"):
        Scorer(scorer.artifact, batch_sizes=(4, 1))


@pytest.mark.parametrize("version", ["seed-2020", "segments-2026-11h"])
def test_what_scores_on_other_backends_of_keras_scores_the_same(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = Artifact.load(RELEASED / version)
    served = Scorer(artifact, batch_sizes=(16,))
    expected = served(served.encoding(NAMES))
    monkeypatch.setattr("model.scorer._served_by_tensorflow", lambda: False)
    other = Scorer(artifact, batch_sizes=(16,))
    assert np.allclose(other(other.encoding(NAMES)), expected, atol=1e-5)
