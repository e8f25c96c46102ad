"""Our CoreDNS tried alone: a recorded cluster behind a faulty wire, a driver that judges and counts everything."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.compare import running
from loadtest.driver import Driver, Tally
from loadtest.judging import Expectation, blocked
from loadtest.prober import ask
from loadtest.profiles import Profile, flat
from loadtest.proxy import Behaviour, FaultProxy
from loadtest.recorded import RecordedCluster, Recording
from loadtest.traffic import queries
from serve_app import golang
from tests.requires import need_go

pytestmark = pytest.mark.golang

PROFILE = flat(Profile(rate=100, clients=20, benign=50, malicious=5, infected=0, malicious_share=0.2))
LISTED = {"label": "malicious", "tier": "block", "action": "nxdomain", "cache_ttl": 60, "source": "blocklist",
          "score": 1.0, "generated": 0.0}  # fmt: skip
COREFILE = """. {{
    bind 127.0.0.1
    verdict http://127.0.0.1:{port} {{
        token {folder}/token
        resolver alone
        mode enforce
        timeout 1500ms
    }}
    template ANY ANY . {{
        rcode NOERROR
    }}
}}
"""


class Alone:
    """A CoreDNS, its recorded cluster and the wire between them."""

    def __init__(self, port: int, proxy: FaultProxy, reported: Path, listed: frozenset[str]) -> None:
        self.port, self.proxy, self.reported, self.listed = port, proxy, reported, listed

    def load(self, seconds: float, expect_blocks: bool = True) -> Tally:
        """The profile's traffic; with `expect_blocks` every listed name must be blocked."""
        driver = Driver(
            ("127.0.0.1", self.port), Expectation(self.listed if expect_blocks else frozenset(), True), timeout=5
        )
        return driver.run(queries(PROFILE, 1, seconds))

    def warm(self) -> int:
        """Ask for a listed name until it is blocked, which shows that the cluster is reached; how often it took."""
        for count in range(1, 100):
            reply = ask(self.port, min(self.listed))
            if reply is not None and blocked(reply):
                return count
        raise AssertionError(f"no verdict came: {self.rows()[-3:]}")

    def rows(self) -> list[dict[str, object]]:
        """All reported rows."""
        batches = [json.loads(line) for line in self.reported.read_text().splitlines()]
        return [row for batch in batches for row in batch.get("rows", [])]

    def seen(self) -> int:
        return sum(json.loads(line).get("seen", 0) for line in self.reported.read_text().splitlines())


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    need_go()
    listed = frozenset(q.qname for q in queries(PROFILE, 1, 5) if q.kind == "malicious")
    recording = Recording({"epoch": 1, "generation": "g", "model": "m"}, {n: {**LISTED, "rule": n} for n in listed})
    server = RecordedCluster(recording, 0, tmp_path / "reported")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "reported").touch()
    (tmp_path / "token").write_text("a-token\n")
    try:
        with FaultProxy(("127.0.0.1", server.server_address[1])) as proxy:
            (tmp_path / "Corefile").write_text(COREFILE.format(port=proxy.port, folder=tmp_path))
            command = f"{golang.build()} -dns.port {{port}} -conf {tmp_path / 'Corefile'}"
            with running(command) as (port, _):
                yield Alone(port, proxy, tmp_path / "reported", listed)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_listed_names_are_blocked_and_others_answered(alone: Alone) -> None:
    alone.warm()
    tally = alone.load(3)
    assert (tally.failed, tally.answered) == (0, tally.sent) and 0 < tally.blocked < tally.sent


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour("refuse"), Behaviour("silent"), Behaviour("corrupt"), Behaviour("slow", delay=3)],
    ids=lambda b: b.mode,
)
def test_a_broken_wire_fails_no_query(alone: Alone, behaviour: Behaviour) -> None:
    alone.proxy.set(behaviour)
    tally = alone.load(3, expect_blocks=False)
    assert (tally.failed, tally.answered) == (0, tally.sent) and tally.blocked == 0


def test_every_query_is_in_the_reports_once(alone: Alone) -> None:
    warmed = alone.warm()
    alone.proxy.set(Behaviour("refuse"))
    first = alone.load(1, expect_blocks=False)
    alone.proxy.set(Behaviour())
    second = alone.load(1, expect_blocks=False)
    sent = first.sent + second.sent + warmed + 1  # the one that waited for the server to answer
    deadline = threading.Event()
    for _ in range(100):
        if alone.seen() >= sent:
            break
        deadline.wait(0.1)
    assert alone.seen() == sent == sum(int(str(row.get("count", 1))) for row in alone.rows())
    assert any(row["label"] == "unknown" for row in alone.rows())
