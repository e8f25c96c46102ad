"""What the command lines of the load tools name: numbers, ports, reports, files with a token. What is none, or out of
bounds, is refused by name. Standard library only."""

import argparse
import math
import os
import urllib.parse
from pathlib import Path


def positive(text: str) -> float:
    """A number above 0."""
    return _within(text, 0 < (value := _number(text)) < math.inf, value, "a number above 0")


def not_negative(text: str) -> float:
    """A number from 0."""
    return _within(text, 0 <= (value := _number(text)) < math.inf, value, "a number from 0")


def share(text: str) -> float:
    """A share from 0 to 1."""
    return _within(text, 0 <= (value := _number(text)) <= 1, value, "a share from 0 to 1")


def count(text: str) -> int:
    """A whole number from 1."""
    value = _number(text)
    return int(_within(text, value >= 1 and value.is_integer(), value, "a whole number from 1"))


def count_or_none(text: str) -> int:
    """A whole number from 0."""
    value = _number(text)
    return int(_within(text, value >= 0 and value.is_integer(), value, "a whole number from 0"))


def port(text: str) -> int:
    """A port, or 0 for any that is free."""
    value = _number(text)
    return int(_within(text, 0 <= value <= 65535 and value.is_integer(), value, "a port from 0 to 65535"))


def url(text: str) -> str:
    """The URL of a cluster."""
    try:
        parts = urllib.parse.urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"{text}: expected http:// or https:// with a host")
    return text


def readable(text: str) -> Path:
    """A file to read."""
    path = Path(text)
    if path.is_dir() or not os.access(path, os.R_OK):
        raise argparse.ArgumentTypeError(f"{text}: expected a file that is there and can be read")
    return path


def writable(text: str) -> Path:
    """A file to write, in a folder that is there: else a run would end in vain."""
    path = Path(text)
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text}: expected a file in a folder that can be written to")
    return path


def report_parser(module: str, doc: str, quick: str = "") -> argparse.ArgumentParser:
    """The command line of a module that makes a report: `--out FILE`, and `--quick` where `quick` says what it does."""
    parser = argparse.ArgumentParser(
        prog=f"python -m loadtest.{module}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if quick:
        parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--out", type=writable, metavar="FILE", help="where the report goes, as JSON")
    return parser


def first_word(path: Path) -> str:
    """The token that a file begins with."""
    try:
        words = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}, expected a token") from error
    if not words:
        raise ValueError(f"{path}: empty, expected a token")
    return words[0]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _within(text: str, holds: bool, value: float, expected: str) -> float:
    if not holds:
        raise argparse.ArgumentTypeError(f"{text}: expected {expected}")
    return value
