"""Logs from before Verdict: every form read, every event stored once however often its file comes."""

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import dns.message
import dns.rrset
import msgspec
import pytest

from tests.stores import settled
from verdicts.captures import Event
from verdicts.collector_logs import BadLine, json_line, text_lines
from verdicts.drain import promise_of
from verdicts.history import MODE, BadHistory, Done, Source, Survey, batches, plan, survey
from verdicts.policy import Policy, Thresholds, Verdict, decide
from verdicts.records import Record, records_of
from verdicts.store import Filter, Store

AT = int(datetime.now(UTC).timestamp() * 1000) // 1000 * 1000 - 86_400_000


def judge(names: Sequence[str]) -> tuple[list[Verdict], str]:
    """Every name with a q in it is generated."""
    limits = Thresholds(block=0.9)
    return [decide(Policy(), limits, None, None, 0.95 if "q" in name else 0.1, 0.2) for name in names], "m1"


def stamp(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z"


def line(qname: str = "www.example.net", at: int = AT, operation: str = "CLIENT_RESPONSE", **more: str) -> str:
    """A line as DNS-collector's JSON mode writes it."""
    answers = [{"rdatatype": "CNAME", "rdata": "t.example.net"}, {"rdatatype": "A", "rdata": "198.51.100.7"}]
    return json.dumps({
        "network": {"query-ip": more.get("client", "192.0.2.7"), "query-port": "5353"},
        "dns": {
            "qname": qname, "qtype": more.get("qtype", "A"), "rcode": "NOERROR", "resource-records": {"an": answers},
        },
        "dnstap": {"operation": operation, "identity": more.get("server", "ns1"), "timestamp-rfc3339ns": stamp(at)},
    }) + "\n"  # fmt: skip


def put(store: Store, path: Path, known: dict[str, Done], batches_until: int | None = None) -> Survey:
    """Import a file as `verdict store import` does, without its model, or so many batches of it until it crashes."""
    source = Source(path)
    found = survey(source, known)
    last = plan(found).number
    for batch in islice(batches(source, found, "", judge), batches_until):
        store.append(list(records_of(batch)), [promise_of(batch, AT)])
        last = batch.batch
    boot, ends, _, _ = plan(found)
    known[boot] = Done(
        found.name, source.form, "", found.replies, found.size, found.digest, ends, "whole", "m1",
        last if batches_until is None else 0, batches_until is None,
    )  # fmt: skip
    settled(store)
    return found


def stored(store: Store) -> list[Record]:
    return store.search(Filter(AT - 86_400_000, AT + 86_400_000), 1000).records


def test_a_reply_becomes_a_judged_record_that_says_it_was_imported(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(line("QX.Example.net.") + line("qx.example.net") + line("www.example.net", server="ns2"))
    put(store, path, {})
    other, bad = sorted(stored(store), key=lambda record: record.count)
    assert (bad.qname, bad.count, bad.resolver, bad.mode, bad.tier) == ("qx.example.net", 2, "ns1", MODE, "block")
    assert (bad.action, bad.enforced, bad.model, bad.rcode) == ("passthru", False, "m1", "NOERROR")
    assert (bad.addresses, bad.targets) == (["198.51.100.7"], ["t.example.net"])
    assert (bad.time, bad.client, other.resolver) == (AT, "192.0.2.7", "ns2")
    assert {state.missing for state in store.reconcile(AT - 1000, AT + 1000)} == {0}


def test_a_file_that_comes_again_adds_nothing(store: Store, tmp_path: Path) -> None:
    path, known = tmp_path / "log.json", dict[str, Done]()
    path.write_text("".join(line(f"{i}.example.net") for i in range(20)))
    put(store, path, known)
    packed = tmp_path / "log.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert put(store, packed, known).prior is not None
    put(store, path, {})  # as after a crash before the import was noted
    assert len(stored(store)) == 20


def test_a_file_that_grew_adds_what_is_new(store: Store, tmp_path: Path) -> None:
    path, known = tmp_path / "log.json", dict[str, Done]()
    path.write_text(line("a.example.net") * 3)
    put(store, path, known)
    with path.open("a") as file:
        file.write(line("a.example.net") * 2 + line("b.example.net") + line("cut off")[:40])
    found = put(store, path, known)
    assert found.cut == "line 7: ends without an end of line"
    assert sorted((record.qname, record.count) for record in stored(store)) == [
        ("a.example.net", 2), ("a.example.net", 3), ("b.example.net", 1)
    ]  # fmt: skip
    [done] = known.values()
    assert (done.ends, done.batches) == ([3, 6], 2)


def test_an_import_that_crashed_and_whose_file_grew_is_completed_first(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(line("a.example.net") * 3)
    begun: dict[str, Done] = {}
    put(store, path, begun)
    [(boot, done)] = begun.items()
    with path.open("a") as file:
        file.write(line("a.example.net") * 2)
    put(store, path, {boot: msgspec.structs.replace(done, complete=False, batches=0)})
    assert sorted(record.count for record in stored(store)) == [2, 3]


def test_an_import_that_crashed_and_whose_file_was_renamed_stores_no_event_twice(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As log rotation does; the events name no resolver, so that the file's first name is theirs."""
    monkeypatch.setattr("verdicts.history.BATCH_EVENTS", 3)
    path, known = tmp_path / "dns.log", dict[str, Done]()
    path.write_text("".join(line(f"{i}.example.net", server="-") for i in range(8)))
    put(store, path, known, batches_until=1)
    for name in ("dns-1.log", "dns-2.log"):  # the second comes as one that grew
        path = path.rename(tmp_path / name)
        put(store, path, known, batches_until=2)
        with path.open("a") as file:
            file.write(line(f"{name}.example.net", server="-"))
    put(store, path.rename(tmp_path / "dns-3.log"), known)
    found = stored(store)
    assert len(found) == 10 and {(record.resolver, record.count) for record in found} == {("dns", 1)}


def test_replies_count_and_not_their_queries_too(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(line(operation="CLIENT_QUERY") + line() + line(operation="RESOLVER_RESPONSE"))
    found = survey(Source(path), {})
    assert (found.events, found.replies, found.others, found.left_out) == (1, True, 1, 0)
    path.write_text(line(operation="CLIENT_QUERY"))
    assert survey(Source(path), {}).events == 1


def test_a_line_that_is_no_event_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(line() + "{oops\n" + line().replace('"qtype": "A", ', "") + line())
    found = survey(Source(path), {})
    assert [leftover.place for leftover in found.leftovers] == ["line 2", "line 3"] and found.events == 2


def test_a_file_that_comes_again_adds_nothing_though_more_is_read_in_it_now(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\ufeff" + line() + line(at=AT + 1000), encoding="utf-8")
    found = survey(Source(tmp_path / "log"), {})
    before = Done(found.name, "json", "", True, found.size, found.digest, [1], "whole", "m1", 1, True)
    again = survey(Source(tmp_path / "log"), {found.digest[:32]: before})
    assert (again.events, list(batches(Source(tmp_path / "log"), again, "", judge))) == (2, [])


@pytest.mark.parametrize(
    "text",
    [line(), f"{stamp(AT)} ns1 CLIENT_RESPONSE NOERROR 192.0.2.7 5353 IPv4 UDP 33b a.org A 0.1\n"],
    ids=["json", "text"],
)
def test_the_mark_of_an_encoding_costs_no_event(text: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\ufeff" + text, encoding="utf-8")
    found = survey(Source(tmp_path / "log"), {})
    assert (found.events, found.left_out, found.size) == (1, 0, (tmp_path / "log").stat().st_size)


def test_octets_that_are_no_text_cost_a_line_at_most(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(
        (line("a.net") + line("b@.net").replace("@", "\udcff") + line("c.net")).encode("utf-8", "surrogateescape")
    )
    assert put(store, path, {}).left_out == 1 and {record.qname for record in stored(store)} == {"a.net", "c.net"}
    path = tmp_path / "log.txt"
    form = "{} {} CLIENT_RESPONSE NOERROR {} 53 IPv4 UDP 9b {} A 0.1\n"
    rows = form.format(stamp(AT), "dns\udcfe", "192.0.2.1", "d.net") + form.format(stamp(AT), "s", "x\udcfe", "e.net")
    path.write_bytes(rows.encode("utf-8", "surrogateescape"))
    put(store, path, {})
    found = {record.qname: record for record in stored(store)}
    assert found["d.net"].resolver == "dns\\xfe" and found["e.net"].client == "x\\xfe"


def test_a_name_that_is_none_is_kept_as_it_came(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(line("a..b") + line("<script>.example.net") + line("x" * 70 + ".net"))
    put(store, path, {})
    assert {record.qname for record in stored(store)} == {
        "a..b", "\\060script\\062.example.net", "x" * 70 + ".net"
    }  # fmt: skip


def test_types_that_nobody_assigned_are_held_as_one_whichever_form_the_log_has(store: Store, tmp_path: Path) -> None:
    collected, taped = tmp_path / "log.json", tmp_path / "log.dnstap"
    collected.write_text(
        "".join(line(qtype=qtype) for qtype in ("TYPE4711", "TYPE4712", "UNKNOWN", "TYPE262", "TXT", "TSLA"))
    )
    asked = [dns.message.make_query("www.example.net", qtype) for qtype in ("TYPE4713", "TYPE4714", "HINFO")]
    replies = [dns.message.make_response(query).to_wire() for query in asked]
    taped.write_bytes(dnstap(*(frame(b"ns1", 6, b"\xc0\0\2\7", AT, reply) for reply in replies)))
    put(store, collected, {})
    put(store, taped, {})
    assert Counter(record.qtype for record in stored(store)) == {
        "other": 5,
        "TYPE262": 1,
        "TXT": 1,
        "TLSA": 1,
        "HINFO": 1,
    }


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(BadHistory, match="log: empty, expected one of the forms dnstap, json, text"):
        Source(tmp_path / "log")


# The forms


def test_a_dnstap_file_gives_replies_with_their_rcodes_and_addresses(tmp_path: Path) -> None:
    reply = dns.message.make_response(dns.message.make_query("www.example.net", "A"))
    reply.answer = [
        dns.rrset.from_text("www.example.net.", 60, "IN", "CNAME", "t.example.net."),
        dns.rrset.from_text("t.example.net.", 60, "IN", "A", "198.51.100.7"),
    ]
    path = tmp_path / "log.dnstap"
    path.write_bytes(dnstap(frame(b"ns1", 6, b"\xc0\0\2\7", AT, reply.to_wire())))
    source = Source(path)
    assert source.form == "dnstap"
    [event] = source.reading()
    assert isinstance(event, Event) and event[1:] == (
        "192.0.2.7", "www.example.net", "A", True, "NOERROR", ("198.51.100.7",), ("t.example.net",),
        "ns1",
    )  # fmt: skip


def test_a_dnstap_file_that_is_cut_or_damaged_gives_what_came_before(tmp_path: Path) -> None:
    reply = dns.message.make_response(dns.message.make_query("www.example.net", "A")).to_wire()
    one = frame(b"ns1", 6, b"\xc0\0\2\7", AT, reply)
    path = tmp_path / "log.dnstap"
    path.write_bytes(dnstap(one, one)[:-20])
    found = survey(Source(path), {})
    assert found.events == 1 and "ends inside a frame" in found.cut
    path.write_bytes(dnstap(one) + b"\xff\xff\xff\xff")
    assert "damaged, and not read further" in survey(Source(path), {}).cut


def test_a_time_that_no_clock_shows_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    reply = dns.message.make_response(dns.message.make_query("www.example.net", "A")).to_wire()
    path = tmp_path / "log.dnstap"
    frames = [frame(b"ns1", 6, b"\xc0\0\2\7", at, reply) for at in (1000 << 60, AT)]
    path.write_bytes(dnstap(*frames))
    found = survey(Source(path), {})
    assert found.events == 1 and "expected Unix seconds" in found.leftovers[0].reason
    read = text_lines("timestamp-unixms operation queryip qname qtype")
    for time in ("9" * 30, "9" * 400, "-5"):
        with pytest.raises(BadLine, match="expected a number"):
            read(f"{time} CLIENT_QUERY 192.0.2.7 a.org A")


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00.5", "2026-01-01T00:00:00", "2026-01-01", "2026-W01-1"])
def test_a_time_without_a_zone_is_no_event(time: str) -> None:
    """It would be taken for the local time of the machine that imports."""
    read = text_lines("timestamp operation queryip qname qtype")
    with pytest.raises(BadLine, match=f"time '{time}', expected RFC 3339 with a zone"):
        read(f"{time} CLIENT_QUERY 192.0.2.7 a.org A")
    event = read("2026-01-01T01:00:00.5+01:00 CLIENT_QUERY 192.0.2.7 a.org A")
    assert event is not None and event.time == 1767225600.5


@pytest.mark.parametrize("name", ["b\r.example.net", '"' + "x" * 140_000])
def test_a_name_that_breaks_its_line_costs_that_line_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "log.txt"
    lines = [
        f"{stamp(AT)} ns1 CLIENT_RESPONSE NOERROR 192.0.2.7 53 IPv4 UDP 43b {qname} A 0.01\n"
        for qname in ("a.example.net", name, "c.example.net")
    ]
    path.write_text("".join(lines), newline="")
    found = survey(Source(path), {})
    assert found.events == 2 and [leftover.place for leftover in found.leftovers] == ["line 2"]


def test_an_archive_that_no_longer_unpacks_is_refused_by_name(tmp_path: Path) -> None:
    stored = bytearray(gzip.compress(line().encode() * 2000, 0))  # in blocks as they are
    for at in (13, 15 + int.from_bytes(stored[11:13], "little") + 3):  # the complement of the length of one
        spoiled = bytearray(stored)
        spoiled[at] ^= 1
        (tmp_path / "log.json.gz").write_bytes(spoiled)
        with pytest.raises(BadHistory, match=r"log\.json\.gz: .*invalid stored block"):
            survey(Source(tmp_path / "log.json.gz"), {})


def test_the_text_form_is_read_by_its_directives() -> None:
    read = text_lines()
    said = f'{stamp(AT)} ns1 CLIENT_RESPONSE NXDOMAIN 2001:db8::7 53 IPv6 UDP 43b "a b.example.net" AAAA 0.01'
    event = read(said)
    assert event is not None and event[1:6] == ("2001:db8::7", "a b.example.net", "AAAA", True, "NXDOMAIN")
    assert int(event.time * 1000) == AT
    short = text_lines("timestamp-unixms operation queryip qname qtype answer-ips", ";")
    event = short(f"{AT};CLIENT_RESPONSE;192.0.2.7;example.net;A;198.51.100.7,198.51.100.8")
    assert event is not None and event.addresses == ("198.51.100.7", "198.51.100.8")
    with pytest.raises(BadLine, match="3 fields, expected the 6"):
        short("1;2;3")
    with pytest.raises(ValueError, match="expected qname, qtype, operation and one of timestamp"):
        text_lines("qname qtype")


def test_flat_json_is_read_as_nested_json_is() -> None:
    flat = json.dumps({
        "dnstap.operation": "CLIENT_RESPONSE", "dnstap.identity": "ns1", "dnstap.timestamp-rfc3339ns": stamp(AT),
        "network.query-ip": "192.0.2.7", "dns.qname": "www.example.net", "dns.qtype": "A", "dns.rcode": "NOERROR",
        "dns.resource-records.an.rdatatypes": "CNAME|A", "dns.resource-records.an.rdatas": "t.example.net|198.51.100.7",
    })  # fmt: skip
    assert json_line(flat) == json_line(line())


def field(number: int, value: bytes | int) -> bytes:
    """A protobuf field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def frame(identity: bytes, kind: int, client: bytes, at: int, message: bytes) -> bytes:
    inner = field(1, kind) + field(4, client) + field(12, at // 1000) + field(14, message)
    return field(1, identity) + field(14, inner) + field(15, 1)


def dnstap(*frames: bytes) -> bytes:
    """A file of frame streams without its STOP frame."""
    content = b"protobuf:dnstap.Dnstap"
    start = (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + len(content).to_bytes(4, "big") + content
    data = b"".join(len(one).to_bytes(4, "big") + one for one in frames)
    return b"\0\0\0\0" + len(start).to_bytes(4, "big") + start + data
