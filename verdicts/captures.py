"""Queries recorded elsewhere: dnstap files (frame streams of protobuf) and captures (pcap, pcapng), plain or gzip.

`read_queries` reads client queries alone (opcode QUERY, class IN): of dnstap the CLIENT_QUERY messages, of a capture
the UDP datagrams to port 53 and the TCP segments that hold whole queries. `dnstap_events` reads what a client asked and
what it got. What is no DNS message is passed over; what is no such file is refused with `BadCapture`. Standard library
only.
"""

import gzip
import ipaddress
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol, cast

from verdicts import dnswire

MAX_FRAME = 1 << 20  # octets; a larger length is a damaged file, not a query
LATEST = 1 << 37  # Unix seconds; a later time is damage, and more than is told as a date
_CONTENT_TYPE = b"protobuf:dnstap.Dnstap"
_CONTROL_START = 2
DNSTAP_MAGIC = b"\0\0\0\0"  # the escape before a frame stream's START frame
_CLIENT_QUERY, _CLIENT_RESPONSE = 5, 6
_PCAP = {  # byte order and time units a second
    b"\xd4\xc3\xb2\xa1": ("<", 1e6),
    b"\xa1\xb2\xc3\xd4": (">", 1e6),
    b"\x4d\x3c\xb2\xa1": ("<", 1e9),
    b"\xa1\xb2\x3c\x4d": (">", 1e9),
}
_EXTENSIONS = (0, 43, 60)  # headers between IPv6 and what it carries: hop by hop, routing, destination
_PCAPNG = b"\x0a\x0d\x0d\x0a"


class BadCapture(ValueError):
    """A file that is neither dnstap nor a capture, or is damaged; the message names it."""


class NotACapture(BadCapture):
    """A file of another kind."""


class CutShort(BadCapture):
    """A file that ends inside a frame, as one does that is still being written."""


class Reads(Protocol):
    """The part of a file that a frame stream is read by."""

    def read(self, length: int, /) -> bytes: ...


class Event(NamedTuple):
    """A client's query, or the reply it got, as a server recorded it."""

    time: float  # Unix seconds
    client: str  # its address, "" where it was not recorded
    qname: str
    qtype: str
    reply: bool
    rcode: str = ""  # of a reply
    addresses: tuple[str, ...] = ()  # of a reply
    targets: tuple[str, ...] = ()  # alias targets of a reply
    server: str = ""  # what the server calls itself


class Recorded(NamedTuple):
    """One recorded query: Unix seconds, the client's address, the question."""

    time: float
    client: str
    qname: str
    qtype: str


def read_queries(path: Path) -> Iterator[Recorded]:
    """The client queries of a file, in its order."""
    with opened(path) as file:
        try:
            magic = file.read(4)
            if magic in _PCAP:
                source = _pcap(file, *_PCAP[magic])
            elif magic == _PCAPNG:
                source = _pcapng(file)
            elif magic == DNSTAP_MAGIC:
                source = _client_queries(file)
            else:
                raise NotACapture(f"{path}: expected a dnstap file (frame streams), pcap or pcapng")
            for time, client, message in source:
                try:
                    question = dnswire.parse_question(message)
                except dnswire.BadMessage:
                    continue
                if question.ordinary and not question.reply:
                    yield Recorded(time, client, question.qname, question.qtype)
        except NotACapture:
            raise
        except (struct.error, EOFError, zlib.error, gzip.BadGzipFile, BadCapture) as error:
            raise BadCapture(f"{path}: damaged near octet {file.tell()}: {error}") from error


Message = tuple[float, str, bytes]


def opened(path: Path) -> IO[bytes]:
    """A file, unpacked where its name ends in `.gz`."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _exactly(file: Reads, length: int) -> bytes:
    if not 0 <= length <= MAX_FRAME:
        raise BadCapture(f"a frame of {length} octets, expected 0 to {MAX_FRAME}")
    data = file.read(length)
    if len(data) != length:
        raise CutShort(f"{length} octets announced, {len(data)} there")
    return data


def dnstap_events(file: Reads) -> Iterator[Event | BadCapture]:
    """The client queries and replies of a dnstap file behind its magic; what is wrong with a message in its place.

    A CLIENT_RESPONSE gives one event, the reply, whether or not it holds the query too. Raises `BadCapture` where
    the frames themselves are damaged, which is where reading ends.
    """
    for server, message in _messages(file):
        try:
            event = _event(server, message)
            if event is not None and event.time > LATEST:
                raise BadCapture(f"time {event.time:.0f}, expected Unix seconds")
        except (dnswire.BadMessage, BadCapture) as error:
            yield BadCapture(str(error))
        else:
            if event is not None:
                yield event


def _event(server: str, message: dict[int, int | bytes]) -> Event | None:
    kind = message.get(1)
    if kind == _CLIENT_QUERY and 10 in message:
        asked = dnswire.parse_question(_octets(message[10]))
        return Event(_time(message, 8), _address(message), asked.qname, asked.qtype, False, server=server)
    if kind == _CLIENT_RESPONSE and 14 in message:
        found = dnswire.parse_answer(_octets(message[14]))
        time = _time(message, 12) or _time(message, 8)
        return Event(
            time, _address(message), found.qname, found.qtype, True, found.rcode, found.addresses, found.targets, server
        )
    return None


def _client_queries(file: Reads) -> Iterator[Message]:
    for _, message in _messages(file):
        if message.get(1) == _CLIENT_QUERY and 10 in message:
            yield _time(message, 8), _address(message) or "0.0.0.0", _octets(message[10])


def _messages(file: Reads) -> Iterator[tuple[str, dict[int, int | bytes]]]:
    """Server and message of frame streams: a START frame (its escape is read already), data frames, perhaps STOP."""
    control = _exactly(file, _length(file) or 0)
    if control[:4] != struct.pack("!I", _CONTROL_START) or _CONTENT_TYPE not in control:
        raise BadCapture(f"frame streams of another content, expected {_CONTENT_TYPE.decode()}")
    while (length := _length(file)) is not None:
        if length == 0:  # a control frame: STOP, after which nothing comes
            return
        frame = _fields(_exactly(file, length))
        yield _octets(frame.get(1)).decode("utf-8", "replace"), _fields(_octets(frame.get(14)))


def _time(message: dict[int, int | bytes], field: int) -> float:
    return _number(message.get(field)) + _number(message.get(field + 1)) / 1e9


def _address(message: dict[int, int | bytes]) -> str:
    address = _octets(message.get(4))
    return str(ipaddress.ip_address(address)) if len(address) in (4, 16) else ""


def _length(file: Reads) -> int | None:
    head = file.read(4)
    if not head:
        return None
    if len(head) < 4:
        raise CutShort("the file ends inside a length")
    return int.from_bytes(head, "big")


def _octets(value: int | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _number(value: int | bytes | None) -> int:
    return value if isinstance(value, int) else 0


def _fields(data: bytes) -> dict[int, int | bytes]:
    """A protobuf message by field number: the last value of each (dnstap repeats none that is read here)."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                found[tag >> 3], at = _varint(data, at)
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
                found[tag >> 3] = data[at : at + size]
            case 5:
                size = 4
                found[tag >> 3] = int.from_bytes(data[at : at + 4], "little")
            case kind:
                raise BadCapture(f"protobuf wire type {kind}")
        at += size
    if at != len(data):
        raise BadCapture("a protobuf message is cut")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise BadCapture("a protobuf number is cut")
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return value, at


def _pcap(file: IO[bytes], order: str, unit: float) -> Iterator[Message]:
    link = struct.unpack(order + "I", _exactly(file, 20)[16:])[0] & 0xFFFF
    while head := file.read(16):
        seconds, fraction, length, _ = struct.unpack(order + "4I", head)
        yield from _datagram(_exactly(file, length), link, seconds + fraction / unit)


def _pcapng(file: IO[bytes]) -> Iterator[Message]:
    order, links, units = "<", list[int](), list[float]()
    kind = int.from_bytes(_PCAPNG, "big")
    while True:
        length_octets = _exactly(file, 4)
        if kind == int.from_bytes(_PCAPNG, "big"):  # a section begins: its byte order stands after its length
            magic = _exactly(file, 4)
            order, links, units = "<" if magic == b"\x4d\x3c\x2b\x1a" else ">", [], []
            body = magic + _exactly(file, struct.unpack(order + "I", length_octets)[0] - 12)
        else:
            body = _exactly(file, struct.unpack(order + "I", length_octets)[0] - 8)
        if kind == 1:
            links.append(struct.unpack_from(order + "H", body)[0])
            units.append(_resolution(body[8:-4], order))
        elif kind == 6:
            interface, high, low, captured = struct.unpack_from(order + "4I", body)
            if interface >= len(links):
                raise BadCapture(f"a packet of interface {interface}, of which nothing was said")
            time = (high << 32 | low) / units[interface]
            yield from _datagram(body[20 : 20 + captured], links[interface], time)
        head = file.read(4)
        if not head:
            return
        kind = struct.unpack(order + "I", head)[0] if head != _PCAPNG else int.from_bytes(_PCAPNG, "big")


def _resolution(options: bytes, order: str) -> float:
    """Time units a second of an interface: option 9, a power of ten or (high bit) of two; microseconds if absent."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, at)
        if code == 9 and length == 1:
            value = options[at + 4]
            return float(2 ** (value & 127) if value & 128 else 10**value)
        at += 4 + (length + 3 & ~3)
    return 1e6


def _datagram(frame: bytes, link: int, time: float) -> Iterator[Message]:
    """The DNS messages of a packet to port 53, if it holds any; fragments and what TCP cut in two are passed over."""
    packet = _ip_packet(frame, link)
    if len(packet) < 28:
        return
    if packet[0] >> 4 == 4:
        at, protocol, source = (packet[0] & 15) * 4, packet[9], packet[12:16]
        if int.from_bytes(packet[6:8], "big") & 0x3FFF:  # more fragments, or not the first
            return
    elif packet[0] >> 4 == 6:
        at, protocol, source = 40, packet[6], packet[8:24]
        while protocol in _EXTENSIONS and at + 8 <= len(packet):
            protocol, at = packet[at], at + 8 * (packet[at + 1] + 1)
    else:
        return
    if packet[at + 2 : at + 4] != b"\0\x35":
        return
    client = str(ipaddress.ip_address(source))
    if protocol == 17:
        yield time, client, packet[at + 8 :]
    elif protocol == 6 and at + 13 <= len(packet):
        at += packet[at + 12] >> 4 << 2
        while at + 2 <= len(packet) and at + 2 + (size := int.from_bytes(packet[at : at + 2], "big")) <= len(packet):
            yield time, client, packet[at + 2 : at + 2 + size]
            at += 2 + size


def _ip_packet(frame: bytes, link: int) -> bytes:
    if link in (101, 12, 228, 229):  # raw IP
        return frame
    if link in (0, 108):  # loopback of BSD: address family
        return frame[4:]
    if link == 113:  # Linux "any", version 1
        return frame[16:] if frame[14:16] in (b"\x08\x00", b"\x86\xdd") else b""
    if link == 276:  # version 2
        return frame[20:] if frame[:2] in (b"\x08\x00", b"\x86\xdd") else b""
    if link != 1:
        raise BadCapture(f"link type {link}, expected Ethernet, raw IP, loopback or Linux cooked")
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):  # VLAN tags
        at += 4
    return frame[at + 2 :] if frame[at : at + 2] in (b"\x08\x00", b"\x86\xdd") else b""
