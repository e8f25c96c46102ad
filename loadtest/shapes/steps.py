"""Locust shape: steps. Use it as a second file: `locust -f loadtest/locustfile.py,loadtest/shapes/steps.py ...`."""

from loadtest.shapes import stages
from loadtest.shapes.staged import Staged


class Steps(Staged):
    """The stages of `stages.steps`."""

    shape = staticmethod(stages.steps)
    seconds = 140.0
