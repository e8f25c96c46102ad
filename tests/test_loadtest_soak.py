"""loadtest/soak.py: a leak is told from noise."""

import random

import pytest

from loadtest.soak import Sample, slope


def samples(leak: float, count: int = 120, noise: float = 2e6) -> list[Sample]:
    """Memory that grows by `leak` bytes a frame and wanders a little."""
    rng, wander, made = random.Random(1), 0.0, []
    for number in range(count):
        wander = 0.7 * wander + rng.gauss(0, noise)
        made.append(Sample(500.0 * number, 3e9 + leak * 500 * number + wander))
    return made


def test_memory_that_only_wanders_has_zero_in_its_interval() -> None:
    found = slope(samples(0.0))
    assert found.low < 0 < found.high


def test_a_leak_is_found_with_its_size() -> None:
    found = slope(samples(1000.0))
    assert 0 < found.low < found.middle < found.high and found.middle == pytest.approx(1000, rel=0.2)


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 12"):
        slope(samples(0.0, count=11))
