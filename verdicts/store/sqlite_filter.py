"""A `Filter` as SQL conditions, and which roll-up can answer it."""

import functools
import ipaddress
import sqlite3
from typing import Any, NamedTuple

import msgspec

from verdicts import names
from verdicts.store import Filter
from verdicts.store.sqlite_log import CLASSES
from verdicts.store.sqlite_schema import told_of

LIKELY = 0.5  # the partial index `records_likely` begins here

KEY_FILTERS = ("name", "registered", "client")  # the filter of each of KEYS
_DIMENSIONS = ("resolver", "qtype", "label", "tier", "action", "source", "rcode", "model", "reason")

_numbers = msgspec.json.Decoder(list[int])


class Where(NamedTuple):
    """Conditions on a table `r`; `selective` when one of them names a qname, registered domain or client."""

    sql: str
    values: tuple[Any, ...]
    selective: bool

    def also(self, sql: str, *values: Any, selective: bool = False) -> "Where":
        return Where(f"{self.sql} AND {sql}", self.values + values, self.selective or selective)

    def also_dims(self, dims: list[int]) -> "Where":
        # The plus keeps the planner from walking the index (dim, time) where a better one serves.
        return self.also(f"{'+' if self.selective else ''}r.dim IN ({', '.join(map(str, dims))})")


def where_of(where: Filter) -> Where:
    """The conditions on time, name, client and score; those on dimensions are `dimensions`."""
    found = Where("r.time >= ? AND r.time < ?", (where.start, where.end), False)
    if where.name:
        found = _name(found, where.name)
    if where.registered:
        found = found.also("r.registered = ?", where.registered, selective=True)
    if where.client:
        found = _client(found, where.client)
    if where.min_score is not None:
        found = found.also("r.score >= ?", where.min_score)
        if where.min_score >= LIKELY:
            found = found.also(f"r.score >= {LIKELY}")
    if where.max_score is not None:
        found = found.also("r.score <= ?", where.max_score)
    return found


def _name(found: Where, name: str) -> Where:
    if "*" in name:
        pattern = "".join(f"[{c}]" if c in "[?" else c for c in name)
        return found.also("r.qname GLOB ?", pattern)
    if not name.startswith("."):
        return found.also("r.qname = ?", name, selective=True)
    zone = name[1:]
    found = found.also("(r.qname = ? OR substr(r.qname, ?) = ?)", zone, -len(name), name)
    if names.is_public_suffix(zone):
        return found
    return found.also("r.registered = ?", names.split(zone).registered, selective=True)


def _client(found: Where, client: str) -> Where:
    if "/" not in client:
        return found.also("r.client = ?", client, selective=True)
    network = ipaddress.ip_network(client, strict=False)
    low, high = str(network.network_address), str(network.broadcast_address)
    common = low[: next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))]
    # Which zeros an address leaves out, others further behind decide.
    common = common.partition("::")[0]
    if common:  # a range of the index; the function below settles the rest
        found = found.also("r.client >= ? AND r.client < ?", common, common[:-1] + chr(ord(common[-1]) + 1))
    return found.also("in_network(r.client, ?)", str(network), selective=bool(common))


@functools.lru_cache(100_000)  # asked for each row, and to read an address takes longer than all else of it
def in_network(client: str, network: str) -> bool:
    """True when the client is an address of the network; a hashed client is in none."""
    try:
        return ipaddress.ip_address(client) in ipaddress.ip_network(network)
    except ValueError:
        return False


def dimensions(reader: sqlite3.Connection, where: Filter) -> list[int] | None:
    """The dimension numbers that match, or None when the filter does not speak of dimensions."""
    conditions: list[str] = []
    values: list[Any] = []
    for field in _DIMENSIONS:
        wanted = getattr(where, field)
        if wanted:
            conditions.append(f"{field} IN ({', '.join('?' * len(wanted))})")
            values += wanted
    if where.enforced is not None:
        conditions.append("enforced = ?")
        values.append(int(where.enforced))
    if not conditions:
        return None
    with told_of(reader):  # as one value: there may be many
        [(found,)] = reader.execute(f"SELECT json_group_array(id) FROM dims WHERE {' AND '.join(conditions)}", values)
    return _numbers.decode(found)


def only_dimensions(where: Filter) -> bool:
    """True when the roll-ups by dimension can answer."""
    return not (where.name or where.registered or where.client) and where.min_score is where.max_score is None


class Keyed(NamedTuple):
    """One key of a roll-up by key, and the classes wanted of it."""

    field: int  # index in KEYS
    key: str
    classes: list[int]


def exact_keys(where: Filter) -> list[tuple[int, str]]:
    """Index in KEYS and value of each name, domain and client that a filter wants exactly."""
    client = where.client if "/" not in where.client else ""
    name = "" if where.name.startswith(".") or "*" in where.name else where.name
    return [(field, key) for field, key in enumerate((name, where.registered, client)) if key]


def one_key(where: Filter) -> Keyed | None:
    """What a filter wants when, beside tier and label, it speaks of one name, domain or client alone; else None."""
    given = exact_keys(where)
    classes = key_filter_classes(msgspec.structs.replace(where, **{KEY_FILTERS[field]: "" for field, _ in given}))
    return Keyed(*given[0], classes) if len(given) == 1 and classes is not None else None


def key_filter_classes(where: Filter) -> list[int] | None:
    """The classes a filter wants when it speaks of tier and label alone (roll-ups by key can answer), else None."""
    others = [getattr(where, field) for field in _DIMENSIONS if field not in ("tier", "label")]
    if not only_dimensions(where) or any(others) or where.enforced is not None:
        return None
    return [
        number
        for number, (label, tier) in enumerate(CLASSES)
        if (not where.label or label in where.label) and (not where.tier or tier in where.tier)
    ]
