"""How many users when, as data: (seconds from the start, users, users started a second) a stage.

Every shape is a function of the most users that it has and of the seconds that it lasts.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from loadtest.profiles import HOURLY


class Stage(NamedTuple):
    """Until `end` seconds from the start, `users` users, started (or stopped) at `rate` a second."""

    end: float
    users: int
    rate: float


Shape = Callable[[int, float], list[Stage]]


def at(stages: Sequence[Stage], time: float) -> tuple[int, float] | None:
    """Users and rate at a time, as locust wants them; None when the last stage is over."""
    return next(((stage.users, stage.rate) for stage in stages if time < stage.end), None)


def ramp(most: int, seconds: float) -> list[Stage]:
    """From one user to `most`, evenly."""
    count = max(1, round(seconds))
    return [Stage((i + 1) * seconds / count, max(1, round(most * (i + 1) / count)), most) for i in range(count)]


def steps(most: int, seconds: float) -> list[Stage]:
    """1, 2, 4, ... users, each for as long: where throughput stops to rise, capacity is reached."""
    levels = [level for level in (2**power for power in range(most.bit_length())) if level < most] + [most]
    return [Stage((i + 1) * seconds / len(levels), level, level) for i, level in enumerate(levels)]


def day(most: int, seconds: float) -> list[Stage]:
    """A day of 24 hours, after the traffic's daily curve."""
    peak = max(HOURLY)
    return [Stage((h + 1) * seconds / 24, max(1, round(most * HOURLY[h] / peak)), most) for h in range(24)]


def flood(most: int, seconds: float) -> list[Stage]:
    """A third as usual, a third with all users at once, a third as usual again: does it recover?"""
    usual = max(1, most // 32)
    return [Stage(seconds / 3, usual, most), Stage(2 * seconds / 3, most, most), Stage(seconds, usual, most)]
