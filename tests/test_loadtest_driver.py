"""The DNS driver accounts for every query, against a resolver of the test's own (dnspython messages, real sockets)."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.edns
import dns.message
import dns.rcode
import pytest

from loadtest import dns_load
from loadtest.driver import Driver, NotLoopback, Outcome, Tally, server_address, source_address
from loadtest.judging import Expectation, problem
from loadtest.traffic import Query
from verdicts.dnswire import Reply

Behaviour = Callable[[dns.message.Message, str], list[bytes]]


class Resolver:
    """Answers each datagram with what `behaviour` returns for the query and its source address."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.socket.getsockname()
        self.behaviour: Behaviour = lambda query, _: [dns.message.make_response(query).to_wire()]
        self.sources: list[str] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                data, source = self.socket.recvfrom(4096)
            except OSError:
                return
            if not data:
                return
            self.sources.append(source[0])
            for reply in self.behaviour(dns.message.from_wire(data), source[0]):
                self.socket.sendto(reply, source)


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    made = Resolver()
    yield made
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"", made.address)
    made.thread.join()
    made.socket.close()


def asked(count: int, gap: float = 0.0005) -> list[Query]:
    return [Query(i * gap, f"10.0.0.{i % 5}", f"n{i}.example.org", "A", "benign") for i in range(count)]


def rcode(query: dns.message.Message, code: str) -> bytes:
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.from_text(code))
    return reply.to_wire()


def block(query: dns.message.Message) -> bytes:
    reply = dns.message.make_response(query)
    reply.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode.BLOCKED)])
    reply.set_rcode(dns.rcode.NXDOMAIN)
    return reply.to_wire()


def test_every_query_is_answered_and_counted(resolver: Resolver) -> None:
    tally = Driver(resolver.address, timeout=10).run(asked(200))  # more may not fit into the buffer of one who sleeps
    assert (tally.sent, tally.answered, tally.failed, len(tally.latencies)) == (200, 200, 0, 200)


def test_clients_come_from_addresses_of_their_own(resolver: Resolver) -> None:
    Driver(resolver.address).run(asked(10))
    assert set(resolver.sources) == {f"127.1.0.{i}" for i in range(5)}


def test_a_query_without_reply_is_one_failure(resolver: Resolver) -> None:
    resolver.behaviour = lambda q, _: [] if str(q.question[0].name).startswith("n7.") else [rcode(q, "NOERROR")]
    tally = Driver(resolver.address, timeout=2.0).run(asked(50))
    assert (tally.sent, tally.answered, dict(tally.problems)) == (50, 49, {"no answer": 1})


def test_what_is_on_its_way_at_a_ctrl_c_is_accounted_for(resolver: Resolver) -> None:
    """It was neither answered nor failed: a server that stood still was called good."""
    resolver.behaviour = lambda *_: []

    def interrupted() -> Iterator[Query]:
        yield from (Query(0.0, "10.0.0.1", f"n{number}.example.com", "A", "benign") for number in range(5))
        raise KeyboardInterrupt

    tally = Driver(resolver.address, timeout=0.2).run(interrupted())
    assert (tally.sent, tally.failed) == (5, 5)


def test_a_closed_port_fails_every_query() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    tally = Driver(address, timeout=0.1).run(asked(20))
    assert (tally.sent, tally.answered, tally.failed) == (20, 0, 20)


def test_who_got_no_reply_has_waited_the_timeout() -> None:
    """The quantiles were those of the quick half."""
    told = Tally(sent=100, answered=50, latencies=[0.001] * 50, timeout=0.5).summary()["latency_ms"]
    assert isinstance(told, dict) and told["p99"] == 500.0


def test_a_doubled_reply_is_a_stray_not_an_answer(resolver: Resolver) -> None:
    resolver.behaviour = lambda q, _: [rcode(q, "NOERROR")] * 2
    tally = Driver(resolver.address).run(asked(50))
    assert (tally.answered, tally.failed) == (50, 0) and 0 < tally.strays <= 50


def test_noise_is_a_stray(resolver: Resolver) -> None:
    resolver.behaviour = lambda q, _: [b"\0\1noise", rcode(q, "NOERROR")]
    assert Driver(resolver.address).run(asked(20)).answered == 20


def test_servfail_is_a_failure(resolver: Resolver) -> None:
    resolver.behaviour = lambda q, _: [rcode(q, "SERVFAIL")]
    assert dict(Driver(resolver.address).run(asked(5)).problems) == {"SERVFAIL": 5}


def test_queries_keep_their_times(resolver: Resolver) -> None:
    seen: list[Outcome] = []
    Driver(resolver.address, on_outcome=seen.append).run(asked(5, gap=0.05))
    assert len(seen) == 5 and all(one.sent - seen[0].sent > one.query.time - 0.02 for one in seen)


def test_a_run_can_be_stopped(resolver: Resolver) -> None:
    driver = Driver(resolver.address)
    threading.Timer(0.2, driver.stop).start()
    tally = driver.run(asked(1000, gap=1.0))
    assert tally.sent == tally.answered == 1


NX, OK, BLOCK = (
    Reply(1, "NXDOMAIN", False, 0, ()),
    Reply(1, "NOERROR", False, 1, ()),
    Reply(1, "NXDOMAIN", False, 0, (15,)),
)


@pytest.mark.parametrize(
    ("kind", "name", "reply", "enforcing", "expected"),
    [
        ("benign", "a.org", OK, True, ""),
        ("benign", "a.org", NX, True, ""),
        ("benign", "a.org", None, True, "no answer"),
        ("benign", "a.org", BLOCK, True, "benign name blocked"),
        ("dga", "a.org", BLOCK, True, ""),
        ("dga", "a.org", BLOCK, False, "blocked in monitor mode"),
        ("malicious", "bad.org", BLOCK, True, ""),
        ("malicious", "bad.org", NX, True, "listed name answered with NXDOMAIN"),
        ("malicious", "bad.org", OK, False, ""),
        ("service", "_dmarc.bad.org", BLOCK, True, ""),
        ("service", "_dmarc.notbad.org", BLOCK, True, "service name blocked"),
        ("benign", "a.org", Reply(1, "REFUSED", False, 0, ()), True, "REFUSED"),
    ],
)
def test_an_answer_is_judged_by_what_was_expected(
    kind: str, name: str, reply: Reply | None, enforcing: bool, expected: str
) -> None:
    query = Query(0, "10.0.0.1", name, "A", kind)  # type: ignore[arg-type]
    assert problem(query, reply, Expectation(frozenset({"bad.org"}), enforcing)) == expected


@pytest.mark.parametrize("server", ["192.0.2.1:53", "example.org:53", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999"])
def test_a_load_goes_to_this_machine_or_nowhere(server: str) -> None:
    with pytest.raises(NotLoopback):
        server_address(server)


def test_another_machine_can_be_asked_for() -> None:
    assert server_address("192.0.2.1:53", remote=True) == ("192.0.2.1", 53)


@pytest.mark.parametrize(
    ("client", "source"),
    [("10.0.0.7", "127.1.0.7"), ("10.2.3.4", "127.3.3.4"), ("192.0.2.9", "127.0.0.2"), ("::1", "127.0.0.2")],
)
def test_clients_map_to_loopback_addresses(client: str, source: str) -> None:
    assert source_address(client, "127.0.0.1") == source


def command(resolver: Resolver, *more: str) -> list[str]:
    return [
        "--server",
        f"127.0.0.1:{resolver.address[1]}",
        "--rate",
        "300",
        "--seconds",
        "0.5",
        "--names",
        "100",
        *more,
    ]


def test_the_command_says_held(resolver: Resolver, capsys: pytest.CaptureFixture[str]) -> None:
    assert dns_load.main(command(resolver)) == 0
    text, verdict = capsys.readouterr().out.strip().rsplit("\n", 1)
    assert verdict.startswith("HELD: 0 of") and json.loads(text)["failed"] == 0


def test_the_command_says_broken(resolver: Resolver, capsys: pytest.CaptureFixture[str]) -> None:
    resolver.behaviour = lambda q, _: [rcode(q, "SERVFAIL")]
    assert dns_load.main(command(resolver)) == 1
    assert "BROKEN" in capsys.readouterr().out


def test_listed_names_must_be_blocked(resolver: Resolver, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("listed.net\n")
    options = ["--benign", str(tmp_path / "names"), "--listed", str(tmp_path / "names"), "--enforcing"]
    options += ["--infected", "0", "--one-time", "0", "--max-failed", "0.1"]
    resolver.behaviour = lambda q, _: [block(q) if "listed.net" in str(q.question[0].name) else rcode(q, "NOERROR")]
    assert dns_load.main(command(resolver, *options)) == 0


def test_the_command_refuses_another_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert dns_load.main(["--server", "192.0.2.1:53"]) == 2
    assert "--remote" in capsys.readouterr().err


def test_queries_are_written_for_dnsperf(tmp_path: Path) -> None:
    assert dns_load.main(["--write", str(tmp_path / "q"), "--count", "500", "--names", "100"]) == 0
    lines = (tmp_path / "q").read_text().splitlines()
    assert len(lines) == 500 and all(len(line.split(" ")) == 2 for line in lines)


def test_recorded_queries_are_sent(resolver: Resolver, capsys: pytest.CaptureFixture[str]) -> None:
    capture = str(Path(__file__).parent / "data" / "queries.pcapng")
    assert dns_load.main(["--server", f"127.0.0.1:{resolver.address[1]}", "--replay", capture, "--speed", "10"]) == 0
    assert '"sent": 2' in capsys.readouterr().out


def test_a_cut_recording_is_sent_up_to_the_cut_and_named(
    resolver: Resolver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes((Path(__file__).parent / "data" / "queries.pcap").read_bytes()[:-3])
    address = f"127.0.0.1:{resolver.address[1]}"
    assert dns_load.main(["--server", address, "--replay", str(cut), "--speed", "10"]) == 2
    said = capsys.readouterr()
    assert '"sent": ' in said.out and '"sent": 0' not in said.out and "HELD: 0 of" in said.out
    assert "cut.pcap: damaged near" in said.err and "what stood before that was sent" in said.err


def test_a_recording_without_a_query_is_no_success(
    resolver: Resolver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.pcap"
    empty.write_bytes((Path(__file__).parent / "data" / "queries.pcap").read_bytes()[:24])
    assert dns_load.main(["--server", f"127.0.0.1:{resolver.address[1]}", "--replay", str(empty)]) == 1
    assert "empty.pcap holds no client query (to port 53)" in capsys.readouterr().out


def test_a_load_that_could_not_be_sent_has_not_been_held(
    resolver: Resolver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(self: Driver, query: Query) -> None:
        time.sleep(0.05)
        former(self, query)

    former = Driver._send
    monkeypatch.setattr(Driver, "_send", send)
    assert dns_load.main(command(resolver, "--rate", "100", "--seconds", "0.5")) == 1
    found = re.search(
        r"BROKEN: this program is too slow for that load: it sent (\d+) queries/s", capsys.readouterr().out
    )
    assert found and int(found[1]) <= 20


def test_a_query_is_not_lost_to_what_became_of_an_earlier_one() -> None:
    """A closed port's refusal comes back with the next `send`, which then sends nothing."""

    class Refusing(socket.socket):
        refused = 0

        def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
            Refusing.refused += 1
            if Refusing.refused == 2:
                raise ConnectionRefusedError
            return super().send(data, flags)

    made = Resolver()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("loadtest.driver.socket.socket", Refusing)
            tally = Driver(made.address, timeout=0.3).run(asked(3))
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", made.address)
        made.thread.join()
        made.socket.close()
    assert Refusing.refused == 4 and (tally.sent, tally.answered) == (3, 3)


@pytest.mark.parametrize(
    "option",
    [
        ("--speed", "0"), ("--rate", "-1"), ("--rate", "inf"), ("--seconds", "nan"), ("--timeout", "0"),
        ("--flood", "-5"), ("--count", "-1"), ("--clients", "0"), ("--one-time", "2"), ("--max-failed", "nan"),
        ("--speed", "fast"), ("--infected", "-1"),
    ],
)  # fmt: skip
def test_a_number_out_of_bounds_is_refused_by_its_option(
    option: tuple[str, str], resolver: Resolver, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.suppress(SystemExit):
        assert dns_load.main(command(resolver, *option)) == 2
    said = capsys.readouterr().err
    assert option[0].strip("-") in said and option[1] in said and "expected" in said
