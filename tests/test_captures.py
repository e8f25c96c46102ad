"""Recorded traffic: files written by dnstap's and gopacket's own code, and what damage does."""

import gzip
import ipaddress
import struct
from pathlib import Path

import dns.message
import dns.opcode
import pytest

from loadtest import traffic
from loadtest.traffic import replay
from verdicts.captures import BadCapture, Recorded, read_queries

DATA = Path(__file__).parent / "data"
FORMS = ("queries.dnstap", "queries.pcap", "queries.pcapng")


@pytest.mark.parametrize("form", FORMS)
def test_client_queries_are_read_and_nothing_else(form: str) -> None:
    assert list(read_queries(DATA / form)) == [
        Recorded(pytest.approx(1700000000.5), "192.0.2.1", "www.Example.org", "AAAA"),
        Recorded(pytest.approx(1700000002.0), "2001:db8::1", "a\\.b.\\255x.example.net", "HTTPS"),
    ]


def ethernet(packet: bytes, tags: bytes = b"") -> bytes:
    return bytes(12) + tags + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def ipv4(protocol: int, payload: bytes) -> bytes:
    return (
        struct.pack("!BBHIBBH4s4s", 0x45, 0, 20 + len(payload), 0, 64, protocol, 0, b"\xc0\0\2\1", bytes(4)) + payload
    )


def ipv6(following: int, payload: bytes) -> bytes:
    source = ipaddress.ip_address("2001:db8::1").packed
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 64) + source + bytes(16) + payload


def udp(message: bytes) -> bytes:
    return struct.pack("!4H", 4000, 53, 8 + len(message), 0) + message


def tcp(payload: bytes, words: int = 5) -> bytes:
    return struct.pack("!HHIIBBHI", 4000, 53, 1, 1, words << 4, 0x18, 0, 0) + bytes(4 * (words - 5)) + payload


def asked(qname: str, opcode: int = 0, group: int = 1) -> bytes:
    message = dns.message.make_query(qname, "A", group)
    message.set_opcode(dns.opcode.from_text(str(opcode)) if opcode else dns.opcode.QUERY)
    return message.to_wire()


def framed(message: bytes) -> bytes:
    return struct.pack("!H", len(message)) + message


@pytest.mark.parametrize(
    ("frame", "names"),
    [
        (ethernet(ipv4(17, udp(asked("a.org"))), b"\x81\0\0\5"), ["a.org"]),
        (ethernet(ipv4(17, udp(asked("a.org"))), b"\x88\xa8\0\5\x81\0\0\6"), ["a.org"]),
        (ethernet(ipv6(0, b"\x3c\0" + bytes(6) + b"\x11\1" + bytes(14) + udp(asked("a.org")))), ["a.org"]),
        (ethernet(ipv4(6, tcp(framed(asked("a.org")), words=8))), ["a.org"]),
        (ethernet(ipv4(6, tcp(framed(asked("a.org")) + framed(asked("b.org"))))), ["a.org", "b.org"]),
        (ethernet(ipv6(6, tcp(framed(asked("a.org"))))), ["a.org"]),
        (ethernet(ipv4(6, tcp(b""))) + bytes(6), []),
        (ethernet(ipv4(6, tcp(framed(asked("a.org"))[:-3]))), []),
        (ethernet(ipv4(17, udp(asked("version.bind", group=3)))), []),
        (ethernet(ipv4(17, udp(asked("zone.org", opcode=4)))), []),
        (ethernet(ipv4(17, udp(asked("zone.org", opcode=5)))), []),
    ],
    ids=["vlan", "two tags", "extensions", "tcp options", "two in one segment", "tcp6", "ack", "cut", "chaos", "notify",
         "update"],
)  # fmt: skip
def test_queries_are_found_as_networks_carry_them(frame: bytes, names: list[str], tmp_path: Path) -> None:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path = tmp_path / "made.pcap"
    path.write_bytes(head + struct.pack("<4I", 1, 0, len(frame), len(frame)) + frame)
    assert [found.qname for found in read_queries(path)] == names


def test_a_damaged_archive_is_refused_by_name(tmp_path: Path) -> None:
    packed = gzip.compress((DATA / "queries.pcap").read_bytes())
    for number, octets in enumerate((packed[:-9], packed[:30] + bytes(20) + packed[50:], b"no archive")):
        path = tmp_path / f"queries-{number}.pcap.gz"
        path.write_bytes(octets)
        with pytest.raises(BadCapture, match=path.name):
            list(read_queries(path))


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    packed = tmp_path / "queries.dnstap.gz"
    packed.write_bytes(gzip.compress((DATA / "queries.dnstap").read_bytes()))
    assert len(list(read_queries(packed))) == 2


def test_replay_keeps_the_distances_and_can_hurry() -> None:
    assert [q.time for q in replay(str(DATA / "queries.pcap"), speed=3)] == [0.0, pytest.approx(0.5)]


def test_a_time_that_was_not_recorded_or_runs_back_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Recorded(time, "192.0.2.1", "a.org", "A") for time in (0.0, 1700000000.0, 1700000001.0, 1699999999.0, 0.0)]
    monkeypatch.setattr(traffic, "read_queries", lambda path: iter(rows))
    assert [q.time for q in replay("recorded")] == [0.0, 0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cut", [13, 31])
def test_a_cut_file_is_refused_by_name(form: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / form
    path.write_bytes((DATA / form).read_bytes()[:-cut])
    with pytest.raises(BadCapture, match=form):
        list(read_queries(path))


@pytest.mark.parametrize("form", FORMS)
def test_no_damage_ends_in_anything_but_a_refusal(form: str, tmp_path: Path) -> None:
    whole = (DATA / form).read_bytes()
    path = tmp_path / form
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            list(read_queries(path))
        except BadCapture:
            pass


def test_a_huge_length_is_damage_not_a_buffer(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes((DATA / "queries.dnstap").read_bytes()[:42] + struct.pack("!I", 2**31))
    with pytest.raises(BadCapture, match="2147483648 octets"):
        list(read_queries(path))


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("example.org\n")
    with pytest.raises(BadCapture, match="names.txt: expected a dnstap file"):
        list(read_queries(path))
