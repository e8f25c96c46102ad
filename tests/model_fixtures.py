"""Tiny artifacts for the model's tests: real networks, untrained or trained in a moment."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.artifact import save
from model.manifest import FORMAT, Limits, Manifest, Platt, Threshold
from model.network import Shape, build
from model.wide import layers_of

SMALL = Shape(embedding=4, channels=8, blocks=1, dense=8)


@contextmanager
def full_disk() -> Iterator[None]:
    """A limit on the size of files stands for the full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def weigh(network: Any, head: str) -> list[NDArray[np.float32]]:
    """Give each bucket of the head's wide part a weight, and return them, of each of its tables."""
    found = []
    for name in layers_of(head)[:-1]:
        layer = network.get_layer(name)
        weights = np.random.default_rng(0).normal(size=layer.get_weights()[0].shape).astype(np.float32)
        layer.set_weights([weights])
        found.append(weights[:, 0])
    return found


def manifest(version: str = "test-1", **changes: Any) -> Manifest:
    """The manifest of a small two-headed artifact."""
    fields: dict[str, Any] = dict(
        format=FORMAT, version=version, network="segments", encoding="segments-96", heads=["generated", "malicious"],
        calibration={"generated": Platt(1.0, 0.0), "malicious": Platt(1.0, 0.0)}, base_rate=0.001,
        thresholds=Limits(Threshold(0.9, 0, 200_000, 1.5e-5), Threshold(0.5), Threshold(0.6)), metrics={}, digests={},
    )  # fmt: skip
    return Manifest(**(fields | changes))


def write(path: Path, version: str = "test-1", **changes: Any) -> Path:
    """An untrained small network as an artifact at path/version."""
    import keras

    keras.utils.set_random_seed(sum(version.encode()))
    save(path / version, build(SMALL), manifest(version, **changes), [{"epoch": 1}])
    return path / version
