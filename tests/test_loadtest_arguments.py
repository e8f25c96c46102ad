"""What the command lines of the load tools take: bounds hold, and what is beyond them is named."""

import argparse
from collections.abc import Callable

import pytest

from loadtest.arguments import count, count_or_none, not_negative, port, positive, share


@pytest.mark.parametrize("read", [count, count_or_none, not_negative, port, positive, share])
@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "-1", "1e400", "many", ""])
def test_what_is_no_number_within_bounds_is_named(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{text}: expected "):
        read(text)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert (count("1e3"), count_or_none("0"), port("8053.0")) == (1000, 0, 8053)
    with pytest.raises(argparse.ArgumentTypeError, match="1.5: expected a whole number from 1"):
        count("1.5")
