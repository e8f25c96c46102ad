"""Questions to the SQLite log: from roll-ups where the filter allows, from the records where it does not."""

from collections.abc import Iterator
from typing import Any

import msgspec

from verdicts.records import Record
from verdicts.store import BatchState, Bucket, Filter, Page
from verdicts.store.sqlite_cover import ROLLUPS, cover, field_column, key_text, source
from verdicts.store.sqlite_filter import Where, dimensions, only_dimensions, where_of
from verdicts.store.sqlite_log import DIMS
from verdicts.store.sqlite_schema import ROW_BITS
from verdicts.store.sqlite_top import Tops

_RECORD = (
    "SELECT r.id, r.time, r.last, r.count, r.qname, r.registered, r.subdomain, r.suffix, r.client, r.rule, r.score,"
    " r.generated, r.latency_sum, r.latency_max, r.extra, d.resolver, d.mode, d.qtype, d.label, d.tier, d.action,"
    " d.enforced, d.source, d.model, d.reason, d.rcode, b.resolver, b.boot, b.batch"
    f" FROM records r JOIN dims d ON d.id = r.dim JOIN batches b ON b.id = r.id >> {ROW_BITS}"
)


class LogReads(Tops):
    """`search`, `histogram`, `reconcile`, `discarded`, and by `Tops` `top`, of `SqliteStore`."""

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
        column = field_column(by)
        parts: list[str] = []
        values: list[Any] = []
        tables = ROLLUPS if only_dimensions(where) and by in DIMS else ()
        for table, start, end in cover(where, tuple(item for item in tables if interval % item[1] == 0)):
            sql, arguments = source(self._reader(), where, table, start, end)
            parts.append(f"SELECT r.time - r.time % {int(interval)} AS t, {column} AS k, r.count AS n {sql}")
            values += arguments
        sql = " UNION ALL ".join(parts) or "SELECT 0 AS t, '' AS k, 0 AS n WHERE false"
        rows = self._all(f"SELECT t, k, sum(n) FROM ({sql}) GROUP BY t, k ORDER BY t, k", *values)
        return [Bucket(time, key_text(key), count) for time, key, count in rows if count]

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

    def discarded(self, start: int, end: int) -> int:
        """How many queries the reports of the range had to leave out."""
        sql = "SELECT coalesce(sum(discarded), 0) FROM batches WHERE discarded > 0 AND time >= ? AND time < ?"
        return int(self._all(sql, start, end)[0][0])


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
