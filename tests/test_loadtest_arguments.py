"""What the command lines of the load tools take: bounds hold, and what is beyond them is named."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtest.arguments import count, count_or_none, first_word, not_negative, port, positive, readable, share
from loadtest.populations import BadPopulation, read_names


@pytest.mark.parametrize("read", [count, count_or_none, not_negative, port, positive, share])
@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "-1", "1e400", "many", ""])
def test_what_is_no_number_within_bounds_is_named(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{text}: expected "):
        read(text)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert (count("1e3"), count_or_none("0"), port("8053.0")) == (1000, 0, 8053)
    with pytest.raises(argparse.ArgumentTypeError, match="1.5: expected a whole number from 1"):
        count("1.5")


@pytest.mark.parametrize(
    ("read", "refused", "expected"),
    [
        (readable, argparse.ArgumentTypeError, "expected a file that is there and can be read"),
        (lambda text: first_word(Path(text)), ValueError, "No such file or directory, expected a token"),
        (read_names, BadPopulation, "No such file or directory, expected a file of names"),
    ],
)
def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, read: Callable[[str], object], refused: type[Exception], expected: str
) -> None:
    with pytest.raises(refused, match=f"^{tmp_path}/absent: {expected}$"):
        read(f"{tmp_path}/absent")
