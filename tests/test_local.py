"""serve_app/local: what is checked and written before anything starts."""

import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from loadtest.prober import ask
from serve_app import golang
from serve_app.local import ports, upstream
from serve_app.local.announce import GENERATED, KNOWN, Demonstration, announcement
from serve_app.local.corefile import BadPath, corefile, quoted
from serve_app.local.home import HomeBusy, opened
from serve_app.local.options import Home, Options
from serve_app.local.prepare import BLOCKED
from tests.requires import need_go


@contextmanager
def taken(kind: socket.SocketKind) -> Iterator[int]:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen(1)
        yield other.getsockname()[1]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_busy_port_is_named_with_its_purpose_and_its_option(kind: socket.SocketKind) -> None:
    with taken(kind) as port, pytest.raises(ports.PortBusy, match=f"port {port}.*for DNS.*--dns-port"):
        ports.check(ports.wanted(Options(Path("x"), dns_port=port, parts=("coredns",))))


def test_two_purposes_cannot_share_a_port() -> None:
    with pytest.raises(ports.PortBusy, match="--dashboard-port.*--http-port|--http-port.*--dashboard-port"):
        ports.check(ports.wanted(Options(Path("x"), http_port=7, dashboard_port=7, parts=("dashboard", "cluster"))))


def test_only_the_ports_of_the_chosen_parts_are_asked_for() -> None:
    assert [w.option for w in ports.wanted(Options(Path("x"), parts=("dashboard",)))] == ["--dashboard-port"]


def test_a_block_of_ports_has_none_that_is_taken() -> None:
    with taken(socket.SOCK_STREAM) as port:
        with pytest.raises(ports.PortBusy, match="no 2 free ports"):
            ports.free_block(2, port - 1, port + 2)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_free_port_is_free_for_both_protocols_and_given_once(kind: socket.SocketKind) -> None:
    with taken(kind) as port, pytest.raises(ports.PortBusy, match="no free port"):
        ports.free_port(port, port + 1)
    assert ports.free_port(port, port + 1) == port
    with pytest.raises(ports.PortBusy, match="no free port"):
        ports.free_port(port, port + 1)


@contextmanager
def nameserver(answers: bool) -> Iterator[str]:
    """A real DNS server for one name, or one that answers SERVFAIL."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                query, caller = server.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            reply = dns.message.make_response(dns.message.from_wire(query))
            if answers:
                reply.answer.append(dns.rrset.from_text(reply.question[0].name, 60, "IN", "A", "192.0.2.1"))
            else:
                reply.set_rcode(2)
            server.sendto(reply.to_wire(), caller)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.sendto(b"", server.getsockname())
        thread.join()
        server.close()


@pytest.mark.parametrize("answers", [True, False])
def test_only_a_nameserver_that_resolves_counts_as_one(answers: bool) -> None:
    with nameserver(answers) as address:
        assert upstream.answers(address) is answers


def test_a_silent_nameserver_does_not_count() -> None:
    with taken(socket.SOCK_DGRAM) as port:
        assert not upstream.answers(f"127.0.0.1:{port}", patience_s=0.1)


def test_without_a_nameserver_the_built_in_zone_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("# nothing\nsearch example.org\n")
    assert upstream.choose("auto", tmp_path / "resolv.conf") is None
    assert upstream.choose("auto", tmp_path / "absent") is None


@pytest.mark.parametrize("text", ["192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:53"])
def test_an_address_is_taken_as_an_upstream(text: str) -> None:
    assert upstream.choose(text) == text


@pytest.mark.parametrize("text", ["", "dns.example.org", "192.0.2.1:x", "192.0.2.1:70000", "192.0.2"])
def test_what_is_no_address_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(upstream.BadUpstream, match="expected"):
        upstream.choose(text)


def test_the_corefile_names_what_it_was_told(tmp_path: Path) -> None:
    text = corefile(Options(tmp_path, dns_port=5300, http_port=5301, mode="monitor"), Home(tmp_path), "192.0.2.9:53")
    for line in (
        ".:5300 {",
        "bind 127.0.0.1",
        "verdict http://127.0.0.1:5301 {",
        "mode monitor",
        "forward . 192.0.2.9:53",
    ):
        assert line in text
    assert "template" not in text


@pytest.mark.golang
@pytest.mark.parametrize(
    "folder", ["a b", "back\\slash", "both \\ of them", 'a "quoted" word', '"begun', 'a\\"b', "a#b", "{a}"]
)
def test_a_home_of_any_name_is_found_by_coredns(folder: str, tmp_path: Path) -> None:
    need_go()
    home = Home(tmp_path / folder)
    home.resolver_token.parent.mkdir(parents=True)
    home.resolver_token.write_text("verdict_0123456789ab_" + "a" * 43)
    home.corefile.parent.mkdir(exist_ok=True)
    port = ports.free_port()
    home.corefile.write_text(corefile(Options(home.path, dns_port=port, http_port=1), home, None))
    with subprocess.Popen([golang.build(), "-conf", home.corefile], stderr=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 30
            while ask(port, "wikipedia.org") is None:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < until
        finally:
            process.kill()


@pytest.mark.golang
def test_an_upstream_that_is_away_does_not_fill_the_log(tmp_path: Path) -> None:
    """Each query left a line with its name: some gigabytes in a day's outage, and names that no retention ends."""
    need_go()
    home, port = Home(tmp_path), ports.free_port()
    home.resolver_token.parent.mkdir()
    home.resolver_token.write_text("verdict_0123456789ab_" + "a" * 43)
    home.corefile.write_text(corefile(Options(tmp_path, dns_port=port, http_port=1), home, "127.0.0.1:1"))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([golang.build(), "-conf", home.corefile], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 30
        while ask(port, "first.example.org") is None:
            assert process.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
        for number in range(20):
            assert ask(port, f"name{number}.example.org") is not None
    finally:
        process.terminate()
        process.wait(30)
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if "plugin/errors" in line]
    assert len(lines) == 2 and ".example.org. A: read udp" in lines[0] and "errors like" in lines[1], lines


@pytest.mark.parametrize("folder", ['a \\"b', "a{$HOME}b"])
def test_a_home_that_no_corefile_can_name_is_refused(folder: str) -> None:
    with pytest.raises(BadPath, match="in a Corefile"):
        quoted(f"/home/{folder}/token")


def test_a_home_is_for_one_run_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path / "home"), pytest.raises(HomeBusy, match="--home"), opened(tmp_path / "home"):
        pass


def test_parts_of_one_home_run_beside_each_other_but_none_twice(tmp_path: Path) -> None:
    with opened(tmp_path / "home", ["cluster"]) as first, opened(tmp_path / "home", ["coredns"]) as second:
        assert first.run != second.run
        with pytest.raises(HomeBusy, match="runs the coredns"), opened(tmp_path / "home", ["coredns", "dashboard"]):
            pass
        with opened(tmp_path / "home", ["dashboard"]):
            pass
        assert first.run.is_dir() and second.run.is_dir()


def test_the_sockets_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as ours:
        assert stat.S_IMODE(ours.run.stat().st_mode) == 0o700 and len(str(ours.run)) <= 28
    assert not ours.run.exists()


def test_the_sockets_folder_goes_where_no_record_of_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def full(path: Path, content: bytes) -> None:
        made.append(Path(content.decode().strip()))
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("serve_app.local.home.write_atomically", full)
    with pytest.raises(OSError, match="No space left on device: '.*/home/run.cluster'"), opened(tmp_path / "home"):
        pass
    assert made[0].name.startswith("verdict-") and not made[0].exists()


def test_the_sockets_folder_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as first:
        record = first.home.run_record("cluster").read_text()
    first.run.mkdir()
    first.home.run_record("cluster").write_text(record)
    with opened(tmp_path / "home"):
        assert not first.run.exists()


def test_a_damaged_record_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    with opened(tmp_path / "home") as ours:
        home = ours.home
    home.run_record("cluster").write_text(str(tmp_path / "precious"))
    with opened(tmp_path / "home"):
        assert (tmp_path / "precious").is_dir()


def test_a_cluster_alone_says_where_it_is_and_whom_it_lets_in(tmp_path: Path) -> None:
    options = Options(tmp_path, http_port=5301, parts=("cluster",))
    said = announcement(options, Home(tmp_path), Demonstration(KNOWN, GENERATED[0], "block", BLOCKED))
    assert f"http://127.0.0.1:5301, for resolvers with the token in {tmp_path}/tokens/resolver" in said
    assert "dig" not in said
