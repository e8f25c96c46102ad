"""Recorded traffic: files written by dnstap's and gopacket's own code, and what damage does."""

import gzip
import struct
from pathlib import Path

import pytest

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


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    packed = tmp_path / "queries.dnstap.gz"
    packed.write_bytes(gzip.compress((DATA / "queries.dnstap").read_bytes()))
    assert len(list(read_queries(packed))) == 2


def test_replay_keeps_the_distances_and_can_hurry() -> None:
    assert [q.time for q in replay(str(DATA / "queries.pcap"), speed=3)] == [0.0, pytest.approx(0.5)]


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
