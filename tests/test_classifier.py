import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments import classifier
from deployments.classifier import HERE_NAMES, Classifier, Options
from deployments.devices import Device
from deployments.messages import Recode, Scored
from model.registry import Registry

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
    seen = []
    score = classifier.score_batch

    def noted(batch: Sequence[Any]) -> list[Scored]:
        seen.append(threading.current_thread().name)
        return score(batch)

    monkeypatch.setattr(classifier, "score_batch", noted)
    one = made(registry, kind)
    [answer] = await one.predict(np.zeros((names, 256), np.uint8), "codepoints-256", [(names, LATER)])
    assert isinstance(answer, Scored) and answer.scores.shape == (names, 2) and seen == [where]
    recorded = await one.record_autoscaling_stats()
    assert recorded["names_in_flight"] == 0.0 and 0.0 < recorded["busy"] <= 1.0


async def test_it_says_which_encoding_it_takes(registry: Path) -> None:
    assert await made(registry).predict(None, "", [(1, LATER)]) == Recode("codepoints-256")


async def test_each_frame_of_a_call_has_its_own_scores_and_its_own_deadline(registry: Path) -> None:
    one = made(registry)
    rows = np.random.default_rng(1).integers(97, 123, (6, 256), np.uint8)
    first, expired, last = await one.predict(rows, "codepoints-256", [(1, LATER), (2, 0.0), (3, LATER)])
    assert isinstance(first, Scored) and expired is None and isinstance(last, Scored)
    [whole] = await one.predict(rows, "codepoints-256", [(6, LATER)])
    np.testing.assert_allclose(np.concatenate((first.scores, last.scores)), whole.scores[[0, 3, 4, 5]], atol=1e-5)
