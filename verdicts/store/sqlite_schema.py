"""The SQLite store's tables, as numbered migrations, each run once in a transaction.

Layout: low-cardinality fields of a record are one row of `dims`, so that a roll-up row is three integers and a
filter on them is a handful of dimension numbers. `records.id` is `batch << 15 | row`: it holds the record's text
id without storing it, and a batch's records are one range of it. `minutes` and `hours` count queries by dimension,
`tops` and `days` by qname, registered domain or client, `asked` by name and client (`askers`: as lists), `bad` what was
alerted or blocked by name, client and dimension, `suspect` that and NXDOMAIN by client. `batches.stored` and
`batches.dead` are kept by triggers, so that no statement can write or remove a row and not count it.
"""

import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from verdicts.store import Misconfigured, Unavailable

ROW_BITS = 15  # observations.MAX_ROWS < 2**15
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

_FIRST = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    resolver TEXT NOT NULL, boot TEXT NOT NULL, batch INTEGER NOT NULL,
    time INTEGER, seen INTEGER, discarded INTEGER, rows INTEGER,  -- NULL until the promise is written
    UNIQUE (resolver, boot, batch)
);
CREATE INDEX batches_time ON batches (time);

CREATE TABLE dims (
    id INTEGER PRIMARY KEY,
    resolver TEXT, mode TEXT, qtype TEXT, label TEXT, tier TEXT, action TEXT, enforced INTEGER,
    source TEXT, model TEXT, reason TEXT, rcode TEXT,
    UNIQUE (resolver, mode, qtype, label, tier, action, enforced, source, model, reason, rcode)
);

CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL, dim INTEGER NOT NULL,
    qname TEXT NOT NULL, registered TEXT NOT NULL, subdomain TEXT NOT NULL, suffix TEXT NOT NULL,
    client TEXT NOT NULL, rule TEXT NOT NULL, score REAL NOT NULL, generated REAL NOT NULL,
    latency_sum INTEGER NOT NULL, latency_max INTEGER NOT NULL,
    extra TEXT  -- JSON [addresses, targets, target_of], NULL when all are empty
);
CREATE INDEX records_time ON records (time);
CREATE INDEX records_dim ON records (dim, time);
CREATE INDEX records_qname ON records (qname, time, dim, count);  -- covering: a histogram reads no record
CREATE INDEX records_registered ON records (registered, time, dim, count);
CREATE INDEX records_client ON records (client, time, dim, count);
CREATE INDEX records_likely ON records (time) WHERE score >= 0.5;

CREATE TABLE dead (
    batch INTEGER NOT NULL, row INTEGER NOT NULL, time INTEGER NOT NULL, reason TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (batch, row)
) WITHOUT ROWID;

CREATE TABLE minutes (
    time INTEGER, dim INTEGER, count INTEGER NOT NULL, score REAL NOT NULL, generated REAL NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (time, dim)
) WITHOUT ROWID;
CREATE TABLE hours (
    time INTEGER, dim INTEGER, count INTEGER NOT NULL, score REAL NOT NULL, generated REAL NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (time, dim)
) WITHOUT ROWID;
CREATE TABLE tops (  -- by hour; field: index in KEYS, class: see sqlite_log.CLASS
    field INTEGER, key TEXT, time INTEGER, class INTEGER, parent TEXT NOT NULL,  -- registered domain of a qname
    count INTEGER NOT NULL, enforced INTEGER NOT NULL, score REAL NOT NULL, generated REAL NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (field, key, time, class)
) WITHOUT ROWID;
CREATE INDEX tops_rank ON tops (field, time, class, count) WHERE count >= 4;  -- the long tail is never a top
CREATE INDEX tops_bad ON tops (field, time) WHERE class >= 2;
CREATE INDEX tops_parent ON tops (parent, time) WHERE field = 0;
CREATE TABLE days (  -- the same by day
    field INTEGER, key TEXT, time INTEGER, class INTEGER,
    count INTEGER NOT NULL, enforced INTEGER NOT NULL, score REAL NOT NULL, generated REAL NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (field, key, time, class)
) WITHOUT ROWID;
CREATE INDEX days_rank ON days (field, time, class, count) WHERE count >= 4;
CREATE TABLE asked (  -- who asked for what, by day
    field INTEGER, key TEXT, time INTEGER, class INTEGER, client TEXT,
    count INTEGER NOT NULL, enforced INTEGER NOT NULL, score REAL NOT NULL, generated REAL NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (field, key, time, class, client)
) WITHOUT ROWID;

CREATE TABLE documents (
    kind TEXT, key TEXT, body TEXT, epoch INTEGER NOT NULL /* commits.id */, time INTEGER NOT NULL,
    author TEXT NOT NULL, note TEXT NOT NULL, expires INTEGER,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX documents_epoch ON documents (kind, epoch);
CREATE INDEX documents_expires ON documents (expires) WHERE expires IS NOT NULL;
CREATE TABLE commits (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, author TEXT NOT NULL, note TEXT NOT NULL
);
CREATE INDEX commits_time ON commits (time);
CREATE TABLE changes (id INTEGER NOT NULL, kind TEXT, key TEXT, body TEXT, previous TEXT,
    PRIMARY KEY (kind, key, id)) WITHOUT ROWID;
CREATE INDEX changes_id ON changes (id);
"""

# It made the roll-up `bad` as well, which version 5 makes anew.
_NO_BAD_INDEX = "DROP INDEX tops_bad;\n"

# Few reports have to leave anything out: their sum over a month reads those few.
_DISCARDED = "CREATE INDEX batches_discarded ON batches (time, discarded) WHERE discarded > 0;\n"

# Made from `asked` bit by bit (see sqlite_askers), so that an older store opens at once. Rows are numbered: a table
# that is its own index would have the long lists in the way of each search.
_ASKERS = """
CREATE TABLE askers (  -- the distinct clients of a popular key on a day that is over
    id INTEGER PRIMARY KEY, field INTEGER NOT NULL, key TEXT NOT NULL, time INTEGER NOT NULL,
    clients TEXT NOT NULL,  -- JSON list, packed since version 5
    UNIQUE (field, key, time)
);
"""

# Rows of malicious names and of such as do not exist, with name and client, so that a ranking of them or of one
# client's reads no record: each lies in a page of its own. `bad` begins with the time, so that a day is read in a day's
# pages; who looks at one client finds it in `suspect`.
_NAMED_KEYS = ("time, qname, client, dim", "client, time, qname, dim")
_SUMMED = "sum(count), max(score), max(generated), max(last)"
_NAMED = (
    f"""
ALTER TABLE batches ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;
UPDATE batches SET
    stored = (SELECT count(*) FROM records r WHERE r.id >= batches.id << {ROW_BITS}
        AND r.id < (batches.id + 1) << {ROW_BITS}),
    dead = (SELECT count(*) FROM dead d WHERE d.batch = batches.id);
"""
    + "".join(
        f"""
CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN
    UPDATE batches SET {column} = {column} {sign} 1 WHERE id = {row}.{number};
END;
"""
        for table, column, number in (("records", "stored", f"id >> {ROW_BITS}"), ("dead", "dead", "batch"))
        for name, event, sign, row in (("come", "INSERT", "+", "new"), ("gone", "DELETE", "-", "old"))
    )
    + "DROP TABLE IF EXISTS bad;\n"
    + "".join(
        f"""
CREATE TABLE {table} (  -- by hour; see sqlite_log.NAMED
    time INTEGER, qname TEXT, client TEXT, dim INTEGER, registered TEXT NOT NULL, count INTEGER NOT NULL,
    score REAL NOT NULL, generated REAL NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY ({key})
) WITHOUT ROWID;
"""
        for table, key in zip(("bad", "suspect"), _NAMED_KEYS, strict=True)
    )
    + f"""
INSERT INTO suspect SELECT r.time - r.time % 3600000 AS t, r.qname, r.client, r.dim, max(r.registered), {_SUMMED}
    FROM records r NOT INDEXED CROSS JOIN dims d ON d.id = r.dim  -- in its own order, which a disk gives at once
    WHERE d.tier IN ('alert', 'block') OR d.label = 'malicious' OR d.rcode = 'NXDOMAIN'
    GROUP BY r.client, t, r.qname, r.dim;
INSERT INTO bad SELECT s.* FROM suspect s CROSS JOIN dims d ON d.id = s.dim
    WHERE d.tier IN ('alert', 'block') OR d.label = 'malicious' ORDER BY s.time, s.qname, s.client, s.dim;
UPDATE askers SET clients = packed(clients);
"""
)

MIGRATIONS = (_FIRST, _NO_BAD_INDEX, _DISCARDED, _ASKERS, _NAMED)


def packed(text: str) -> bytes:
    """A long text as it is kept: a popular key's clients take a quarter, and with it of what is read for them."""
    return zlib.compress(text.encode(), 1)


def unpacked(octets: bytes) -> bytes:
    """The text of `packed`, as UTF-8."""
    return zlib.decompress(octets)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest version; a newer store than this code knows raises `Misconfigured`."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.create_function("packed", 1, packed, deterministic=True)
    if version > len(MIGRATIONS):
        raise Misconfigured(f"store: {newer(version)}")
    for number in range(version, len(MIGRATIONS)):
        with transaction(connection):
            for statement in statements(MIGRATIONS[number]):
                connection.execute(statement)
            if number == 0:
                _start(connection)
            connection.execute(f"PRAGMA user_version = {number + 1}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One writing transaction: all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # an interrupt may be heard once it is over
            connection.execute("ROLLBACK")
        raise


@contextmanager
def told_of(connection: sqlite3.Connection) -> Iterator[None]:
    """What the file does not let be done (locked, full disk, damaged, no tables) as `Unavailable`, which names it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):  # a defect of ours
            raise
        _, _, path = connection.execute("PRAGMA database_list").fetchone()
        raise Unavailable(f"store {path}: {error}") from error


def newer(version: int) -> str:
    """What is wrong with a store of a version that this code does not know."""
    return f"schema version {version}, expected at most {len(MIGRATIONS)}: a newer Verdict wrote it"


def statements(script: str) -> list[str]:
    """The statements of a script; `executescript` would commit the transaction that a migration runs in."""
    found: list[str] = []
    part = ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            found.append(part)
            part = ""
    return [statement for statement in found if statement.strip()]


def _start(connection: sqlite3.Connection) -> None:
    rows = [("sequence", 0), ("epoch", 0), ("generation", uuid.uuid4().hex), ("created", int(time.time() * 1000))]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
