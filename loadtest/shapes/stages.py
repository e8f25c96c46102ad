"""How many users when, as data: (seconds from the start, users, users started a second) a stage."""

from collections.abc import Sequence
from typing import NamedTuple

from loadtest.profiles import HOURLY


class Stage(NamedTuple):
    """Until `end` seconds from the start, `users` users, started (or stopped) at `rate` a second."""

    end: float
    users: int
    rate: float


def at(stages: Sequence[Stage], time: float) -> tuple[int, float] | None:
    """Users and rate at a time, as locust wants them; None when the last stage is over."""
    return next(((stage.users, stage.rate) for stage in stages if time < stage.end), None)


def ramp(peak: int = 64, seconds: int = 120) -> list[Stage]:
    """From one user to `peak`, evenly."""
    return [Stage(second + 1, max(1, round(peak * (second + 1) / seconds)), peak) for second in range(seconds)]


def steps(levels: Sequence[int] = (1, 2, 4, 8, 16, 32, 64), seconds: int = 20) -> list[Stage]:
    """Each level for `seconds`: where throughput stops to rise, capacity is reached."""
    return [Stage((i + 1) * seconds, level, max(1, level)) for i, level in enumerate(levels)]


def day(mean: int = 16, seconds: int = 240) -> list[Stage]:
    """A day of 24 hours in `seconds`, after the traffic's daily curve."""
    return [Stage((hour + 1) * seconds / 24, max(1, round(mean * HOURLY[hour])), mean) for hour in range(24)]


def flood(usual: int = 4, peak: int = 128, seconds: int = 90) -> list[Stage]:
    """A third as usual, a third with all users at once, a third as usual again: does it recover?"""
    return [Stage(seconds / 3, usual, usual), Stage(2 * seconds / 3, peak, peak), Stage(seconds, usual, peak)]
