"""The experiment of 2020, repeated: the seed network on the CTC blocklist and the DomCop list.

As published it took the first rows of each list. The blocklist is in alphabetical order, so its first rows all
begin with digits, which no popular domain does: a split of those rows says nothing about the rest. The honest form
draws from all rows of both.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.encoding import encoder
from model.formats import read
from model.seed import build
from model.sources import check_folder

BENIGN, MALICIOUS = "benign_domains.csv", "malicious_domains.txt"
FEWEST = 10  # names: a tenth of them is one
AT_ONCE = 1024  # names asked of a network: all of a list would take 19 kB each, for what its layers say of them


class Lists(NamedTuple):
    """The two lists, in file order."""

    benign: list[str]
    malicious: list[str]


class Split(NamedTuple):
    """Code points (N, 16, 16, 1) and labels (N,), in order train, validation, test at 80/10/10."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    train: slice
    validation: slice
    test: slice


class Result(NamedTuple):
    """Accuracies of one seed, from 0 to 1."""

    seed: int
    train: float
    validation: float
    test: float


Progress = Callable[[dict[str, Any]], None]


def load(data: str | Path) -> Lists:
    """The two lists from a folder or the URL of one. Raises ValueError for one without names, and what reading does."""
    check_folder(data)
    place = str(data).rstrip("/")
    at = (lambda name: f"{place}/{name}") if "://" in place else (lambda name: Path(place) / name)
    try:
        lists = Lists(
            [row.name for row in read(at(BENIGN), "domcop")],
            [row.name for row in read(at(MALICIOUS), "ctc")],
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error.filename}: no such file, expected {BENIGN} and {MALICIOUS} there") from error
    for names, file in zip(lists, (BENIGN, MALICIOUS), strict=True):
        if not names:
            raise ValueError(f"{at(file)}: no names, expected some")
    return lists


def split(lists: Lists, rows: int | None, seed: int) -> Split:
    """Shuffle the first `rows` names of each list (None: all) with this seed and cut them 80/10/10.

    Raises ValueError for too few names to cut.
    """
    benign, malicious = lists.benign[:rows], lists.malicious[:rows]
    if len(benign) + len(malicious) < FEWEST:
        raise ValueError(f"{len(benign)} benign and {len(malicious)} malicious names: expected {FEWEST} in all")
    order = np.random.default_rng(seed).permutation(len(benign) + len(malicious))
    x = pictures([*benign, *malicious])[order]
    y = np.repeat(np.array([0, 1], np.float32), [len(benign), len(malicious)])[order]
    first, second = int(len(y) * 0.8), int(len(y) * 0.9)
    return Split(x, y, slice(0, first), slice(first, second), slice(second, None))


def pictures(batch: list[str]) -> NDArray[np.float32]:
    """Names as 16 x 16 pictures of code points, (N, 16, 16, 1)."""
    return encoder("codepoints-256")(batch).reshape(-1, 16, 16, 1).astype(np.float32)


def fit(x: NDArray[np.float32], y: NDArray[np.float32], epochs: int, seed: int, progress: Progress) -> Any:
    """Train a seed network with Adam and binary cross-entropy, batches of 32; one progress line an epoch."""
    import keras

    keras.utils.set_random_seed(seed)
    network = build()
    network.compile("adam", "binary_crossentropy", metrics=["accuracy"])

    def report(epoch: int, logs: dict[str, float]) -> None:
        progress({"epoch": epoch + 1, "epochs": epochs, "loss": logs["loss"], "accuracy": logs["accuracy"]})

    network.fit(x, y, batch_size=32, epochs=epochs, verbose=0,
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=report)])  # fmt: skip
    return network


def accuracy(network: Any, x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """The share of names that the 2020 rule (below 0.5 benign) labels right."""
    found = network.predict(x, batch_size=AT_ONCE, verbose=0).ravel() >= 0.5
    return float((found == (y >= 0.5)).mean())


def repeat(lists: Lists, rows: int | None, seeds: int, epochs: int, progress: Progress) -> list[Result]:
    """Train and judge once a seed."""
    results = []
    for seed in range(seeds):
        parts = split(lists, rows, seed)
        network = fit(parts.x[parts.train], parts.y[parts.train], epochs, seed, progress)
        marks = [
            accuracy(network, parts.x[part], parts.y[part]) for part in (parts.train, parts.validation, parts.test)
        ]
        results.append(Result(seed, *marks))
        progress({"seed": seed, "train": marks[0], "validation": marks[1], "test": marks[2]})
    return results
