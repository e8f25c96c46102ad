"""Which model a classifier replica serves: the registry's pointer, followed without a question failing."""

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.registry import Registry
from model.scorer import Scorer
from verdicts.policy import Thresholds

log = logging.getLogger("ray.serve")

FOLLOW = "serving"  # the setting that means: whatever the registry's pointer names
RETRY_S = 30.0  # after an artifact that does not load


class Loaded(NamedTuple):
    """A model in memory, compiled and warm. `score`: uint8 (N, W) -> float32 (N, 2), up to `alone` rows in the thread
    that asks."""

    version: str
    encoding: str
    thresholds: Thresholds
    score: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    alone: float = 0


def load(registry: Registry, version: str, batch_sizes: tuple[int, ...]) -> Loaded:
    """Load a version and run it once on every batch size."""
    artifact = registry.get(version)
    scorer = Scorer(artifact, batch_sizes)
    scorer.warm_up()
    return Loaded(artifact.version, artifact.encoding.name, artifact.thresholds(), scorer, scorer.alone)


class Serving:
    """The current model, and the former one for as long as frames encoded for it may still arrive.

    A new model is loaded and warmed beside the current one and takes its place in one assignment. One that does
    not load changes nothing; `trouble` says so.
    """

    def __init__(
        self,
        registry: str,
        model: str,
        batch_sizes: tuple[int, ...],
        loader: Callable[[Registry, str, tuple[int, ...]], Loaded] = load,
    ) -> None:
        self._registry = Registry(registry)
        self._model = model
        self._batch_sizes = batch_sizes
        self._loader = loader
        self._lock = threading.Lock()  # two followers would load twice
        self._failed = ("", 0.0)
        self._former: Loaded | None = None
        self.trouble = ""
        if model == FOLLOW:
            self._registry.seed_if_empty()
        self.current = loader(self._registry, self._wanted(), batch_sizes)

    def for_encoding(self, encoding: str) -> Loaded | None:
        """The newest model in memory that takes this encoding."""
        current, former = self.current, self._former
        if current.encoding == encoding:
            return current
        return former if former is not None and former.encoding == encoding else None

    def follow(self) -> None:
        """Take up what the pointer names now. Blocks while a model loads; call it from a thread of its own."""
        with self._lock:
            try:
                version = self._wanted()
                if version == self.current.version:
                    self.trouble = ""
                    return
                if version == self._failed[0] and time.monotonic() < self._failed[1]:
                    return
                self._take(self._loader(self._registry, version, self._batch_sizes))
                self.trouble = ""
            except Exception as error:  # whatever is wrong with it, the present model goes on
                self._note(error)

    def _wanted(self) -> str:
        return self._registry.serving() if self._model == FOLLOW else self._model

    def _take(self, loaded: Loaded) -> None:
        log.info("model %s takes over from %s", loaded.version, self.current.version)
        self._former, self.current = self.current, loaded

    def _note(self, error: Exception) -> None:
        if str(error) != self.trouble:
            log.error("model not taken up, %s goes on: %s", self.current.version, error)
        self.trouble = str(error)
        try:
            self._failed = (self._wanted(), time.monotonic() + RETRY_S)
        except Exception:  # the registry itself is out of reach: nothing to remember
            self._failed = ("", 0.0)
