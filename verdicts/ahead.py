"""One item ahead: the next is made while the one before is being dealt with."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items in their order. While the caller deals with one, which has to wait for a disk or for an answer, a
    thread asks for the next; it asks for no other before the caller does. What asking raises, the caller gets in its
    place."""
    waiting = iter(items)
    none = object()
    with ThreadPoolExecutor(1, "verdict-ahead") as thread:
        coming = thread.submit(next, waiting, none)
        while (item := coming.result()) is not none:
            coming = thread.submit(next, waiting, none)
            yield item  # type: ignore[misc]
