"""Two servers compared in ABBA order with dnsperf: its report read, a server that fails named."""

import shutil
import sys
from pathlib import Path

import pytest

from loadtest import compare, plugin_bench
from loadtest.compare import Turn, command_of, measure, results, running
from loadtest.dnsperf import CannotCompare, Plan, parse_dnsperf, parse_latencies
from tests.requires import need

# A resolver that answers every query with its own question, as a command of its own.
SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    data, source = s.recvfrom(4096)
    s.sendto(data[:2] + bytes([0x81, 0x80]) + data[4:10] + bytes(2) + data[12:data.index(0, 12) + 5], source)
"""

REPORT = """
Statistics:

  Queries sent:         1000
  Queries completed:    990 (99.00%)
  Queries lost:         10 (1.00%)

  Response codes:       NOERROR 990 (100.00%)
  Run time (s):         1.000000
  Queries per second:   990.000000

  Average Latency (s):  0.000123 (min 0.000011, max 0.011223)
"""


@pytest.fixture
def server(tmp_path: Path) -> str:
    (tmp_path / "server.py").write_text(SERVER)
    return f"{sys.executable} {tmp_path / 'server.py'} {{port}}"


def test_dnsperf_is_read() -> None:
    assert parse_dnsperf(REPORT) == {"sent": 1000, "completed": 990, "lost": 10, "seconds": 1.0, "failed": 0}


def test_answers_that_are_failures_are_told_apart() -> None:
    """dnsperf completes a query with any answer, and a server that refuses is quick."""
    codes = "NOERROR 900 (90.91%), SERVFAIL 40 (4.04%), NXDOMAIN 20 (2.02%), REFUSED 30 (3.03%)"
    found = parse_dnsperf(REPORT.replace("NOERROR 990 (100.00%)", codes))
    assert (found["completed"], found["failed"]) == (990, 70)


def test_a_report_that_lacks_a_figure_is_refused() -> None:
    with pytest.raises(CannotCompare, match="did not say seconds"):
        parse_dnsperf(REPORT.replace("Run time", "Time"))


def test_a_corefile_is_run_by_coredns_on_the_port(tmp_path: Path) -> None:
    (tmp_path / "Corefile").write_text(". {\n whoami\n}\n")
    assert command_of(str(tmp_path / "Corefile"), "build/coredns").startswith("build/coredns -quiet -dns.port {port}")


def test_a_server_that_ends_is_named_with_its_words() -> None:
    with pytest.raises(CannotCompare, match="(?s)ended with 3.*no such option"):
        with running(f"{sys.executable} -c 'print(\"no such option\"); raise SystemExit(3)' {{port}}"):
            pass


@pytest.mark.parametrize("server", ["old.Corefile", "no-such-server --port {port}", ""])
def test_what_is_neither_corefile_nor_command_is_named(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([server, server]) == 2
    assert f"{server!r}: expected a Corefile, or a command with" in capsys.readouterr().err


def test_results_put_b_against_a() -> None:
    turn = Turn(1000.0, 1e-4, 2**20, 0.0, {"p50": 1e-3, "p99": 2e-3, "p99.9": 3e-3, "max": 4e-3})
    rows = results(("a", "b"), [turn], [turn._replace(qps=2000.0)])
    assert rows[1].name == "b" and rows[1].against == [1000.0] and rows[1].values == [2000.0]


def test_a_lost_query_has_waited_for_the_timeout() -> None:
    said = "> NOERROR a.org A 0.000123\n> T b.org A\n[Timeout] Query timed out: msg id 7\n> NXDOMAIN c.org AAAA 0.5\n"
    assert parse_latencies(said) == [0.000123, 2.0, 0.5]


def test_who_sets_the_rate_is_said() -> None:
    turn = Turn(1000.0, 5e-4, 2**20, 0.0, {"p50": 1e-3, "p99": 2e-3, "p99.9": 3e-3, "max": 4e-3})
    idle, busy = results(("a", "b"), [turn], [turn._replace(cpu_a_query=9.9e-4)])[:2]
    assert idle.note == "50% of a core used: it could have answered more than dnsperf asked"
    assert busy.note == "99% of a core used"


def test_a_rate_that_dnsperf_did_not_reach_is_said() -> None:
    turn = Turn(1000.0, 5e-4, 2**20, 0.0, {"p50": 1e-3, "p99": 2e-3, "p99.9": 3e-3, "max": 4e-3})
    assert not any("rate sent" in row.unit for row in results(("a", "b"), [turn], [turn]))
    rows = results(("a", "b"), [turn], [turn._replace(sent=0.4)])
    assert [row.values for row in rows if row.unit == "% of the rate sent"] == [[100.0], [40.0]]


def test_a_server_that_answers_with_failures_is_seen_to() -> None:
    """It looked like the better one: the most queries a second, the least CPU time for each."""
    turn = Turn(1000.0, 5e-4, 2**20, 0.0, {"p50": 1e-3, "p99": 2e-3, "p99.9": 3e-3, "max": 4e-3})
    assert not any("failed" in row.unit for row in results(("a", "b"), [turn], [turn]))
    rows = results(("a", "b"), [turn], [turn._replace(qps=4000.0, failed=0.25)])
    assert [row.values for row in rows if row.unit == "% of answers failed or refused"] == [[0.0], [25.0]]


def test_traffic_that_goes_on_asks_nothing_twice(tmp_path: Path) -> None:
    """A server that writes down what it was asked: dnsperf begins its file anew at each start."""
    need(shutil.which("dnsperf"), "dnsperf is not installed")
    (tmp_path / "server.py").write_text(
        SERVER.replace(
            "    s.sendto", "    open(sys.argv[2], 'a').write(data[12:data.index(0, 12)].hex() + '\\n')\n    s.sendto"
        )
    )
    (tmp_path / "q").write_text("".join(f"n{number}.example.org A\n" for number in range(300)))
    parts = plugin_bench.split(tmp_path / "q", [100, 100, 100])
    servers = [f"{sys.executable} {tmp_path / 'server.py'} {{port}} {tmp_path / name}" for name in "ab"]
    measure((servers[0], servers[1]), Plan(tmp_path / "q", seconds=0.5, rate=200, parts=parts))
    for name in "ab":
        asked = [line for line in (tmp_path / name).read_text().split() if not line.startswith("07")]  # example.org
        assert len(asked) == len(set(asked)) == 300
    with pytest.raises(ValueError, match="300 queries, expected at least 301"):
        plugin_bench.split(tmp_path / "q", [301])


def test_two_servers_are_measured(server: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    need(shutil.which("dnsperf"), "dnsperf is not installed")
    arguments = ["--pairs", "1", "--seconds", "0.5", "--rate", "200", "--out", str(tmp_path / "r.json")]
    assert compare.main([server, server, *arguments]) == 0
    assert "CPU us/query" in capsys.readouterr().out


def test_a_server_that_stands_still_is_named(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was a division by zero."""
    need(shutil.which("dnsperf"), "dnsperf is not installed")
    (tmp_path / "mute.py").write_text(
        SERVER.replace("while True:", "for _ in range(9):") + "import time; time.sleep(60)\n"
    )
    mute = server.replace("server.py", "mute.py")
    assert compare.main([server, mute, "--pairs", "1", "--seconds", "0.5", "--rate", "200"]) == 2
    assert f"{mute}: it answered none of" in capsys.readouterr().err


def test_a_server_that_only_refuses_is_not_compared(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need(shutil.which("dnsperf"), "dnsperf is not installed")
    (tmp_path / "refuses.py").write_text(SERVER.replace("0x80]", "0x85]"))
    refuses = server.replace("server.py", "refuses.py")
    assert compare.main([server, refuses, "--pairs", "1", "--seconds", "0.5", "--rate", "200"]) == 2
    assert f"{refuses}: it answered with FORMERR, NOTIMP, REFUSED, SERVFAIL alone" in capsys.readouterr().err


def test_a_pair_counts_each_ones_own_cpu_and_latencies(server: str, tmp_path: Path) -> None:
    need(shutil.which("dnsperf"), "dnsperf is not installed")
    (tmp_path / "q").write_text("a.example.org A\nb.example.org AAAA\n")
    for turn in measure((server, server), Plan(tmp_path / "q", seconds=0.5, rate=200), first="B"):
        assert turn.qps > 0 and turn.cpu_a_query > 0 and 0 < turn.latencies["p50"] <= turn.latencies["max"] < 2
