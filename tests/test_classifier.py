import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments import classifier
from deployments.classifier import HERE_NAMES, Classifier, Options
from deployments.devices import Device
from deployments.health import Health, Sick
from deployments.messages import Recode, Scored
from deployments.serving import Loaded
from model.registry import Registry
from verdicts.policy import Thresholds

pytestmark = pytest.mark.anyio

LATER = 1e18


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    Registry(folder).seed_from_released()
    return folder


def made(registry: Path, kind: str = "cpu") -> Classifier:
    options = Options(str(registry), "seed-2020", (1, 16, 64), 1024, 1, "auto", 60_000)
    return Classifier(options, lambda mode, threads: Device(kind, (), "here"))


def scores_of(answer: Any) -> list[Any]:
    """The scores of each frame, (N, 2), or None."""
    return [packed and Scored.unpacked(packed).scores for packed in answer]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which batches are computed from now on."""
    seen: list[str] = []
    score = classifier.score_batch

    def score_batch(batch: Sequence[Any]) -> list[Scored]:
        seen.append(threading.current_thread().name)
        return score(batch)

    monkeypatch.setattr(classifier, "score_batch", score_batch)
    return seen


@pytest.mark.parametrize(
    "kind, names, where",
    [
        ("cpu", 1, "MainThread"),  # over before another thread would have begun
        ("cpu", HERE_NAMES, "MainThread"),
        ("cpu", HERE_NAMES + 1, "tensorflow_0"),  # the event loop takes in the next batch meanwhile
        ("gpu", 1, "tensorflow_0"),
    ],
)
async def test_a_small_batch_is_computed_where_it_stands(
    registry: Path, monkeypatch: pytest.MonkeyPatch, kind: str, names: int, where: str
) -> None:
    seen = noted(monkeypatch)
    one = made(registry, kind)
    [answer] = scores_of(await one.predict(bytes(names * 256), "codepoints-256", [(names, LATER)]))
    assert answer is not None and answer.shape == (names, 2) and seen == [where]
    recorded = await one.record_autoscaling_stats()
    assert recorded["names_in_flight"] == 0.0 and 0.0 < recorded["busy"] <= 1.0


@pytest.mark.parametrize("name_s, where", [(1e-6, "MainThread"), (1e-2, "tensorflow_0")])
async def test_where_a_batch_is_computed_goes_by_what_names_took_lately(
    registry: Path, monkeypatch: pytest.MonkeyPatch, name_s: float, where: str
) -> None:
    seen = noted(monkeypatch)
    one, rows = made(registry), bytes(64 * 256)
    monkeypatch.setattr(classifier.time, "thread_time", _stepping(64 * name_s))
    for _ in range(20):
        await one.predict(rows, "codepoints-256", [(64, LATER)])
    assert seen[0] == "tensorflow_0" and set(seen[10:]) == {where}


async def test_what_tensorflow_computes_leaves_the_event_loop_free(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = noted(monkeypatch)
    options = Options(str(registry), "segments-2026-11h", (1, 16, 64), 1024, 1, "auto", 60_000)
    one = Classifier(options, lambda mode, threads: Device("cpu", (), "here"))
    for names in (64,) * 20 + (17, 64, 16):  # large ones are quick by the clock of the thread that asks
        await one.predict(bytes(names * 96), "segments-96", [(names, LATER)])
    assert set(seen[:-1]) == {"tensorflow_0"} and seen[-1] == "MainThread"


def _stepping(step: float) -> Callable[[], float]:
    """A clock that goes on by so much at each look."""
    ticks = itertools.count()
    return lambda: next(ticks) * step


async def test_it_says_which_encoding_it_takes(registry: Path) -> None:
    assert await made(registry).predict(None, "", [(1, LATER)]) == Recode("codepoints-256")


async def test_each_frame_of_a_call_has_its_own_scores_and_its_own_deadline(registry: Path) -> None:
    one = made(registry)
    rows = np.random.default_rng(1).integers(97, 123, (6, 256), np.uint8)
    shares = [(1, LATER), (2, 0.0), (3, LATER)]
    first, expired, last = scores_of(await one.predict(rows.tobytes(), "codepoints-256", shares))
    assert first is not None and expired is None and last is not None
    [whole] = scores_of(await one.predict(rows.tobytes(), "codepoints-256", [(6, LATER)]))
    assert whole is not None
    np.testing.assert_allclose(np.concatenate((first, last)), whole[[0, 3, 4, 5]], atol=1e-5)


async def test_frames_of_several_widths_go_in_one_batch(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = noted(monkeypatch)
    one, rows = made(registry), np.random.default_rng(1).integers(97, 123, (40, 60), np.uint8)
    calls = [rows[:20, :30], rows[20:], rows[:20, :30]]
    answers = await asyncio.gather(
        *(one.predict(call.tobytes(), "codepoints-256", [(len(call), LATER)]) for call in calls)
    )
    (first,), (second,), (third,) = (scores_of(answer) for answer in answers)
    assert first is not None and second is not None and third is not None and len(seen) == 1
    np.testing.assert_allclose(first, third, atol=1e-6)
    [alone] = scores_of(await one.predict(rows[20:].tobytes(), "codepoints-256", [(20, LATER)]))
    assert alone is not None
    np.testing.assert_allclose(second, alone, atol=1e-6)


async def test_a_replica_whose_batches_all_fail_is_exchanged(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(registry)

    async def ask() -> Any:
        return await one.predict(bytes(20 * 256), "codepoints-256", [(20, LATER)])

    score, lost = classifier.score_batch, True

    def gone(batch: Sequence[Any]) -> list[Scored]:
        if lost:
            raise RuntimeError("CUDA_ERROR_NO_DEVICE")
        return score(batch)

    monkeypatch.setattr(classifier, "score_batch", gone)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await ask()
    lost = False
    assert await ask() and await one.check_health() is None  # it had passed
    lost = True
    for _ in range(3):
        await one.check_health()
        with pytest.raises(RuntimeError):
            await ask()
    with pytest.raises(Sick, match="3 batches in a row failed.*CUDA_ERROR_NO_DEVICE"):
        await one.check_health()


def test_a_batch_that_never_ends_shows() -> None:
    now = 0.0
    health = Health(lambda: now)
    with health.batch():
        health.check()
        now = 61.0
        with pytest.raises(Sick, match="for 61 s"):
            health.check()
    health.check()


def test_scores_that_are_no_numbers_are_a_failure() -> None:
    loaded = Loaded("v1", "e", Thresholds(), lambda rows: np.full((len(rows), 2), np.nan, np.float32))
    with pytest.raises(ArithmeticError, match="v1"):
        classifier.score_batch([(loaded, np.zeros((2, 8), np.uint8))])
