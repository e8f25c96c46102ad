"""Each part alone, as docs/harness.md has it: a resolver with a recorded cluster, a dashboard with a home's store."""

import json
import threading
import time
from pathlib import Path

import dns.rcode
import httpx
import pytest

from loadtest.recorded import RecordedCluster, Recording
from serve_app.local.ports import free_port
from tests.e2e.conftest import start, stop
from tests.requires import need_go

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LISTED = {"label": "malicious", "tier": "block", "action": "nxdomain", "cache_ttl": 60, "source": "blocklist",
          "score": 1.0, "generated": 0.0, "rule": "listed.net"}  # fmt: skip


@pytest.mark.golang
def test_resolver_and_dashboard_run_beside_each_other_in_one_home_without_a_cluster(tmp_path: Path) -> None:
    need_go()
    home, reported = tmp_path / "home", tmp_path / "reported"
    port = free_port()
    recording = Recording({"epoch": 1, "generation": "g", "model": "m"}, {"listed.net": LISTED})
    server = RecordedCluster(recording, port, reported)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        resolver = start(home, "--only", "coredns", "--http-port", str(port))
        dashboard = start(home, "--only", "dashboard", "--http-port", str(port))
        try:
            assert "Dashboard:" not in resolver.said and "dig" not in dashboard.said
            end = time.monotonic() + 30
            while resolver.dig("listed.net").rcode() != dns.rcode.NXDOMAIN:
                assert time.monotonic() < end, "the recorded verdict was not carried out"
                time.sleep(0.2)
            assert resolver.dig("wikipedia.org").rcode() == dns.rcode.NOERROR
            page = httpx.get(dashboard.dashboard, follow_redirects=True, timeout=30, trust_env=False)
            assert page.status_code == 200 and "Verdict" in page.text
        finally:
            assert stop(dashboard) == 0
            assert stop(resolver) == 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    rows = [row for line in reported.read_text().splitlines() for row in json.loads(line).get("rows", [])]
    assert {"listed.net", "wikipedia.org"} <= {row["qname"] for row in rows}
