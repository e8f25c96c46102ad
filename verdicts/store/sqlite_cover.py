"""Which table answers for which part of a range: records at its ends, roll-ups for the whole buckets between."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from verdicts.store import Filter
from verdicts.store.sqlite_filter import Where, dimensions, exact_keys, only_dimensions, where_of
from verdicts.store.sqlite_log import DIMS, KEYS
from verdicts.store.sqlite_schema import HOUR, MINUTE

Piece = tuple[str, int, int]  # table, start, end
SLICES = 200  # at most
ROLLUPS = (("minutes", MINUTE), ("hours", HOUR))


def cover(where: Filter, tables: tuple[tuple[str, int], ...]) -> list[Piece]:
    """Cut the range into pieces (table, start, end): each roll-up (table, width), coarser ones last, takes the whole
    buckets out of the middle."""
    before: list[Piece] = []
    middle = ("records", where.start, where.end)
    after: list[Piece] = []
    for table, width in tables:
        name, start, end = middle
        first, last = -(-start // width) * width, end // width * width
        if first >= last:
            break
        before.append((name, start, first))
        after.append((name, last, end))
        middle = (table, first, last)
    return [piece for piece in (*before, middle, *after) if piece[1] < piece[2]]


def sliced(where: Filter, piece: Piece) -> list[Piece]:
    """A piece of the records of one key as slices of an hour or more: they are sorted in half the time."""
    table, start, end = piece
    if table != "records" or not exact_keys(where):
        return [piece]
    width = max(HOUR, -(-(end - start) // SLICES))
    return [(table, first, min(first + width, end)) for first in range(start, end, width)]


def within(pieces: list[Piece], interval: int) -> Iterator[Piece]:
    """The pieces, cut where an interval ends."""
    for table, start, end in pieces:
        while start < end:
            last = min(end, start - start % interval + interval)
            yield table, start, last
            start = last


def rows_of(
    reader: sqlite3.Connection, where: Filter, table: str, start: int, end: int, walk: bool = False
) -> tuple[str, list[Any]]:
    """FROM and WHERE of the rows `r` of a table in a range that match.

    With `walk` the records are read in the order of time, or of time within each dimension, where no key is wanted: the
    planner would take an index of all clients to have them in the order of their groups, and a page of the disk each.
    """
    wanted = _wanted(reader, where, start, end)
    return f"FROM {table} r{_index(where, table, wanted, end - start, walk)} WHERE {wanted.sql}", list(wanted.values)


def source(
    reader: sqlite3.Connection, where: Filter, table: str, start: int, end: int, walk: bool = False,
    of_key: bool = False,
) -> tuple[str, list[Any]]:  # fmt: skip
    """The same, joined with their dimensions `d`; `of_key`: the caller goes on to ask for one value of KEYS."""
    wanted = _wanted(reader, where, start, end, of_key)
    index = _index(where, table, wanted, 0, walk) if walk else ""
    return f"FROM {table} r{index} CROSS JOIN dims d ON d.id = r.dim WHERE {wanted.sql}", list(wanted.values)


def _index(where: Filter, table: str, wanted: Where, width: int, walk: bool) -> str:
    if table != "records" or not only_dimensions(where):
        return ""
    if walk and "r.dim" in wanted.sql:
        return " INDEXED BY records_dim"
    # For the seconds at a range's end the planner would look up each client in an index that happens to hold counts.
    return " INDEXED BY records_time" if "r.dim" not in wanted.sql and (walk or width < HOUR) else ""


def _wanted(reader: sqlite3.Connection, where: Filter, start: int, end: int, of_key: bool = False) -> Where:
    wanted = where_of(msgspec.structs.replace(where, start=start, end=end))
    wanted = wanted._replace(selective=wanted.selective or of_key)
    dims = dimensions(reader, where)
    return wanted if dims is None else wanted.also_dims(dims)


def field_column(by: str) -> str:
    """The column of a field in the rows of `source`. Raises `ValueError` for an unknown one."""
    if by in DIMS:
        return f"d.{by}"
    if by in (*KEYS, "suffix", "rule"):
        return f"r.{by}"
    raise ValueError(f"field {by!r}: expected one of {', '.join((*DIMS, *KEYS, 'suffix', 'rule'))}")


def key_text(key: Any) -> str:
    """A key as text: `enforced` is a boolean in a record and a number here."""
    return key if isinstance(key, str) else "true" if key else "false"
