"""Long work of a command: a bar on a terminal, and a Ctrl-C that stops between two pieces of it."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import click

T = TypeVar("T")


class Interrupt:
    """Whether somebody pressed Ctrl-C."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """The first Ctrl-C only notes that it was pressed; the second one interrupts as always."""
    interrupt = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        interrupt.asked = True
        signal.signal(signal.SIGINT, former)
        click.echo("\nStopping once what is on its way is answered; Ctrl-C again stops at once.", err=True)

    former = signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def bar(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """A progress bar, to be told how much more is done; only where the error stream is a terminal."""
    stream = sys.stderr
    with click.progressbar(length=length, label=label, file=stream, hidden=not stream.isatty()) as shown:
        yield shown.update


def told_of(items: list[T], label: str) -> Iterable[T]:
    """The items, with a bar that says how many were taken."""
    with click.progressbar(
        items, label=label, file=sys.stderr, hidden=not sys.stderr.isatty(), update_min_steps=len(items) // 200 or 1
    ) as shown:
        yield from shown
