"""Who asked for a popular name or domain, one list a day.

To count the distinct clients of twenty popular names over a week from `asked` is to read half a million rows. A day
that is over hardly changes, so each of its popular keys gets its clients as one JSON list in `askers`, packed, a few
keys with each append. A key and day without a list, today's above all, is counted from `asked`: a list saves time and
is never needed.

Invariant: a list holds exactly the clients that `asked` has for its key and day. Late rows are added to both in one
transaction.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from verdicts.store.sqlite_schema import DAY, HOUR, packed, unpacked

POPULAR = 200  # queries of a day, in one class; fewer have few clients
AT_ONCE = 20  # keys of one append: some hundredths of a second
SETTLED_MS = HOUR  # after its end a day may still get rows from spools
KEYS = ("qname", "registered")  # `askers.field` is the index here, as it is in `asked`
FIELDS = range(len(KEYS))

_UNLISTED = f"""
SELECT DISTINCT key FROM days d WHERE field = ? AND time = ? AND class IN (0, 1, 2, 3)
    AND count >= 4 AND count >= {POPULAR}  -- the first is the condition of the index `days_rank`
    AND NOT EXISTS (SELECT 1 FROM askers a WHERE a.field = d.field AND a.key = d.key AND a.time = d.time) LIMIT ?
"""
_LIST = """
INSERT INTO askers (field, key, time, clients) SELECT :field, :key, :time, packed(json_group_array(client))
    FROM (SELECT DISTINCT client FROM asked WHERE field = :field AND key = :key AND time = :time ORDER BY client)
"""


def list_askers(db: sqlite3.Connection, now: int) -> None:
    """List the clients of the next few popular keys of the oldest day that lacks lists; `now` in Unix milliseconds."""
    day = began = _next_day(db)
    left = AT_ONCE
    while day is not None and left > 0 and _settled(day, now):
        listed = 0
        for field in FIELDS:
            for (key,) in db.execute(_UNLISTED, (field, day, left - listed)).fetchall():
                db.execute(_LIST, {"field": field, "key": key, "time": day})
                listed += 1
        if listed < left:
            day += DAY
        left -= max(listed, 1)
    if day != began:
        _set_next_day(db, day)


def add_late(db: sqlite3.Connection, now: int) -> bool:
    """Put the clients of late rows in `stage` into the lists that there are; True when no row was in time.

    A resolver whose clock is a day behind is late for ever: the lists of its popular names stay, and change rarely.
    """
    day = _next_day(db)
    oldest, newest = db.execute("SELECT min(time), max(time) FROM stage").fetchone()
    if day is None or oldest is None:
        return False
    in_time = day + DAY if _settled(day, now) else day
    if oldest >= in_time:
        return False
    for field in FIELDS:
        late = db.execute(
            f"SELECT a.id, json_group_array(DISTINCT s.client) FROM stage s CROSS JOIN askers a ON a.field = {field}"
            f" AND a.key = s.{KEYS[field]} AND a.time = s.time - s.time % {DAY} WHERE s.time < ? GROUP BY a.id",
            (in_time,),
        )
        for number, clients in late.fetchall():
            there = db.execute("SELECT clients FROM askers WHERE id = ?", (number,)).fetchone()[0]
            known = set(_clients(there))
            if more := known.union(msgspec.json.decode(clients, type=list[str])) - known:
                listed = packed(msgspec.json.encode(sorted(known | more)).decode())
                db.execute("UPDATE askers SET clients = ? WHERE id = ?", (listed, number))
    _set_next_day(db, min(day, oldest - oldest % DAY))  # other keys of its day may have become popular
    return bool(newest < in_time)


def count_askers(
    ask: Callable[..., list[Any]],
    field: int,
    key: str,
    start: int,
    end: int,
    classes: Sequence[int],
    rest: Sequence[int],
) -> int | None:
    """Distinct clients of a key on the days that begin in [`start`, `end`), or None where its lists do not help.

    `ask` takes SQL and its values and gives rows; `start` is a day's begin. A list holds the clients of all classes:
    those that asked in none of `classes`, only in the `rest`, are few where the benign are wanted, and are taken out.
    """
    if 0 not in classes:
        return None
    lists = dict(
        ask("SELECT time, clients FROM askers WHERE field = ? AND key = ? AND time >= ? AND time < ?",
            field, key, start, end)
    )  # fmt: skip
    if not lists:
        return None
    found: set[str] = set()
    for clients in lists.values():
        found.update(_clients(clients))
    of_key = "asked a WHERE field = ? AND key = ?"
    wanted = _marks(classes)
    if rest:
        listed = _marks(lists)
        # The planner would read all classes of a day if they were an IN list as well.
        sql = (
            "SELECT client FROM (SELECT DISTINCT client FROM (SELECT value AS other FROM json_each(?)) CROSS JOIN"
            f" {of_key} AND time IN ({listed}) AND class = other) o WHERE NOT EXISTS (SELECT 1 FROM {of_key}"
            f" AND time IN ({listed}) AND class IN ({wanted}) AND a.client = o.client)"
        )
        found.difference_update(client for (client,) in ask(sql, f"[{_marks(rest)}]", field, key, field, key))
    others = _marks(time for time in range(start, end, DAY) if time not in lists)
    sql = f"SELECT DISTINCT client FROM {of_key} AND time IN ({others}) AND class IN ({wanted})"
    found.update(client for (client,) in ask(sql, field, key))
    return len(found)


def _marks(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _clients(listed: bytes) -> list[str]:
    return msgspec.json.decode(unpacked(listed), type=list[str])


def _settled(day: int, now: int) -> bool:
    return day + DAY + SETTLED_MS <= now


def _next_day(db: sqlite3.Connection) -> int | None:
    """The oldest day that may lack lists; None in a store without records."""
    found = db.execute("SELECT value FROM meta WHERE name = 'askers'").fetchone()
    if found is not None:
        return int(found[0])
    oldest: int | None = db.execute("SELECT min(time) FROM records").fetchone()[0]
    if oldest is None:
        return None
    _set_next_day(db, oldest - oldest % DAY)
    return oldest - oldest % DAY


def _set_next_day(db: sqlite3.Connection, day: int | None) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES ('askers', ?)", (day,))
