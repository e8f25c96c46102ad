"""Records into SQLite: set by set, each counted once in the roll-ups."""

import sqlite3
import time
import zlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from verdicts.records import Record
from verdicts.store import Promise, Rejected
from verdicts.store.admission import parse_id, refusal
from verdicts.store.sqlite_askers import add_late, list_askers
from verdicts.store.sqlite_schema import DAY, HOUR, MINUTE, ROW_BITS

DIMS = (
    "resolver", "mode", "qtype", "label", "tier", "action", "enforced", "source", "model", "reason", "rcode",
)  # fmt: skip
KEYS = ("qname", "registered", "client")  # `tops.field` is the index here
# The strongest last, so that the maximum of a class is the strongest tier seen.
CLASS = "CASE d.tier WHEN 'block' THEN 3 WHEN 'alert' THEN 2 ELSE CASE d.label WHEN 'unknown' THEN 1 ELSE 0 END END"
CLASSES = (("benign", "none"), ("unknown", "none"), ("malicious", "alert"), ("malicious", "block"))
BAD = "(d.tier IN ('alert', 'block') OR d.label = 'malicious')"
MISSED = "d.rcode = 'NXDOMAIN'"
NAMED = (("bad", BAD), ("suspect", f"({BAD} OR {MISSED})"))  # roll-ups by hour that keep name and client, and of what
# Roll-ups whose rows of one time lie anywhere in them: to look for old ones is to read all, which an append waits for.
HOURLY, DAILY = ("tops", "bad", "suspect"), ("days", "asked", "askers")
RETAIN_ROWS = 5_000  # removed in one transaction, some 0.3 s: a pause must be in force within two

_STAGE = """
CREATE TEMP TABLE IF NOT EXISTS stage (
    id INTEGER PRIMARY KEY, time, last, count, dim, qname, registered, subdomain, suffix, client, rule, score,
    generated, latency_sum, latency_max, extra
)
"""
_COLUMNS = (
    "id, time, last, count, dim, qname, registered, subdomain, suffix, client, rule, score, generated,"
    " latency_sum, latency_max, extra"
)


class LogWrites:
    """`append`, `roll_up` and `retain` of `SqliteStore`."""

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError

    def append(self, records: Sequence[Record], promises: Sequence[Promise] = ()) -> list[Rejected]:
        """Store each record and promise once, synced; see `LogStore.append`."""
        now = int(time.time() * 1000)
        rejected = [Rejected(record, reason) for record in records if (reason := refusal(record, now))]
        refused = {id(item.record) for item in rejected}
        with self._transaction() as db:
            _promise(db, promises)
            _stage(db, (record for record in records if id(record) not in refused))
            all_late = add_late(db, now)
            _count_stage(db)
            if not all_late:  # an import of what is long over is not held up
                list_askers(db, now)
            _bury(db, rejected, now)
        return rejected

    def roll_up(self, now: int) -> int:
        """Nothing to do: each append brings its roll-ups up to date."""
        return 0

    def retain(self, before: int) -> int:
        """Remove records, batches and roll-ups older than `before`; return how many records went."""
        removed = 0
        while True:
            with self._transaction() as db:
                gone = db.execute(
                    "DELETE FROM records WHERE id IN (SELECT id FROM records WHERE time < ? ORDER BY time LIMIT ?)",
                    (before, RETAIN_ROWS),
                ).rowcount
            removed += gone
            if gone < RETAIN_ROWS:
                break
        with self._transaction() as db:
            db.execute("DELETE FROM minutes WHERE time < ?", (before - before % MINUTE,))
            hours = db.execute("DELETE FROM hours WHERE time < ?", (before - before % HOUR,)).rowcount
            if hours:  # the others have no hour that this one lacked
                _remove(db, HOURLY, before - before % HOUR)
            day = before - before % DAY
            last = db.execute("SELECT value FROM meta WHERE name = 'retained'").fetchone()
            if last is None or last[0] != day:
                _remove(db, DAILY, day)
                # Whoever asks for each type of query there is makes hundreds: no question need look at them for ever.
                db.execute("DELETE FROM dims WHERE id NOT IN (SELECT dim FROM hours)")
                db.execute("INSERT OR REPLACE INTO meta VALUES ('retained', ?)", (day,))
            db.execute("DELETE FROM dead WHERE time < ?", (before,))
            # The last one's number stays taken: the next batch would get the dead letters that still have it.
            db.execute("DELETE FROM batches WHERE time < ? AND id < (SELECT max(id) FROM batches)", (before,))
            db.execute("UPDATE batches SET time = NULL, rows = NULL WHERE time < ?", (before,))
            db.execute(
                "INSERT INTO meta VALUES ('retained_to', ?) ON CONFLICT (name) DO UPDATE SET value = max(value, ?)",
                (before, before),
            )
        return removed


def _remove(db: sqlite3.Connection, tables: Iterable[str], before: int) -> None:
    for table in tables:
        db.execute(f"DELETE FROM {table} WHERE time < ?", (before,))


def _promise(db: sqlite3.Connection, promises: Iterable[Promise]) -> None:
    db.executemany(
        "INSERT INTO batches (resolver, boot, batch, time, seen, discarded, rows) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET time = excluded.time, seen = excluded.seen, discarded = excluded.discarded,"
        " rows = excluded.rows WHERE rows IS NULL",
        promises,
    )


def _stage(db: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Put the records that are not stored yet into the table `stage`."""
    batches: dict[tuple[str, str, int], int] = {}
    dims: dict[tuple[Any, ...], int] = {}
    db.execute(_STAGE)
    db.execute("DELETE FROM stage")
    db.executemany(
        f"INSERT OR IGNORE INTO stage VALUES ({', '.join('?' * 16)})",
        (_row(db, record, batches, dims) for record in records),
    )
    db.execute("DELETE FROM stage WHERE id IN (SELECT s.id FROM stage s JOIN records r ON r.id = s.id)")


def _row(
    db: sqlite3.Connection, r: Record, batches: dict[tuple[str, str, int], int], dims: dict[tuple[Any, ...], int]
) -> tuple[Any, ...]:
    parsed = parse_id(r.id)
    assert parsed is not None  # refusal() let it pass
    batch_key = parsed[:3]
    if batch_key not in batches:
        batches[batch_key] = _number(db, "batches", ("resolver", "boot", "batch"), batch_key)
    dim_key = (
        r.resolver, r.mode, r.qtype, r.label, r.tier, r.action, int(r.enforced), r.source, r.model, r.reason, r.rcode,
    )  # fmt: skip
    if dim_key not in dims:
        dims[dim_key] = _number(db, "dims", DIMS, dim_key)
    extra = None
    if r.addresses or r.targets or r.target_of:
        extra = msgspec.json.encode([r.addresses, r.targets, r.target_of]).decode()
    return (
        batches[batch_key] << ROW_BITS | parsed[3], r.time, r.last, r.count, dims[dim_key], r.qname, r.registered,
        r.subdomain, r.suffix, r.client, r.rule, r.score, r.generated, r.latency_sum, r.latency_max, extra,
    )  # fmt: skip


def _number(db: sqlite3.Connection, table: str, columns: tuple[str, ...], values: tuple[Any, ...]) -> int:
    where = " AND ".join(f"{column} = ?" for column in columns)
    found = db.execute(f"SELECT id FROM {table} WHERE {where}", values).fetchone()
    if found is None:
        marks = ", ".join("?" * len(columns))
        found = (db.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values).lastrowid,)
    number: int = found[0]
    return number


def _count_stage(db: sqlite3.Connection) -> None:
    """Move the staged records into `records` and every roll-up."""
    db.execute(f"INSERT INTO records ({_COLUMNS}) SELECT {_COLUMNS} FROM stage")
    update = (
        " ON CONFLICT DO UPDATE SET count = count + excluded.count, score = max(score, excluded.score),"
        " generated = max(generated, excluded.generated), last = max(last, excluded.last)"
    )
    for table, width in (("minutes", MINUTE), ("hours", HOUR)):
        db.execute(
            f"INSERT INTO {table} SELECT time - time % {width} AS t, dim, sum(count), max(score), max(generated),"
            f" max(last) FROM stage WHERE true GROUP BY t, dim{update}"
        )
    for table, condition in NAMED:
        db.execute(
            f"INSERT INTO {table} SELECT s.time - s.time % {HOUR} AS t, qname, client, dim, max(registered),"
            " sum(count), max(score), max(generated), max(last) FROM stage s JOIN dims d ON d.id = s.dim"
            f" WHERE {condition} GROUP BY t, qname, client, dim{update}"
        )
    update += ", enforced = enforced + excluded.enforced"
    sums = "sum(count), sum(count * enforced), max(score), max(generated), max(last)"
    source = "FROM stage s JOIN dims d ON d.id = s.dim"
    for field, key in enumerate(KEYS):
        parent = "max(registered)" if key == "qname" else "''"
        db.execute(
            f"INSERT INTO tops SELECT {field}, {key}, s.time - s.time % {HOUR} AS t, {CLASS} AS c, {parent}, {sums}"
            f" {source} GROUP BY {key}, t, c{update}"
        )
        db.execute(
            f"INSERT INTO days SELECT {field}, {key}, s.time - s.time % {DAY} AS t, {CLASS} AS c, {sums}"
            f" {source} GROUP BY {key}, t, c{update}"
        )
        if key != "client":
            db.execute(
                f"INSERT INTO asked SELECT {field}, {key}, s.time - s.time % {DAY} AS t, {CLASS} AS c, client, {sums}"
                f" {source} GROUP BY {key}, t, c, client{update}"
            )


def _bury(db: sqlite3.Connection, rejected: Iterable[Rejected], now: int) -> None:
    """Keep what can never be stored, with its reason; an id that is none gets batch 0 and a row of its own."""
    for record, reason in rejected:
        parsed = parse_id(record.id)
        text = msgspec.json.encode(record).decode()
        if parsed is None:
            batch, row = 0, hash_row(text)
        else:
            batch, row = _number(db, "batches", ("resolver", "boot", "batch"), parsed[:3]), parsed[3]
        db.execute("INSERT OR IGNORE INTO dead VALUES (?, ?, ?, ?, ?)", (batch, row, now, reason, text))


def hash_row(text: str) -> int:
    """A stable number for a text, so that a repeat meets its first copy."""
    return zlib.crc32(text.encode())
