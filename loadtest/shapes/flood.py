"""Locust shape: flood. Use it as a second file: `locust -f loadtest/locustfile.py,loadtest/shapes/flood.py ...`."""

from loadtest.shapes import stages
from loadtest.shapes.staged import Staged


class Flood(Staged):
    """The stages of `stages.flood`."""

    shape = staticmethod(stages.flood)
    seconds = 90.0
