"""Documents, their history and the epoch, in SQLite."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from verdicts.store import DECISION_KINDS, EXPIRED, REPLACED_KINDS, SIGNATURE, Conflict, Document, Epoch
from verdicts.store.sqlite_schema import told_of

SCAN_PAGE = 10_000

_keys = msgspec.json.Decoder(list[str])

_unsigned = "json_remove({}.body, " + ", ".join(f"'$.{name}'" for name in SIGNATURE) + ")"
# As `store.says_the_same`; two bodies of the same fields are written alike.
_SAME = (
    "DELETE FROM wanted WHERE kind = 'list' AND CASE WHEN body IS NULL THEN NOT EXISTS (SELECT 1 FROM documents d"
    " WHERE d.kind = 'list' AND d.key = wanted.key AND d.body IS NOT NULL)"
    " ELSE EXISTS (SELECT 1 FROM documents d WHERE d.kind = 'list' AND d.key = wanted.key AND d.body IS NOT NULL"
    f" AND {_unsigned.format('d')} = {_unsigned.format('wanted')}) END"
)


class State:
    """The `StateStore` half of `SqliteStore`."""

    def _reader(self) -> sqlite3.Connection:
        raise NotImplementedError

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError

    def epoch(self) -> Epoch:
        """The current epoch: one read by primary key."""
        rows = dict(self._read("SELECT name, value FROM meta WHERE name IN ('epoch', 'generation')"))
        return Epoch(rows["epoch"], rows["generation"])

    def commit(self, documents: Iterable[Document], author: str, note: str = "", expect: int | None = None) -> Epoch:
        """Write all documents or none, durably; see `StateStore.commit`."""
        now = int(time.time() * 1000)
        encode = msgspec.json.Encoder().encode
        wanted = {(d.kind, d.key): None if d.body is None else encode(d.body).decode() for d in documents}
        # In the order of the tables: written at random, a long list costs three times as much.
        rows = [(kind, key, wanted[kind, key]) for kind, key in sorted(wanted)]
        with self._transaction() as db:
            db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS wanted (kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key))"
                " WITHOUT ROWID"
            )
            db.execute("DELETE FROM wanted")
            db.executemany("INSERT INTO wanted VALUES (?, ?, ?)", rows)
            if expect is not None:
                _check_expected(db, expect)
            values = dict(db.execute("SELECT name, value FROM meta"))
            db.execute(_SAME)
            kinds = {kind for (kind,) in db.execute("SELECT DISTINCT kind FROM wanted")}
            if rows and not kinds:
                return Epoch(values["epoch"], values["generation"])
            moves = not kinds.isdisjoint(DECISION_KINDS)
            commit = values["sequence"] + 1
            epoch = Epoch(commit if moves else values["epoch"], values["generation"])
            db.execute("UPDATE meta SET value = ? WHERE name = 'sequence'", (commit,))
            db.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (epoch.number,))
            db.execute("INSERT INTO commits VALUES (?, ?, ?, ?)", (commit, now, author, note))
            db.execute(
                "INSERT INTO changes SELECT ?, w.kind, w.key, w.body, d.body FROM wanted w"
                " LEFT JOIN documents d ON d.kind = w.kind AND d.key = w.key",
                (commit,),
            )
            db.execute(
                "INSERT OR REPLACE INTO documents SELECT kind, key, body, ?, ?, ?, ?,"
                " CASE kind WHEN 'list' THEN body ->> '$.expires' END FROM wanted",
                (commit, now, author, note),
            )
        return epoch

    def get(self, kind: str, key: str) -> Document | None:
        """One document, or None when it is absent or removed."""
        rows = self._documents("kind = ? AND key = ? AND body IS NOT NULL", (kind, key))
        return rows[0] if rows else None

    def get_many(self, kind: str, keys: Sequence[str]) -> list[Document]:
        """Those of some documents that are there."""
        listed = msgspec.json.encode(list(keys)).decode()
        wanted = "kind = ? AND key IN (SELECT value FROM json_each(?)) AND body IS NOT NULL"
        return self._documents(wanted, (kind, listed))

    def scan(self, kind: str, prefix: str = "", after: str = "") -> Iterator[Document]:
        """All present documents of a kind under a key prefix, in key order, beyond `after`."""
        after, exclusive = (after, ">") if after >= prefix and after else (prefix, ">=")
        beyond = _beyond(prefix)
        upto = " AND key < ?" if beyond else ""  # what is beyond is not even read: an incident has thousands of octets
        while True:
            page = self._documents(
                f"kind = ? AND key {exclusive} ?{upto} AND body IS NOT NULL ORDER BY key LIMIT {SCAN_PAGE}",
                (kind, after, *([beyond] if beyond else [])),
            )
            yield from page
            if len(page) < SCAN_PAGE:
                return
            after, exclusive = page[-1].key, ">"

    def keys(self, kind: str, prefix: str = "") -> Iterator[str]:
        """The keys of all present documents of a kind under a prefix, in order."""
        where = "kind = ? AND key >= ? AND body IS NOT NULL ORDER BY key"
        # As one value: a million rows would be a million tuples first.
        [(found,)] = self._read(
            f"SELECT json_group_array(key) FROM (SELECT key FROM documents WHERE {where})", (kind, prefix)
        )
        for key in _keys.decode(found):
            if not key.startswith(prefix):
                return
            yield key

    def expiring(self, before: int) -> list[Document]:
        """The present list entries that expire before a time."""
        # The column is of lists alone, but of every kind where an earlier release wrote it; `+`: not by the index of
        # kinds, which is of all entries.
        wanted = f"expires < ? AND +kind = 'list' AND body IS NOT NULL ORDER BY expires LIMIT {EXPIRED}"
        return self._documents(wanted, (before,))

    def changes(self, kind: str, since: int, limit: int = 1000) -> list[Document] | None:
        """Documents of a kind changed after commit `since`; None when there are more than `limit`."""
        found = self._documents("kind = ? AND epoch > ? ORDER BY epoch, key LIMIT ?", (kind, since, limit + 1))
        return found if len(found) <= limit else None

    def history(self, kind: str = "", key: str = "", limit: int = 100, before: int | None = None) -> list[Document]:
        """Past changes, newest first, each with the body it replaced."""
        where = ["c.time < ?"]
        arguments: list[Any] = [before if before is not None else 1 << 62]
        for column, value in (("h.kind", kind), ("h.key", key)):
            if value:
                where.append(f"{column} = ?")
                arguments.append(value)
        rows = self._read(
            "SELECT h.kind, h.key, h.body, c.id, c.time, c.author, c.note, h.previous"
            " FROM commits c JOIN changes h ON h.id = c.id"
            f" WHERE {' AND '.join(where)} ORDER BY c.id DESC, h.key LIMIT ?",
            (*arguments, limit),
        )
        return [_document(row) for row in rows]

    def forget(self, kind: str, before: int) -> int:
        """Remove a kind's documents and history from before a time; see `StateStore.forget`."""
        if kind in DECISION_KINDS:
            raise ValueError(f"kind {kind!r}: a decision is not forgotten")
        with self._transaction() as db:
            gone = db.execute("DELETE FROM documents WHERE kind = ? AND time < ?", (kind, before)).rowcount
        self.forget_history(kind, before)
        return gone

    def forget_history(self, kind: str, before: int) -> None:
        """Remove a kind's history from before a time; see `StateStore.forget_history`."""
        if kind in DECISION_KINDS - REPLACED_KINDS:
            raise ValueError(f"kind {kind!r}: the history of a decision is kept")
        with self._transaction() as db:
            gone = db.execute(
                "DELETE FROM changes WHERE kind = ? AND id IN (SELECT id FROM commits WHERE time < ?) RETURNING id",
                (kind, before),
            ).fetchall()
            # A commit of which nothing is left says nothing; one that holds other kinds too stays.
            db.executemany(
                "DELETE FROM commits WHERE id = ? AND NOT EXISTS (SELECT 1 FROM changes h WHERE h.id = commits.id)",
                gone,
            )

    def _documents(self, where: str, values: tuple[Any, ...]) -> list[Document]:
        rows = self._read(
            f"SELECT kind, key, body, epoch, time, author, note, NULL FROM documents WHERE {where}", values
        )
        return [_document(row) for row in rows]

    def _read(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with told_of(reader := self._reader()):
            return reader.execute(sql, values).fetchall()


def _check_expected(db: sqlite3.Connection, expect: int) -> None:
    row = db.execute(
        "SELECT d.kind, d.key, d.epoch FROM wanted w JOIN documents d ON d.kind = w.kind AND d.key = w.key"
        " WHERE d.epoch > ? LIMIT 1",
        (expect,),
    ).fetchone()
    if row is not None:
        raise Conflict(f"{row[0]} {row[1]!r}: changed at epoch {row[2]}, expected at most {expect}")


def _document(row: tuple[Any, ...]) -> Document:
    kind, key, body, epoch, time_, author, note, previous = row
    return Document(
        kind, key, None if body is None else msgspec.json.decode(body), epoch, time_, author, note,
        None if previous is None else msgspec.json.decode(previous),
    )  # fmt: skip


def _beyond(prefix: str) -> str:
    """The least text beyond all that begin with this one; empty where there is none."""
    head, last = prefix[:-1], prefix[-1:]
    if not last:
        return ""
    if last == "\U0010ffff":
        return _beyond(head)
    return head + ("\ue000" if last == "\ud7ff" else chr(ord(last) + 1))  # no text holds what is between
