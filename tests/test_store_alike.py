"""Random questions about random rows: what either store answers is what counting the rows themselves gives."""

import ipaddress
import random
import re
from collections import defaultdict
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
from msgspec.structs import replace

from tests.stores import now, records, settled
from verdicts import names
from verdicts.observations import TIERS, Observation
from verdicts.records import Record
from verdicts.store import Filter, Store, Top

HOUR, DAY = 3_600_000, 86_400_000
ROWS, QUESTIONS, BATCH = 400, 40, 100
NAMES = (
    "example.com", "a.example.com", "b.a.example.com", "xa.example.com", "example.co.uk", "www.example.co.uk",
    "foo.github.io", "a\\.b.example.com", "a\\\\.example.net", "\\042.example.net", "\\063\\091x\\093.example.net",
    "q7x.net", "localhost", "com", ".", "_dmarc.example.com", "xn--fa-hia.de",
)  # fmt: skip
CLIENTS = (
    "192.0.2.1", "192.0.2.9", "192.0.20.1", "198.51.100.7", "2001:db8::1", "2001:db8:0:1::5", "::1", "5f2a" * 8, "",
)  # fmt: skip
NAMED = (
    *NAMES, ".example.com", ".a.example.com", ".example.net", ".com", ".co.uk", ".github.io", "*a*", "*.example.*",
    "q?x.net", "q*t", "*\\\\*", "*[*", "absent.org", ".absent.org",
)  # fmt: skip
ASKED = (*CLIENTS, "192.0.2.0/24", "192.0.0.0/16", "0.0.0.0/0", "2001:db8::/32", "::/0", "2001:db8:0:1::/64")
CHOICES: dict[str, tuple[str, ...]] = {
    "resolver": ("edge-1",), "qtype": ("A", "AAAA", "TYPE262"), "action": ("passthru", "nxdomain"),
    "source": ("model", "none", "blocklist"), "rcode": ("NOERROR", "NXDOMAIN", ""), "model": ("m-1", "m-2", ""),
    "reason": ("", "timeout"), "label": ("benign", "malicious", "unknown"), "tier": ("none", "alert", "block"),
}  # fmt: skip
KINDS = (("benign", "none"), ("unknown", "none"), ("malicious", "alert"), ("malicious", "block"))
INTERVALS = (1000, 60_000, 900_000, HOUR, DAY)
ID = attrgetter("id")
FIELDS = (*CHOICES, "mode", "enforced", "qname", "registered", "client", "suffix", "rule")


def rows_of(dice: random.Random, start: int) -> list[Observation]:
    found = []
    for _ in range(ROWS):
        label, tier = dice.choice(KINDS)
        # The edges of hours and days often: there roll-ups and rows meet.
        at = start + dice.randrange(3 * DAY)
        if dice.random() < 0.4:
            at = at // HOUR * HOUR + dice.choice((0, 1, 999, HOUR - 1))
        pick = {name: dice.choice(CHOICES[name]) for name in ("qtype", "action", "source", "rcode", "model", "reason")}
        found.append(
            Observation(
                dice.choice(NAMES), client=dice.choice(CLIENTS), label=label, tier=tier, first=at,
                last=at + dice.choice((0, 0, 700)), count=dice.choice((0, 1, 1, 2, 7, 1 << 20)),
                enforced=dice.random() < 0.3, rule=dice.choice(("", "r")), score=dice.randrange(9) / 8,
                generated=dice.randrange(9) / 8, latency_sum=dice.randrange(1000), latency_max=5, **pick,
            )
        )  # fmt: skip
    return found


def question(dice: random.Random, start: int) -> Filter:
    first = start + dice.choice((0, 1, HOUR, DAY, dice.randrange(3 * DAY)))
    width = dice.choice((1, 1000, HOUR, 5 * HOUR, DAY, 2 * DAY, 4 * DAY, dice.randrange(1, 3 * DAY)))
    wanted: dict[str, Any] = {}
    if dice.random() < 0.3:
        wanted["name"] = dice.choice(NAMED)
    if dice.random() < 0.2:
        wanted["registered"] = names.split(dice.choice(NAMES)).registered
    if dice.random() < 0.3:
        wanted["client"] = dice.choice(ASKED)
    for field, values in CHOICES.items():
        if dice.random() < 0.12:
            wanted[field] = tuple(dice.sample(values, dice.randint(1, len(values))))
    if dice.random() < 0.15:
        wanted["enforced"] = dice.random() < 0.5
    if dice.random() < 0.15:
        wanted["min_score"] = dice.randrange(9) / 8
    if dice.random() < 0.1:
        wanted["max_score"] = dice.randrange(9) / 8
    return Filter(first, first + width, **wanted)


def matches(where: Filter) -> Callable[[Record], bool]:
    def named(name: str) -> bool:
        if "*" in where.name:
            parts = (re.escape(part) for part in where.name.split("*"))
            return re.fullmatch(".*".join(parts), name, re.DOTALL) is not None
        if where.name.startswith(".") and where.name != ".":
            return names.is_under(name, where.name[1:])
        return name == where.name

    def asking(client: str) -> bool:
        if "/" not in where.client:
            return client == where.client
        try:
            return ipaddress.ip_address(client) in ipaddress.ip_network(where.client)
        except ValueError:
            return False

    def wanted(record: Record) -> bool:
        return (
            where.start <= record.time < where.end
            and (not where.name or named(record.qname))
            and where.registered in ("", record.registered)
            and (not where.client or asking(record.client))
            and all(not getattr(where, f) or getattr(record, f) in getattr(where, f) for f in CHOICES)
            and where.enforced in (None, record.enforced)
            and (where.min_score is None or record.score >= where.min_score)
            and (where.max_score is None or record.score <= where.max_score)
        )

    return wanted


def text(record: Record, field: str) -> str:
    value = getattr(record, field)
    return value if isinstance(value, str) else str(value).lower()


def searched(store: Store, where: Filter, limit: int) -> list[Record]:
    """All pages of a search."""
    page = store.search(where, limit)
    found = page.records
    while page.cursor is not None:
        page = store.search(where, limit, page.cursor)
        found += page.records
    return found


def counted(expected: list[Record], interval: int, by: tuple[str, ...]) -> dict[tuple[int, tuple[str, ...]], int]:
    cells: dict[tuple[int, tuple[str, ...]], int] = defaultdict(int)
    for record in expected:
        place = record.time - record.time % interval, tuple(text(record, field) for field in by)
        cells[place] += record.count
    return {place: count for place, count in cells.items() if count}


def ranked(expected: list[Record], by: str, clients: bool) -> dict[str, Top]:
    """The rows of a ranking by their key; without `clients` their number is left out."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in expected:
        groups[text(record, by)].append(record)
    return {
        key: Top(
            key, sum(record.count for record in group), len({record.client for record in group}) if clients else 0,
            max(record.score for record in group), max(record.generated for record in group),
            max(record.last for record in group), max((record.tier for record in group), key=TIERS.index),
            sum(record.count for record in group if record.enforced),
        )
        for key, group in groups.items()
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_an_answer_is_what_counting_the_rows_gives(store: Store, seed: int) -> None:
    dice = random.Random(seed)
    start = now() // DAY * DAY - 5 * DAY
    rows = rows_of(dice, start)
    everything: list[Record] = []
    for number, first in enumerate(range(0, ROWS, BATCH), 1):
        batch = records(rows[first : first + BATCH], number)
        assert store.append(batch) == []
        everything += batch
    settled(store)
    while seed and store.roll_up(now()):
        settled(store)
    for _ in range(QUESTIONS):
        where = question(dice, start)
        expected = [record for record in everything if matches(where)(record)]
        found = searched(store, where, dice.choice((7, 100)))
        assert sorted(found, key=ID) == sorted(expected, key=ID), where
        assert [record.time for record in found] == sorted((record.time for record in found), reverse=True)
        by = tuple(dice.sample(FIELDS, dice.randint(0, 3)))
        interval = dice.choice([width for width in INTERVALS if where.end - where.start < 100 * width])
        cells = {(cell.time, cell.keys): cell.count for cell in store.cube(where, interval, by)}
        assert cells == counted(expected, interval, by), (where, interval, by)
        field, order = dice.choice(FIELDS), dice.choice(("count", "clients", "score", "enforced"))
        exact = where.end - where.start <= 6 * HOUR  # over longer ranges SQLite counts clients by whole days
        tops = {top.key: top if exact else replace(top, clients=0) for top in store.top(where, field, 100, order)}
        assert tops == ranked(expected, field, exact), (where, field, order)
        asked = {key: top.count for key, top in ranked(expected, field, False).items() if top.count}
        assert store.frequent(where, field, 100) == asked, (where, field)
        domains = {key: top.count for key, top in ranked(expected, "registered", False).items() if top.count}
        assert store.domains(where, [record.registered for record in expected]) == domains, where
