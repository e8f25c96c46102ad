"""Questions to the SQLite log: from roll-ups where the filter allows, from the records where it does not."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from verdicts.records import Record
from verdicts.store import BatchState, Bucket, Cell, Filter, Page
from verdicts.store.sqlite_cover import ROLLUPS, Piece, cover, field_column, key_text, rows_of, sliced, within
from verdicts.store.sqlite_filter import Keyed, Where, dimensions, exact_keys, one_key, only_dimensions, where_of
from verdicts.store.sqlite_log import CLASSES, DIMS
from verdicts.store.sqlite_schema import DAY, HOUR, ROW_BITS
from verdicts.store.sqlite_top import Tops

COUNT_BITS = 40  # a record counts at most 2**32 queries (verdicts.observations)
PAGE_BATCHES = 10_000
_CURSOR = re.compile("([0-9]{1,18})[.]([0-9]{1,18})").fullmatch  # time and id
_places = msgspec.json.Decoder(list[tuple[int, int]])
_numbers = msgspec.json.Decoder(list[int])

Counts = dict[tuple[int, tuple[str, ...]], int]  # queries by time and the values of some fields

_RECORD = (
    "SELECT r.id, r.time, r.last, r.count, r.qname, r.registered, r.subdomain, r.suffix, r.client, r.rule, r.score,"
    " r.generated, r.latency_sum, r.latency_max, r.extra, d.resolver, d.mode, d.qtype, d.label, d.tier, d.action,"
    " d.enforced, d.source, d.model, d.reason, d.rcode, b.resolver, b.boot, b.batch"
    f" FROM records r JOIN dims d ON d.id = r.dim JOIN batches b ON b.id = r.id >> {ROW_BITS}"
)


class LogReads(Tops):
    """`search`, `histogram`, `cube`, `domains`, `reconcile`, `retained_to` and `discarded`, and by `Tops` `top` and
    `frequent`, of `SqliteStore`."""

    def search(self, where: Filter, limit: int = 100, cursor: str | None = None) -> Page:
        """One page of records, newest first."""
        wanted = where_of(where)
        if cursor is not None:
            place = _CURSOR(cursor)
            if place is None:
                raise ValueError(f"cursor {cursor!r}: expected one that a page gave")
            time, number = int(place[1]), int(place[2])
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
        # One walk of the index (dim, time) each: no sort, and rare values are found at once. In one statement: who asks
        # for each type of query there is makes hundreds of them, and each with each rcode.
        walks = (
            f"(SELECT json_group_array(json_array(time, id)) FROM ({select} r.dim = d.value AND {wanted.sql} {order}))"
        )
        listed = msgspec.json.encode(dims).decode()
        found = self._all(f"SELECT {walks} FROM json_each(?) d", *wanted.values, listed)
        places = (place for (texts,) in found if texts != "[]" for place in _places.decode(texts))
        return sorted(places, reverse=True)[:limit]

    def histogram(self, where: Filter, interval: int, by: str = "tier") -> list[Bucket]:
        """Counts per interval and value of `by`, in order of time and value."""
        return [Bucket(cell.time, cell.keys[0], cell.count) for cell in self.cube(where, interval, (by,))]

    def cube(self, where: Filter, interval: int, by: Sequence[str]) -> list[Cell]:
        """Counts per interval and values of the fields `by`, in order of both."""
        if interval < 1:
            raise ValueError(f"interval {interval}: expected 1 millisecond or more")
        counts: Counts = defaultdict(int)
        keyed = one_key(where) if set(by) <= {"label", "tier"} else None
        tables: tuple[tuple[str, int], ...] = (("tops", HOUR),) if keyed is not None else ()
        if only_dimensions(where) and set(by) <= set(DIMS):
            tables = ROLLUPS
        for table, start, end in cover(where, tuple(item for item in tables if interval % item[1] == 0)):
            if keyed is not None and table == "tops":
                self._count_key(counts, keyed, (start, end, interval), by)
                continue
            if table == "records" and exact_keys(where) and set(by) <= set(DIMS):
                self._count_records(counts, where, (start, end, interval), by)
                continue
            for piece in sliced(where, (table, start, end)):
                sql, arguments = self._cells(where, piece, interval, by)
                for time, *keys, count in self._all(sql, *arguments):
                    counts[time, tuple(map(key_text, keys))] += count
        return [Cell(time, keys, count) for (time, keys), count in sorted(counts.items()) if count]

    def _cells(self, where: Filter, piece: Piece, interval: int, by: Sequence[str]) -> tuple[str, list[Any]]:
        """A piece of a cube. Rows are counted by their dimensions' number first: millions of numbers are sorted in half
        the time of as many texts."""
        columns = [field_column(field) for field in by]
        own = "".join(f", {column} AS k{at}" for at, column in enumerate(columns) if column.startswith("r."))
        shown = "".join(f", r.k{at}" if column.startswith("r.") else f", {column}" for at, column in enumerate(columns))
        sql, arguments = rows_of(self._reader(), where, *piece)
        counted = f"SELECT r.time - r.time % {int(interval)} AS t, r.dim AS dim{own}, sum(r.count) AS n {sql}"
        group = ", ".join(str(number + 1) for number in range(1 + len(by)))
        inner = ", ".join(str(number + 1) for number in range(2 + own.count(" AS ")))
        return (
            f"SELECT r.t{shown}, sum(r.n) FROM ({counted} GROUP BY {inner}) r CROSS JOIN dims d ON d.id = r.dim"
            f" GROUP BY {group}",
            arguments,
        )

    def _count_records(self, counts: Counts, where: Filter, span: tuple[int, int, int], by: Sequence[str]) -> None:
        """The records of one name, domain or client: a popular one has hundreds of thousands, of a dozen dimensions and
        of small counts. Handed over as numbers and counted here they take a third of the time that GROUP BY takes."""
        start, end, interval = span
        columns = "".join(f", {field_column(field)}" for field in by)
        known = self._all(f"SELECT d.id{columns} FROM dims d")
        dims = {number: tuple(map(key_text, keys)) for number, *keys in known}
        for table, first, last in within(sliced(where, ("records", start, end)), interval):
            sql, arguments = rows_of(self._reader(), where, table, first, last)
            [(packed,)] = self._all(f"SELECT json_group_array(r.dim << {COUNT_BITS} | r.count) {sql}", *arguments)
            for number, times in Counter(_numbers.decode(packed)).items():
                key = first - first % interval, dims[number >> COUNT_BITS]
                counts[key] += times * (number & ((1 << COUNT_BITS) - 1))

    def _count_key(self, counts: Counts, keyed: Keyed, span: tuple[int, int, int], by: Sequence[str]) -> None:
        """Whole hours of one name, domain or client, from its roll-up."""
        start, end, interval = span
        marks = ", ".join(map(str, keyed.classes))
        found = self._all(
            f"SELECT time - time % {int(interval)} AS t, class, sum(count) FROM tops WHERE field = ? AND key = ?"
            f" AND time >= ? AND time < ? AND class IN ({marks}) GROUP BY t, class",
            keyed.field, keyed.key, start, end,
        )  # fmt: skip
        for time, number, count in found:
            label, tier = CLASSES[number]
            counts[time, tuple(label if field == "label" else tier for field in by)] += count

    def domains(self, where: Filter, registered: Sequence[str]) -> dict[str, int]:
        """Queries of each of some registered domains."""
        width = DAY * (1 + (where.end - where.start) // DAY)
        counts: dict[str, int] = defaultdict(int)
        for domain in set(registered) - {""}:
            for cell in self.cube(msgspec.structs.replace(where, registered=domain), width, ()):
                counts[domain] += cell.count
        return dict(counts)

    def reconcile(self, start: int, end: int, kept: bool = False) -> Iterator[BatchState]:
        """Each batch reported in the range, with what was stored of it; see `LogStore.reconcile`."""
        counted = (
            f"(SELECT count(*) FROM records WHERE records.id >= b.id << {ROW_BITS}"
            f" AND records.id < (b.id + 1) << {ROW_BITS}), (SELECT count(*) FROM dead WHERE dead.batch = b.id)"
        )
        columns = f"resolver, boot, batch, time, seen, discarded, rows, {'b.stored, b.dead' if kept else counted}, b.id"
        after = start, -1
        while True:  # a resolver reports 86,400 batches a day
            rows = self._all(
                f"SELECT {columns} FROM batches b WHERE time >= ? AND (time, id) > (?, ?) AND time < ?"
                " ORDER BY time, id LIMIT ?",
                after[0], *after, end, PAGE_BATCHES,
            )  # fmt: skip
            for *found, number in rows:
                yield BatchState(*found)
                after = found[3], number
            if len(rows) < PAGE_BATCHES:
                return

    def retained_to(self) -> int:
        """Up to when the retention has removed so far; 0: it never did."""
        found = self._all("SELECT value FROM meta WHERE name = 'retained_to'")
        return int(found[0][0]) if found else 0

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
