"""Locust shape: ramp. Use it as a second file: `locust -f loadtest/locustfile.py,loadtest/shapes/ramp.py ...`."""

from loadtest.shapes import stages
from loadtest.shapes.staged import Staged


class Ramp(Staged):
    """The stages of `stages.ramp`."""

    shape = staticmethod(stages.ramp)
    seconds = 120.0
