"""Locust shape: day. Use it as a second file: `locust -f loadtest/locustfile.py,loadtest/shapes/day.py ...`."""

from loadtest.shapes import stages
from loadtest.shapes.staged import Staged


class Day(Staged):
    """The stages of `stages.day`."""

    shape = staticmethod(stages.day)
    seconds = 240.0
