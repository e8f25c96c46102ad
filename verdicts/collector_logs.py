"""What DNS-collector writes to its log files: JSON lines (nested or flat) and text, a line an event.

Text is what its `text-format` names, in that order, parted by `text-format-delimiter`; a value that holds the delimiter
stands in `text-format-boundary`. Standard library and msgspec only.
"""

import csv
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from verdicts.captures import LATEST, Event

# DNS-collector's own default.
TEXT_FORMAT = "timestamp identity operation rcode queryip queryport family protocol length-unit qname qtype latency"
REPLIES = ("CLIENT_RESPONSE",)
QUERIES = ("CLIENT_QUERY",)
NEEDED = ("qname", "qtype", "operation")
_TIMES = ("timestamp", "timestamp-rfc3339ns", "timestamp-unixms", "timestamp-unixus", "timestamp-unixns")
_UNITS = {"timestamp-unixms": 1e3, "timestamp-unixus": 1e6, "timestamp-unixns": 1e9}
_ABSENT = ("-", "")

Read = Callable[[str], Event | None]  # None: an event of another kind than a client's query or reply


class BadLine(ValueError):
    """A line that is no event; the message says what was expected."""


def json_line(line: str) -> Event | None:
    """The event of a JSON line, nested or flat."""
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadLine(f"{error}, expected a JSON object") from None
    flat = "dnstap.operation" in found

    def text(part: str, key: str) -> str:
        value = found.get(f"{part}.{key}") if flat else _inside(found.get(part)).get(key)
        return "" if value in (None, "-") else str(value)

    addresses, targets = _flat_answers(found) if flat else _answers(_inside(found.get("dns")))
    return _event(
        text("dnstap", "operation"), text("dnstap", "timestamp-rfc3339ns"), "timestamp", text("network", "query-ip"),
        text("dns", "qname"), text("dns", "qtype"), text("dns", "rcode"), text("dnstap", "identity"),
        addresses, targets,
    )  # fmt: skip


def text_lines(form: str = TEXT_FORMAT, delimiter: str = " ", boundary: str = '"') -> Read:
    """How to read lines of a text format. Raises `ValueError` for one that lacks what an event needs."""
    fields = form.split()
    stamp = next((field for field in fields if field in _TIMES), None)
    missing = [field for field in NEEDED if field not in fields]
    if stamp is None or missing or len(delimiter) != 1 or len(boundary) != 1:
        raise ValueError(
            f"text format {form!r}: expected {', '.join(NEEDED)} and one of {', '.join(_TIMES)} among its directives,"
            " with a delimiter and a boundary of one character"
        )
    places = {field: place for place, field in enumerate(fields)}

    def read(line: str) -> Event | None:
        try:
            values = next(csv.reader([line], delimiter=delimiter, quotechar=boundary), [])
        except csv.Error as error:  # a name may hold any octet, such as the end of a line
            raise BadLine(str(error).partition(" - ")[0]) from None
        if len(values) != len(fields):
            raise BadLine(f"{len(values)} fields, expected the {len(fields)} of {form!r}")

        def value(field: str) -> str:
            found = values[places[field]] if field in places else ""
            return "" if found in _ABSENT else found

        answers = value("answer-ips") or value("answer-ip")
        return _event(
            value("operation"), value(stamp), stamp, value("queryip"), value("qname"), value("qtype"), value("rcode"),
            value("identity"), tuple(answers.split(",")) if answers else (), (),
        )  # fmt: skip

    return read


def _event(
    operation: str, time: str, unit: str, client: str, qname: str, qtype: str, rcode: str, server: str,
    addresses: tuple[str, ...], targets: tuple[str, ...],
) -> Event | None:  # fmt: skip
    if not operation or not qtype:
        raise BadLine("no operation or no qtype, expected an event of DNS-collector")
    if operation not in REPLIES + QUERIES:
        return None
    reply = operation in REPLIES
    return Event(
        _seconds(time, unit), _whole(client), qname or ".", _whole(qtype), reply, _whole(rcode) if reply else "",
        tuple(map(_whole, addresses)), targets, _whole(server),
    )  # fmt: skip


def _whole(text: str) -> str:
    """A text that stores take: octets that are no UTF-8 stand in it as escapes. (Those of names are told by DNS.)"""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _seconds(text: str, unit: str) -> float:
    try:
        if unit in _UNITS:
            return _plausible(int(text) / _UNITS[unit])
        head, dot, rest = text.partition(".")  # nanoseconds are more than `fromisoformat` takes
        digits = len(rest) - len(rest.lstrip("0123456789"))
        whole = datetime.fromisoformat(head + rest[digits:] if dot else text)
        if whole.tzinfo is None:  # whose local time it is, nobody says
            raise ValueError(text)
        return _plausible(whole.timestamp() + (float(f"0.{rest[:digits]}") if digits else 0.0))
    except (ValueError, OverflowError):
        raise BadLine(
            f"time {text[:40]!r}, expected {'a number' if unit in _UNITS else 'RFC 3339 with a zone'}"
        ) from None


def _plausible(seconds: float) -> float:
    if not 0 <= seconds <= LATEST:
        raise ValueError(f"{seconds}: expected 0 to {LATEST}")
    return seconds


def _answers(dns: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    records = _inside(dns.get("resource-records")).get("an")
    rows = [row for row in records if isinstance(row, dict)] if isinstance(records, list) else []
    return _sorted_out([(str(row.get("rdatatype")), str(row.get("rdata"))) for row in rows])


def _flat_answers(found: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kinds = str(found.get("dns.resource-records.an.rdatatypes", "-")).split("|")
    datas = str(found.get("dns.resource-records.an.rdatas", "-")).split("|")
    return _sorted_out(list(zip(kinds, datas, strict=False)))


def _sorted_out(rows: list[tuple[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    addresses = tuple(data for kind, data in rows if kind in ("A", "AAAA"))
    return addresses, tuple(data for kind, data in rows if kind == "CNAME")


def _inside(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
