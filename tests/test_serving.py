from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.classifier import score_batch
from deployments.serving import Loaded, Serving
from verdicts.policy import Thresholds


def loaded(version: str, encoding: str = "codepoints-256", add: float = 0.0) -> Loaded:
    def score(rows: Any) -> Any:
        return np.stack([rows[:, 0], rows[:, 0] + add], axis=1).astype(np.float32)

    return Loaded(version, encoding, Thresholds(), score)


class Loader:
    """Loads any version but those called bad; the encoding is what follows a slash."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, registry: Any, version: str, sizes: tuple[int, ...]) -> Loaded:
        self.calls.append(version)
        if "bad" in version:
            raise ValueError(f"{version}: no good")
        return loaded(version, "segments-96" if "seg" in version else "codepoints-256")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "serving").write_text("one\n")
    return tmp_path


def test_it_follows_the_pointer(folder: Path) -> None:
    serving = Serving(str(folder), "serving", (1,), Loader())
    (folder / "serving").write_text("two\none\n")
    serving.follow()
    assert serving.current.version == "two"


def test_a_fixed_model_follows_nothing(folder: Path) -> None:
    serving = Serving(str(folder), "fixed", (1,), Loader())
    serving.follow()
    assert serving.current.version == "fixed"


def test_a_model_that_does_not_load_changes_nothing_and_is_not_tried_at_every_poll(folder: Path) -> None:
    loader = Loader()
    serving = Serving(str(folder), "serving", (1,), loader)
    (folder / "serving").write_text("bad\n")
    for _ in range(3):
        serving.follow()
    assert serving.current.version == "one" and "no good" in serving.trouble and loader.calls == ["one", "bad"]
    (folder / "serving").write_text("two\n")
    serving.follow()
    assert serving.current.version == "two" and serving.trouble == ""


def test_a_pointer_that_is_gone_leaves_the_present_model(folder: Path) -> None:
    serving = Serving(str(folder), "serving", (1,), Loader())
    (folder / "serving").unlink()
    serving.follow()
    assert serving.current.version == "one" and serving.trouble


def test_frames_encoded_for_the_former_model_are_scored_by_it(folder: Path) -> None:
    serving = Serving(str(folder), "serving", (1,), Loader())
    (folder / "serving").write_text("two-seg\n")
    serving.follow()
    former, current = serving.for_encoding("codepoints-256"), serving.for_encoding("segments-96")
    assert former is not None and former.version == "one"
    assert current is not None and current.version == "two-seg"
    assert serving.for_encoding("other") is None


def test_a_batch_is_scored_frame_by_frame_with_each_frames_own_model() -> None:
    old, new = loaded("old", add=1), loaded("new", add=5)
    frames = [np.full((n, 4), v, np.uint8) for n, v in ((2, 10), (1, 20), (3, 30))]
    results = score_batch([(old, frames[0]), (new, frames[1]), (old, frames[2])])
    assert [r.version for r in results] == ["old", "new", "old"]
    assert [r.scores[:, 1].tolist() for r in results] == [[11, 11], [25], [31, 31, 31]]
