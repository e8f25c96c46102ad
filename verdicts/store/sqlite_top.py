"""Rankings from the roll-ups by key.

The most frequent of millions of keys are found without counting them all (Fagin's threshold algorithm): take the
first few of every hour and day, count those exactly, and stop once the last one wanted has at least as many queries
as a key that was in none of the lists could have. Malicious keys have no such head: see `sqlite_walk`.
"""

from typing import Any

import msgspec

from verdicts.store import MAX_FREQUENT, MAX_TOP, Filter, Top, check_limit
from verdicts.store.sqlite_askers import count_askers
from verdicts.store.sqlite_cover import ROLLUPS, cover, field_column, key_text, source
from verdicts.store.sqlite_filter import key_filter_classes, only_dimensions, where_of
from verdicts.store.sqlite_log import CLASSES, DIMS, KEYS
from verdicts.store.sqlite_schema import DAY, HOUR
from verdicts.store.sqlite_walk import LONG_MS, RAW, Parts, WalkedTops

EXACT_CLIENTS_MS = 6 * HOUR  # longer ranges count distinct clients by whole days
ORDERS = {"count": "n", "clients": "n", "score": "s", "enforced": "e"}
FIRST_DEPTH, LAST_DEPTH = 50, 800  # keys of each hour and day that are looked at
UNLISTED = 3  # queries of a key that the partial indices `tops_rank` and `days_rank` leave out

_ROLLED = "count AS n, enforced AS e, score AS s, generated AS g, last AS l, class AS c"


class Tops(WalkedTops):
    """`top` and `frequent` of `SqliteStore`."""

    def top(self, where: Filter, by: str, limit: int = 20, order: str = "count") -> list[Top]:
        """The highest values of the field `by`; an order by clients ranks those that most queries asked for."""
        if order not in ORDERS:
            raise ValueError(f"order {order!r}: expected one of {', '.join(ORDERS)}")
        check_limit(limit, MAX_TOP)
        field_column(by)
        wanted, whole = limit if order != "clients" else max(10 * limit, 200), self._to_the_last_day(where)
        rows = self._frequent(whole, by, wanted) if order in ("count", "clients") else None
        walked = None if rows is not None else self._walked(whole, by, ORDERS[order], wanted)
        if walked is not None:
            found = [_top(row[:-1], row[-1]) for row in walked]
        else:
            if rows is None:
                rows = self._ranked(self._parts(whole, by), ORDERS[order], wanted)
            clients = self._told(where, by, [row[0] for row in rows])
            found = [_top(row, clients.get(row[0], 0)) for row in rows]
        if order == "clients":
            found.sort(key=lambda top: (-top.clients, -top.count, top.key))
        return found[:limit]

    def frequent(self, where: Filter, by: str, limit: int, order: str = "count") -> dict[str, int]:
        """The values of the field `by` with the most queries, or the highest score."""
        check_limit(limit, MAX_FREQUENT)
        field_column(by)
        rows = self._ranked(self._parts(self._to_the_last_day(where), by), ORDERS[order], limit)
        return {key_text(row[0]): row[1] for row in rows if row[1]}

    def _to_the_last_day(self, where: Filter) -> Filter:
        """The same records, as a long range that ends with a whole day where it ends after the newest record: a range
        up to now, which roll-ups answer to its end then."""
        if where.end - where.start < LONG_MS:
            return where
        newest = self._all("SELECT max(time) FROM records")[0][0]
        if newest is None or newest >= where.end:
            return where
        return msgspec.structs.replace(where, end=-(-where.end // DAY) * DAY)

    def _parts(self, where: Filter, by: str) -> Parts:
        """Everything that matches, from the coarsest tables that can tell."""
        classes = key_filter_classes(where)
        inner = _inner(where)
        if (of_client := self._of_client(where, by)) is not None:
            return of_client
        if by == "qname" and inner is not None and where.registered and not where.name:
            return self._pieces(where, by, "tops", HOUR, "field = 0 AND parent = ?", inner, where.registered)
        if by == "client" and inner is not None and bool(where.registered) != bool(where.name):
            field, key = (1, where.registered) if where.registered else (0, where.name)
            return self._pieces(where, by, "asked", DAY, f"field = {field} AND key = ?", inner, key)
        if by in KEYS and classes is not None:
            return self._pieces(where, by, "tops", HOUR, f"field = {KEYS.index(by)}", classes)
        tables = ROLLUPS if by in DIMS and only_dimensions(where) else ()
        return [self._raw(where, by, piece) for piece in cover(where, tables)]

    def _pieces(
        self, where: Filter, by: str, table: str, width: int, condition: str, classes: list[int], *values: str
    ) -> Parts:
        """Whole buckets from a roll-up, the ends of the range from the records."""
        found: Parts = []
        key = "client" if table == "asked" else "key"
        for name, start, end in cover(where, ((table, width),)):
            if name == "records":
                found.append(self._raw(where, by, (name, start, end)))
                continue
            marks = ", ".join(map(str, classes))
            sql = f"SELECT {key} AS k, {_ROLLED} FROM {name} WHERE {condition} AND time >= ? AND time < ?"
            found.append((f"{sql} AND class IN ({marks})", [*values, start, end]))
        return found

    def _frequent(self, where: Filter, by: str, limit: int) -> list[Any] | None:
        """The most frequent keys of a long range, or None where that cannot be told from the roll-ups' heads."""
        classes = key_filter_classes(where)
        if by not in KEYS or not classes or min(classes) >= 2 or where.end - where.start < LONG_MS:
            return None
        depth = FIRST_DEPTH
        while depth <= LAST_DEPTH:
            keys, most_elsewhere = self._heads(where, KEYS.index(by), classes, depth)
            rows = self._exactly(where, by, classes, keys, limit)
            if len(rows) >= limit and rows[limit - 1][1] >= most_elsewhere:
                return rows
            depth *= 4
        return None

    def _heads(self, where: Filter, field: int, classes: list[int], depth: int) -> tuple[list[str], int]:
        """The first `depth` keys of every bucket that the range touches, and the most queries of any other key."""
        whole = cover(where, (("tops", HOUR), ("days", DAY)))
        start, end = where.start - where.start % HOUR, -(-where.end // HOUR) * HOUR  # the ends within their hours
        first, last = next(((a, b) for table, a, b in whole if table == "days"), (end, end))
        buckets = [("tops", time) for time in (*range(start, first, HOUR), *range(last, end, HOUR))]
        buckets += [("days", time) for time in range(first, last, DAY)]
        keys: set[str] = set()
        most_elsewhere = 0
        for table, time in buckets:
            for number in classes:
                head = self._all(
                    f"SELECT key, count FROM {table} WHERE field = ? AND time = ? AND class = ? AND count >= 4"
                    " ORDER BY count DESC LIMIT ?",
                    field, time, number, depth,
                )  # fmt: skip
                keys.update(key for key, _ in head)
                most_elsewhere += head[-1][1] if len(head) == depth else UNLISTED
        return sorted(keys), most_elsewhere

    def _exactly(self, where: Filter, by: str, classes: list[int], keys: list[str], limit: int) -> list[Any]:
        """The first `limit` of these keys by their exact counts."""
        listed = msgspec.json.encode(keys).decode()
        marks = ", ".join(map(str, classes))
        parts: Parts = []
        for table, start, end in cover(where, (("tops", HOUR), ("days", DAY))):
            if table == "records":
                sql, arguments = source(self._reader(), where, table, start, end)
                part = f"SELECT {field_column(by)} AS k, {RAW} {sql}"
                # Few rows of an hour's end, or few keys: the planner knows the index (key, time) for the latter.
                parts.append(
                    (f"{part} AND {field_column(by)} IN (SELECT value FROM json_each(?))", [*arguments, listed])
                )
                continue
            sql = (
                f"SELECT key AS k, {_ROLLED} FROM (SELECT value AS wanted FROM json_each(?)) CROSS JOIN {table}"
                f" WHERE field = {KEYS.index(by)} AND key = wanted AND time >= ? AND time < ? AND class IN ({marks})"
            )
            parts.append((sql, [listed, start, end]))
        return self._ranked(parts, "n", limit)

    def _told(self, where: Filter, by: str, keys: list[Any]) -> dict[Any, int]:
        """How many distinct clients asked for each of some values of a field; see `_clients`."""
        counted = by == "client" or (by in DIMS and where.end - where.start > EXACT_CLIENTS_MS)
        by_key = by in KEYS and key_filter_classes(where) is not None
        if counted or by_key or where_of(where).selective:
            return {key: self._clients(where, by, key) for key in keys}
        # The rows of one value that match are found by a walk through all that do, as the ranking did: one for all.
        sql, arguments = self._walk(where, ("records", where.start, where.end))
        column, listed = field_column(by), msgspec.json.encode(keys).decode()
        asked = f"SELECT DISTINCT {column} AS k, r.client {sql} AND +{column} IN (SELECT value FROM json_each(?))"
        return dict(self._all(f"SELECT k, count(*) FROM ({asked}) GROUP BY k", *arguments, listed))

    def _clients(self, where: Filter, by: str, key: Any) -> int:
        """Distinct clients that asked for one value of a field; 0 for a coarse field over a long range."""
        if by == "client" or (where.client and "/" not in where.client):
            return 1
        long = where.end - where.start > EXACT_CLIENTS_MS
        within = by == "qname" and not where.name  # a name that was found within the domain has no other
        registered = "" if within else where.registered
        classes = key_filter_classes(msgspec.structs.replace(where, enforced=None, registered=registered))
        if by in KEYS and classes is not None and long:
            wanted = "field = ? AND key = ? AND time >= ? AND time < ?"
            if len(classes) < len(CLASSES):
                wanted += f" AND class IN ({', '.join(map(str, classes))})"
            if where.enforced is not None:
                wanted += " AND enforced > 0" if where.enforced else " AND enforced < count"
            start = where.start - where.start % DAY
            if where.enforced is None:
                rest = [number for number in range(len(CLASSES)) if number not in classes]
                counted = count_askers(self._all, KEYS.index(by), key, start, where.end, classes, rest)
                if counted is not None:
                    return counted
            # By a subquery: count(DISTINCT client) takes half as long again.
            sql = f"SELECT count(*) FROM (SELECT DISTINCT client FROM asked WHERE {wanted})"
            return int(self._all(sql, KEYS.index(by), key, start, where.end)[0][0])
        if by in DIMS and long:
            return 0
        sql, arguments = source(self._reader(), where, "records", where.start, where.end, of_key=by in KEYS)
        return int(
            self._all(f"SELECT count(DISTINCT r.client) {sql} AND {field_column(by)} = ?", *arguments, key)[0][0]
        )


def _inner(where: Filter) -> list[int] | None:
    """The classes wanted when, beside tier and label, a filter names one domain or one exact name, and no more."""
    if not where.registered and (not where.name or where.name.startswith(".") or "*" in where.name):
        return None
    return key_filter_classes(msgspec.structs.replace(where, registered="", name=""))


def _top(row: tuple[Any, ...], clients: int) -> Top:
    key, count, score, generated, last, strongest, enforced = row
    return Top(key_text(key), count, clients, score, generated, last, CLASSES[strongest][1], enforced)
