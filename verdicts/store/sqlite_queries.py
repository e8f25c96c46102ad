"""Questions to the SQLite log: from roll-ups where the filter allows, from the records where it does not."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from verdicts.records import Record
from verdicts.store import BatchState, Bucket, Filter, Page, Top, Unavailable
from verdicts.store.sqlite_filter import Where, dimensions, key_filter_classes, only_dimensions, where_of
from verdicts.store.sqlite_log import CLASS, CLASSES, DAY, DIMS, HOUR, KEYS, MINUTE
from verdicts.store.sqlite_schema import ROW_BITS

EXACT_CLIENTS_MS = 6 * HOUR  # longer ranges count distinct clients by whole days
ROLLUPS = (("minutes", MINUTE), ("hours", HOUR))
ORDERS = {"count": "n", "clients": "clients", "score": "s", "enforced": "e"}

_RECORD = (
    "SELECT r.id, r.time, r.last, r.count, r.qname, r.registered, r.subdomain, r.suffix, r.client, r.rule, r.score,"
    " r.generated, r.latency_sum, r.latency_max, r.extra, d.resolver, d.mode, d.qtype, d.label, d.tier, d.action,"
    " d.enforced, d.source, d.model, d.reason, d.rcode, b.resolver, b.boot, b.batch"
    f" FROM records r JOIN dims d ON d.id = r.dim JOIN batches b ON b.id = r.id >> {ROW_BITS}"
)


class LogReads:
    """`search`, `histogram`, `top` and `reconcile` of `SqliteStore`."""

    def _reader(self) -> sqlite3.Connection:
        raise NotImplementedError

    def search(self, where: Filter, limit: int = 100, cursor: str | None = None) -> Page:
        """One page of records, newest first."""
        wanted = where_of(where)
        if cursor is not None:
            time, number = map(int, cursor.split("."))
            wanted = wanted.also("(r.time, r.id) < (?, ?)", time, number).also("r.time <= ?", time)
        found = self._newest(where, wanted, limit + 1)
        ids = [number for _, number in found[:limit]]
        records: list[Record] = []
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            marks = ", ".join("?" * len(part))
            records += map(
                _record, self._all(f"{_RECORD} WHERE r.id IN ({marks}) ORDER BY r.time DESC, r.id DESC", *part)
            )
        more = len(found) > limit
        return Page(records, f"{found[limit - 1][0]}.{found[limit - 1][1]}" if more and limit else None)

    def _newest(self, where: Filter, wanted: Where, limit: int) -> list[tuple[int, int]]:
        """(time, id) of the newest matching records."""
        select = "SELECT r.time, r.id FROM records r WHERE"
        order = f"ORDER BY r.time DESC, r.id DESC LIMIT {int(limit)}"
        dims = dimensions(self._reader(), where)
        if dims is None or wanted.selective:
            if dims is not None:
                wanted = wanted.also_dims(dims)
            return self._all(f"{select} {wanted.sql} {order}", *wanted.values)
        found: list[tuple[int, int]] = []
        for dim in dims:  # one walk of the index (dim, time) each: no sort, and rare values are found at once
            found += self._all(f"{select} r.dim = ? AND {wanted.sql} {order}", dim, *wanted.values)
        return sorted(found, reverse=True)[:limit]

    def histogram(self, where: Filter, interval: int, by: str = "tier") -> list[Bucket]:
        """Counts per interval and value of `by`, in order of time and value."""
        if interval < 1:
            raise ValueError(f"interval {interval}: expected 1 millisecond or more")
        column = _field(by)
        parts: list[str] = []
        values: list[Any] = []
        tables = ROLLUPS if only_dimensions(where) and by in DIMS else ()
        for table, start, end in _cover(where, tuple(item for item in tables if interval % item[1] == 0)):
            sql, arguments = self._source(where, table, start, end)
            parts.append(f"SELECT r.time - r.time % {int(interval)} AS t, {column} AS k, r.count AS n {sql}")
            values += arguments
        sql = " UNION ALL ".join(parts) or "SELECT 0 AS t, '' AS k, 0 AS n WHERE false"
        rows = self._all(f"SELECT t, k, sum(n) FROM ({sql}) GROUP BY t, k ORDER BY t, k", *values)
        return [Bucket(time, _text(key), count) for time, key, count in rows if count]

    def _source(self, where: Filter, table: str, start: int, end: int) -> tuple[str, list[Any]]:
        """FROM and WHERE of the rows of a table in a range that match, joined with their dimensions."""
        wanted = where_of(msgspec.structs.replace(where, start=start, end=end))
        dims = dimensions(self._reader(), where)
        if dims is not None:
            wanted = wanted.also_dims(dims)
        return f"FROM {table} r CROSS JOIN dims d ON d.id = r.dim WHERE {wanted.sql}", list(wanted.values)

    def top(self, where: Filter, by: str, limit: int = 20, order: str = "count") -> list[Top]:
        """The highest values of the field `by`."""
        if order not in ORDERS:
            raise ValueError(f"order {order!r}: expected one of {', '.join(ORDERS)}")
        column = _field(by)
        classes = key_filter_classes(where)
        tables: tuple[tuple[str, int], ...] = ()
        if by in KEYS and classes is not None:
            tables = (("tops", HOUR),)
        elif by in DIMS and only_dimensions(where):
            tables = ROLLUPS
        parts: list[str] = []
        values: list[Any] = []
        for table, start, end in _cover(where, tables):
            if table == "tops":
                marks = ", ".join(map(str, classes or ()))
                parts.append(
                    "SELECT key AS k, count AS n, enforced AS e, score AS s, generated AS g, last AS l, class AS c"
                    f" FROM tops WHERE field = ? AND class IN ({marks}) AND time >= ? AND time < ?"
                )
                values += [KEYS.index(by), start, end]
                continue
            sql, arguments = self._source(where, table, start, end)
            parts.append(
                f"SELECT {column} AS k, r.count AS n, r.count * d.enforced AS e, r.score AS s, r.generated AS g,"
                f" r.last AS l, {CLASS} AS c {sql}"
            )
            values += arguments
        if not parts:
            return []
        clients = "0"
        if order == "clients":
            return self._by_clients(where, by, limit, " UNION ALL ".join(parts), values)
        rows = self._all(
            f"SELECT k, sum(n) AS n, {clients} AS clients, max(s) AS s, max(g), max(l), max(c), sum(e) AS e"
            f" FROM ({' UNION ALL '.join(parts)}) GROUP BY k ORDER BY {ORDERS[order]} DESC, n DESC, k LIMIT ?",
            *values, limit,
        )  # fmt: skip
        return [_top(row, self._clients(where, by, row[0])) for row in rows if row[1] or row[7] is not None]

    def _by_clients(self, where: Filter, by: str, limit: int, sql: str, values: list[Any]) -> list[Top]:
        """Rank by distinct clients: the candidates are the values that most queries asked for."""
        rows = self._all(
            "SELECT k, sum(n) AS n, 0, max(s) AS s, max(g), max(l), max(c), sum(e) AS e"
            f" FROM ({sql}) GROUP BY k ORDER BY n DESC, k LIMIT ?",
            *values, max(10 * limit, 200),
        )  # fmt: skip
        ranked = [_top(row, self._clients(where, by, row[0])) for row in rows]
        return sorted(ranked, key=lambda top: (-top.clients, -top.count, top.key))[:limit]

    def _clients(self, where: Filter, by: str, key: Any) -> int:
        """Distinct clients that asked for one value of a field."""
        if by == "client":
            return 1
        classes = key_filter_classes(where)
        if by in KEYS and classes is not None and where.end - where.start > EXACT_CLIENTS_MS:
            sql = (
                f"SELECT count(DISTINCT client) FROM asked WHERE field = ? AND key = ?"
                f" AND time >= ? AND time < ? AND class IN ({', '.join(map(str, classes))})"
            )
            start = where.start - where.start % DAY
            return int(self._all(sql, KEYS.index(by), key, start, where.end)[0][0])
        if by in DIMS and where.end - where.start > EXACT_CLIENTS_MS:
            return 0
        sql, arguments = self._source(where, "records", where.start, where.end)
        return int(self._all(f"SELECT count(DISTINCT r.client) {sql} AND {_field(by)} = ?", *arguments, key)[0][0])

    def reconcile(self, start: int, end: int) -> Iterator[BatchState]:
        """Each batch reported in the range, with what was stored of it."""
        rows = self._all(
            "SELECT resolver, boot, batch, time, seen, discarded, rows,"
            f" (SELECT count(*) FROM records WHERE records.id >= b.id << {ROW_BITS}"
            f" AND records.id < (b.id + 1) << {ROW_BITS}),"
            " (SELECT count(*) FROM dead WHERE dead.batch = b.id)"
            " FROM batches b WHERE time >= ? AND time < ? ORDER BY time, id",
            start, end,
        )  # fmt: skip
        return (BatchState(*row) for row in rows)

    def _all(self, sql: str, *values: Any) -> list[Any]:
        try:
            return self._reader().execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:
            raise Unavailable(f"store: {error}") from error


def _cover(where: Filter, tables: tuple[tuple[str, int], ...]) -> list[tuple[str, int, int]]:
    """Cut the range into pieces (table, start, end): each roll-up (table, width), coarser ones last, takes the whole
    buckets out of the middle."""
    before: list[tuple[str, int, int]] = []
    middle = ("records", where.start, where.end)
    after: list[tuple[str, int, int]] = []
    for table, width in tables:
        name, start, end = middle
        first, last = -(-start // width) * width, end // width * width
        if first >= last:
            break
        before.append((name, start, first))
        after.append((name, last, end))
        middle = (table, first, last)
    return [piece for piece in (*before, middle, *after) if piece[1] < piece[2]]


def _field(by: str) -> str:
    if by in DIMS:
        return f"d.{by}"
    if by in (*KEYS, "suffix", "rule"):
        return f"r.{by}"
    raise ValueError(f"field {by!r}: expected one of {', '.join((*DIMS, *KEYS, 'suffix', 'rule'))}")


def _text(key: Any) -> str:
    """A key as text: `enforced` is a boolean in a record and a number here."""
    return key if isinstance(key, str) else "true" if key else "false"


def _top(row: tuple[Any, ...], clients: int) -> Top:
    key, count, _, score, generated, last, strongest, enforced = row
    return Top(_text(key), count, clients, score, generated, last, CLASSES[strongest][1], enforced)


def _record(row: tuple[Any, ...]) -> Record:
    addresses, targets, target_of = msgspec.json.decode(row[14]) if row[14] else ([], [], "")
    return Record(
        id=f"{row[26]}-{row[27]}-{row[28]}-{row[0] & ((1 << ROW_BITS) - 1)}",
        time=row[1], last=row[2], count=row[3], qname=row[4], registered=row[5], subdomain=row[6], suffix=row[7],
        client=row[8], rule=row[9], score=row[10], generated=row[11], latency_sum=row[12], latency_max=row[13],
        resolver=row[15], mode=row[16], qtype=row[17], label=row[18], tier=row[19], action=row[20],
        enforced=bool(row[21]), source=row[22], model=row[23], reason=row[24], rcode=row[25],
        addresses=addresses, targets=targets, target_of=target_of,
    )  # fmt: skip
