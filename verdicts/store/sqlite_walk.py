"""Rankings by a walk through all rows: of short ranges, of what was alerted or blocked, of one client's suspect names.

Most malicious names are asked for once: no head of a list tells the most frequent (`sqlite_top`), and their records lie
in a page each. `bad` and `suspect` hold them by hour, with who asked for what.
"""

import sqlite3
from typing import Any

import msgspec

from verdicts.store import Filter
from verdicts.store.sqlite_ahead import ReadAhead
from verdicts.store.sqlite_cover import Piece, cover, field_column, rows_of, source
from verdicts.store.sqlite_filter import dimensions, only_dimensions
from verdicts.store.sqlite_log import BAD, CLASS, DIMS, KEYS, NAMED
from verdicts.store.sqlite_schema import HOUR, told_of

LONG_MS = 3 * HOUR  # shorter ranges are counted from the records
RAW = f"r.count AS n, r.count * d.enforced AS e, r.score AS s, r.generated AS g, r.last AS l, {CLASS} AS c"

_SUMS = "sum(n) AS n, max(s) AS s, max(g), max(l), max(c), sum(e) AS e"
_RANKS = {"n": "sum(r.count)", "s": "max(r.score)", "e": "sum(r.count * d.enforced)"}

Parts = list[tuple[str, list[Any]]]  # selects of k, n, e, s, g, l, c and their arguments


class WalkedTops:
    """The part of `Tops` that reads ranges from their begin to their end."""

    _ahead: ReadAhead

    def _reader(self) -> sqlite3.Connection:
        raise NotImplementedError

    def _all(self, sql: str, *values: Any) -> list[Any]:
        with told_of(reader := self._reader()):
            return reader.execute(sql, values).fetchall()

    def _ranked(self, parts: Parts, order: str, limit: int, more: str = "") -> list[Any]:
        """Key and sums, and what `more` selects, of the first `limit` keys."""
        sql = " UNION ALL ".join(part for part, _ in parts)
        if not sql:
            return []
        values = [value for _, arguments in parts for value in arguments]
        return self._all(
            f"SELECT k, {_SUMS}{more} FROM ({sql}) GROUP BY k ORDER BY {order} DESC, n DESC, k LIMIT ?", *values, limit
        )

    def _raw(self, where: Filter, by: str, piece: Piece) -> tuple[str, list[Any]]:
        sql, arguments = self._walk(where, piece)
        return f"SELECT {field_column(by)} AS k, {RAW} {sql}", arguments

    def _walk(self, where: Filter, piece: Piece) -> tuple[str, list[Any]]:
        """FROM and WHERE of a piece that is about to be read from its begin to its end."""
        table, start, end = piece
        reader = self._reader()

        def ranged(first: int, last: int) -> tuple[str, list[Any]]:
            return rows_of(reader, where, table, first, last, walk=True)

        with told_of(reader):
            self._ahead.read(reader, ranged, start, end)
        return source(reader, where, table, start, end, walk=True)

    def _walked(self, where: Filter, by: str, order: str, limit: int) -> list[Any] | None:
        """The ranking of a short range, or of what was alerted or blocked, with its distinct clients as a last column;
        None where roll-ups by key are to be asked instead.

        By two walks: the first ranks by as few columns as can be, since it is their sorting that takes long.
        """
        pieces: list[Piece] = [("records", where.start, where.end)]
        if where.end - where.start >= LONG_MS:
            if by not in KEYS or not only_dimensions(where) or not self._only(where, BAD):
                return None
            pieces = cover(where, (("bad", HOUR),))
        column = field_column(by)
        keys: set[Any] = set()
        parts: Parts = []
        for piece in pieces:
            sql, arguments = self._walk(where, piece)
            if piece[0] == "records" and len(pieces) > 1:  # an end: its keys have more in `bad`, which ranks by itself
                keys.update(key for (key,) in self._all(f"SELECT DISTINCT {column} {sql}", *arguments))
            else:
                apart = order != "e" and by not in DIMS  # from their dimensions
                rows = rows_of(self._reader(), where, *piece, walk=True)[0] if apart else sql
                first = f"SELECT {column} AS k, {_RANKS[order]} AS o, sum(r.count) AS n {rows} GROUP BY k"
                found = self._all(f"{first} ORDER BY o DESC, n DESC, k LIMIT ?", *arguments, limit)
                keys.update(row[0] for row in found)
            wanted = f"{sql} AND +{column} IN (SELECT value FROM json_each(?))"
            parts.append((f"SELECT {column} AS k, r.client AS o, {RAW} {wanted}", arguments))
        listed = msgspec.json.encode(list(keys)).decode()
        clients = ", 1" if by == "client" else ", count(DISTINCT o)"
        return self._ranked([(sql, [*arguments, listed]) for sql, arguments in parts], order, limit, clients)

    def _of_client(self, where: Filter, by: str) -> Parts | None:
        """The names that one client asked for, where the filter wants only such as `suspect` holds; else None."""
        others = msgspec.structs.replace(where, client="")
        if by not in KEYS or not where.client or "/" in where.client or not only_dimensions(others):
            return None
        table, held = NAMED[1]
        if not self._only(others, held):
            return None
        return [self._raw(where, by, piece) for piece in cover(where, ((table, HOUR),))]

    def _only(self, where: Filter, condition: str) -> bool:
        """True when the filter speaks of dimensions, and all that it wants fulfil a condition."""
        dims = dimensions(self._reader(), where)
        if dims is None:
            return False
        marks = ", ".join(map(str, dims))
        return not self._all(f"SELECT 1 FROM dims d WHERE id IN ({marks}) AND NOT {condition} LIMIT 1")
