"""LiteRT gives what the network gives, from several threads, and is done without where it cannot."""

import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.artifact import Artifact
from model.lite import LiteNetwork, lite
from model.registry import RELEASED
from model.scorer import LITE_MOST, LITE_PARAMETERS, Scorer, _frozen
from tests.model_fixtures import write

pytestmark = pytest.mark.patient

pytest.importorskip("tensorflow")
NAMES = ["example.org", "kq3v9z7xw1.info", "www.example.co.uk"]


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return Artifact.load(RELEASED / "seed-2020")


@pytest.fixture(scope="module")
def small(artifact: Artifact) -> LiteNetwork:
    return LiteNetwork(_frozen(artifact.network))


def rows_of(artifact: Artifact, names: list[str]) -> Any:
    return artifact.encoding(names).reshape(-1, 16, 16, 1)


@pytest.mark.parametrize("count", [1, 3, 300])
def test_it_gives_what_the_network_gives(artifact: Artifact, small: LiteNetwork, count: int) -> None:
    x = rows_of(artifact, (NAMES * count)[:count])
    assert np.allclose(small(x), np.asarray(artifact.network(x.astype(np.float32))), atol=1e-6)


def test_what_is_missing_of_a_batch_is_zero_whatever_was_there_before(artifact: Artifact, small: LiteNetwork) -> None:
    whole = rows_of(artifact, [*NAMES, "", ""])
    small(np.full_like(whole, 99))
    given = artifact.encoding(NAMES)[:, : len(NAMES[2])]
    assert np.allclose(small(given, whole.shape), np.asarray(artifact.network(whole.astype(np.float32))), atol=1e-6)


def test_threads_do_not_share_what_they_compute_with(artifact: Artifact, small: LiteNetwork) -> None:
    inputs = [rows_of(artifact, [f"{number}.example.org"] * 200) for number in range(16)]
    alone = [small(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(small, inputs * 8))
    assert all(np.array_equal(found, alone[number % 16]) for number, found in enumerate(together))


def test_an_answer_is_not_overwritten_by_the_next(artifact: Artifact, small: LiteNetwork) -> None:
    first = small(rows_of(artifact, NAMES[:1]))
    kept = first.copy()
    small(rows_of(artifact, NAMES[1:2]))
    assert np.array_equal(first, kept)


def test_what_others_write_while_it_is_silenced_is_not_lost(
    small: LiteNetwork, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from ai_edge_litert import interpreter

    made = interpreter.Interpreter

    def saying(**options: Any) -> Any:
        os.write(2, b"INFO: what it says\nan error of somebody\n")
        return made(**options)

    monkeypatch.setattr("model.lite._said", False)
    monkeypatch.setattr(interpreter, "Interpreter", saying)
    small(np.zeros((77, 16, 16, 1), np.uint8))
    small(np.zeros((78, 16, 16, 1), np.uint8))
    assert capfd.readouterr().err.splitlines() == ["an error of somebody", "INFO: what it says", "an error of somebody"]


def test_what_it_cannot_take_goes_through_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Artifact.load(write(tmp_path))
    expected = Scorer(made, (1, 4))(made.encoding(NAMES))

    def cannot(frozen: Any) -> bytes:
        raise RuntimeError("an operation that is not there")

    monkeypatch.setattr("model.lite._converted", cannot)
    assert lite(_frozen(made.network), (96,)) is None and "an operation that is not there" in caplog.text
    assert np.allclose(Scorer(made, (1, 4))(made.encoding(NAMES)), expected, atol=1e-5)


def test_where_it_is_not_installed_tensorflow_computes_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Artifact.load(write(tmp_path))
    expected = Scorer(made, (1, 4))(made.encoding(NAMES))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    scorer = Scorer(made, (1, 4))
    assert scorer.alone == 0 and "LiteRT cannot take it" in caplog.text
    assert np.allclose(scorer(made.encoding(NAMES)), expected, atol=1e-5)


@pytest.mark.parametrize(("sizes", "alone"), [((1, 16, 64), 16), ((1, 4), 4), ((64, 1024), 0)])
def test_of_a_large_network_it_computes_only_few_rows(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], alone: int
) -> None:
    released = Artifact.load(RELEASED / "segments-2026-11h")
    converted: list[Any] = []
    monkeypatch.setattr("model.scorer.lite", lambda *asked: converted.append(asked) or lite(*asked))
    assert Scorer(released, sizes).alone == alone and len(converted) == (alone > 0)


def test_a_network_is_traced_once_for_litert_and_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    released, traced = Artifact.load(RELEASED / "segments-2026-11h"), []
    kind = type(released.network)
    call = kind.call
    monkeypatch.setattr(kind, "call", lambda *x, **how: traced.append(x) or call(*x, **how))
    scorer = Scorer(released, (1, 64))
    scorer.warm_up()
    assert scorer.alone == 1 and len(traced) == 1


def test_a_small_network_has_no_larger_graph_than_is_fast(artifact: Artifact) -> None:
    assert artifact.network.count_params() <= LITE_PARAMETERS
    scorer = Scorer(artifact, (1, LITE_MOST, 4 * LITE_MOST))
    assert scorer.alone == math.inf
    x = artifact.encoding(NAMES * 400)
    assert np.allclose(scorer(x)[:3], scorer(x[:3]), atol=1e-6)
    assert {size for size, _ in scorer._graphs} == {1, LITE_MOST}
