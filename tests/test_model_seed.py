"""The network of 2020, layer by layer, and its experiment."""

from pathlib import Path

import numpy as np
import pytest

from model.experiment2020 import AT_ONCE, accuracy, load, split
from model.registry import RELEASED
from model.seed import build

pytestmark = pytest.mark.patient

TABLE = [
    ("Conv2D", (None, 15, 15, 16), 80),
    ("MaxPooling2D", (None, 7, 7, 16), 0),
    ("Conv2D", (None, 6, 6, 16), 1040),
    ("MaxPooling2D", (None, 3, 3, 16), 0),
    ("Conv2D", (None, 2, 2, 8), 520),
    ("Flatten", (None, 32), 0),
    ("Dense", (None, 8), 264),
    ("Dense", (None, 1), 9),
]


def test_the_seed_network_is_that_of_2020() -> None:
    network = build()
    found = [(type(layer).__name__, layer.output.shape, layer.count_params()) for layer in network.layers]
    assert found == TABLE and network.count_params() == 1913


def test_the_released_seed_network_has_the_same_table() -> None:
    from model.artifact import Artifact

    network = Artifact.load(RELEASED / "seed-2020").network
    assert [(type(layer).__name__, layer.output.shape, layer.count_params()) for layer in network.layers] == TABLE


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    (tmp_path / "benign_domains.csv").write_text(
        '"Rank","Domain","Open Page Rank"\n' + "".join(f'"{i}","site{i}.example.com","9.1"\n' for i in range(20))
    )
    (tmp_path / "malicious_domains.txt").write_text("# a list\n" + "".join(f"bad{i}.example.net\n" for i in range(30)))
    return tmp_path


def test_both_published_lists_are_read(lists: Path) -> None:
    found = load(lists)
    assert (len(found.benign), found.malicious[0]) == (20, "bad0.example.net")


def test_the_split_is_80_10_10_of_the_first_rows(lists: Path) -> None:
    parts = split(load(lists), 10, 0)
    assert [len(parts.y[part]) for part in (parts.train, parts.validation, parts.test)] == [16, 2, 2]
    assert parts.y.sum() == 10 and parts.x.shape == (20, 16, 16, 1)


def test_another_seed_is_another_split(lists: Path) -> None:
    found = load(lists)
    assert not np.array_equal(split(found, None, 0).x, split(found, None, 1).x)


def test_accuracy_is_of_all_rows_asked_in_batches() -> None:
    class Asked:
        """Says of a name what its first cell holds."""

        def predict(self, x: np.ndarray, batch_size: int, verbose: int) -> np.ndarray:
            asked.append(batch_size)
            return x[:, 0, 0]

    asked: list[int] = []
    x = np.zeros((3000, 16, 16, 1), np.float32)
    x[:750] = 1
    assert accuracy(Asked(), x, np.ones(3000, np.float32)) == 0.25 and asked == [AT_ONCE]
