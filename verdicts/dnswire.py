"""The little of the DNS message format that recorded traffic and load drivers need: ask, and read what comes back.

Names are in presentation form without the final dot, as `verdicts.names` writes them (`\\\\DDD` escapes); a driver
sends millions, so this is written for speed. Standard library only.
"""

import ipaddress
import struct
from typing import NamedTuple

QTYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "NAPTR": 35,
    "DS": 43, "DNSKEY": 48, "SVCB": 64, "HTTPS": 65, "ANY": 255, "CAA": 257,
}  # fmt: skip
_QTYPE_NAMES = {number: name for name, number in QTYPES.items()}
RCODES = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE",
)  # fmt: skip
_OPT, _EDE = 41, 15
_A, _CNAME, _AAAA = 1, 5, 28
_EDNS = struct.pack("!BHHIH", 0, _OPT, 1232, 0, 0)  # root, type, payload size, flags, no options
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class BadMessage(ValueError):
    """Octets that are no DNS message; says where."""


class Reply(NamedTuple):
    """What a driver judges of a reply. `ede` holds the Extended DNS Error codes (RFC 8914)."""

    id: int
    rcode: str
    truncated: bool
    answers: int
    ede: tuple[int, ...]


class Answer(NamedTuple):
    """What a client got: the question of a reply, its rcode, the addresses and alias targets of its answer section."""

    qname: str
    qtype: str
    rcode: str
    addresses: tuple[str, ...]
    targets: tuple[str, ...]


class Question(NamedTuple):
    id: int
    qname: str
    qtype: str
    reply: bool
    ordinary: bool  # opcode QUERY and class IN: no update, no notice, no server's version


def query(number: int, qname: str, qtype: str, edns: bool = True) -> bytes:
    """A query with recursion desired, with EDNS (payload 1,232) unless told otherwise."""
    head = struct.pack("!HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 1 if edns else 0)
    return head + encode_name(qname) + struct.pack("!HH", qtype_number(qtype), 1) + (_EDNS if edns else b"")


def qtype_number(qtype: str) -> int:
    """The number of a type by name; `TYPE123` for those without one here (RFC 3597)."""
    if qtype in QTYPES:
        return QTYPES[qtype]
    if qtype.startswith("TYPE") and qtype[4:].isdigit():
        return int(qtype[4:])
    raise BadMessage(f"qtype {qtype!r}: expected one of {', '.join(QTYPES)} or TYPEnnn")


def encode_name(qname: str) -> bytes:
    """A name on the wire; raises `BadMessage` for an empty or overlong label or a cut escape."""
    labels = qname.encode("latin-1").split(b".") if "\\" not in qname else _unescaped(qname)
    if labels in ([b""], [b"", b""]):
        return b"\0"
    if labels[-1] == b"":
        labels.pop()
    if not all(0 < len(label) < 64 for label in labels):
        raise BadMessage(f"name {qname[:80]!r}: expected labels of 1 to 63 octets")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def parse_question(message: bytes) -> Question:
    """The first question of a message."""
    number, flags, questions = _header(message)[:3]
    if questions == 0:
        raise BadMessage("no question")
    labels, end = _labels(message, 12)
    qtype, group = struct.unpack("!HH", _slice(message, end, 4))
    ordinary = not flags & 0x7800 and group == 1
    return Question(number, _text(labels), _QTYPE_NAMES.get(qtype, f"TYPE{qtype}"), bool(flags & 0x8000), ordinary)


def parse_answer(message: bytes) -> Answer:
    """The question and the answer section of a reply; records of the class IN alone."""
    asked = parse_question(message)
    if not asked.reply:
        raise BadMessage("a query where a reply was expected")
    _, flags, questions, answers, _, _ = _header(message)
    addresses: list[str] = []
    targets: list[str] = []
    at = 12
    for _ in range(questions):
        at = _skip_name(message, at) + 4
    for _ in range(answers):
        start = _skip_name(message, at)
        kind, group, _, length = struct.unpack("!HHIH", _slice(message, start, 10))
        data = _slice(message, start + 10, length)
        if group == 1 and (kind, length) in ((_A, 4), (_AAAA, 16)):
            addresses.append(str(ipaddress.ip_address(data)))
        elif group == 1 and kind == _CNAME:
            targets.append(_text(_compressed(message, start + 10)))
        at = start + 10 + length
    return Answer(asked.qname, asked.qtype, _rcode(flags & 15), tuple(addresses), tuple(targets))


def parse_reply(message: bytes) -> Reply:
    """A reply's header, number of answer records and Extended DNS Errors."""
    number, flags, questions, answers, authority, additional = _header(message)
    if not flags & 0x8000:
        raise BadMessage("a query where a reply was expected")
    at, ede = 12, []
    for _ in range(questions):
        at = _skip_name(message, at) + 4
    for _ in range(answers + authority):
        at = _skip_record(message, at)
    extended = 0
    for _ in range(additional):
        start = _skip_name(message, at)
        at = _skip_record(message, at)
        if int.from_bytes(message[start : start + 2], "big") == _OPT:
            extended = message[start + 4]
            ede += _extended_errors(message[start + 10 : at])
    code = (extended << 4) | (flags & 15)
    return Reply(number, _rcode(code), bool(flags & 0x200), answers, tuple(ede))


def _rcode(code: int) -> str:
    return RCODES[code] if code < len(RCODES) else str(code)


def _extended_errors(options: bytes) -> list[int]:
    found, at = [], 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from("!HH", options, at)
        if code == _EDE and length >= 2:
            found.append(int.from_bytes(options[at + 4 : at + 6], "big"))
        at += 4 + length
    return found


def _header(message: bytes) -> tuple[int, int, int, int, int, int]:
    fields: tuple[int, int, int, int, int, int] = struct.unpack("!6H", _slice(message, 0, 12))
    return fields


def _slice(message: bytes, at: int, length: int) -> bytes:
    if at + length > len(message):
        raise BadMessage(f"message of {len(message)} octets ends before octet {at + length}")
    return message[at : at + length]


def _skip_name(message: bytes, at: int) -> int:
    while True:
        length = _slice(message, at, 1)[0]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        at += 1 + length


def _skip_record(message: bytes, at: int) -> int:
    at = _skip_name(message, at)
    return at + 10 + int.from_bytes(_slice(message, at + 8, 2), "big")


def _labels(message: bytes, at: int) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    while length := _slice(message, at, 1)[0]:
        if length > 63:
            raise BadMessage("a compressed name in a question")
        found.append(_slice(message, at + 1, length))
        at += 1 + length
    return found, at + 1


def _compressed(message: bytes, at: int) -> list[bytes]:
    """The labels of a name that may point back, which each pointer must (RFC 1035 section 4.1.4)."""
    found: list[bytes] = []
    before = at
    while length := _slice(message, at, 1)[0]:
        if length >= 0xC0:
            at = int.from_bytes(_slice(message, at, 2), "big") & 0x3FFF
            if at >= before:
                raise BadMessage(f"a name that points forward, to octet {at}")
            before = at
            continue
        if length > 63:
            raise BadMessage(f"a label of type {length >> 6}")
        found.append(_slice(message, at + 1, length))
        at += 1 + length
    return found


def _text(labels: list[bytes]) -> str:
    if not labels:
        return "."
    plain = "".join
    return ".".join(
        plain(chr(o) if o in _PLAIN else "\\" + chr(o) if o in b".\\" else f"\\{o:03d}" for o in label)
        for label in labels
    )


def _unescaped(qname: str) -> list[bytes]:
    labels, label, at = [], bytearray(), 0
    raw = qname.encode("latin-1")
    while at < len(raw):
        octet = raw[at]
        if octet == 0x5C:
            digits = raw[at + 1 : at + 4]
            escaped = len(digits) == 3 and digits.isdigit() and int(digits) < 256
            if not digits or digits[:1].isdigit() and not escaped:
                raise BadMessage(f"name {qname[:80]!r}: cut or bad escape")
            label.append(int(digits) if escaped else digits[0])
            at += 4 if escaped else 2
            continue
        if octet == 0x2E:
            labels.append(bytes(label))
            label.clear()
        else:
            label.append(octet)
        at += 1
    return [*labels, bytes(label)]
