"""What `verdict serve` asks of a Ray that others have started, before it deploys there."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from serve_app import existing
from serve_app.environment import HAPROXY, BadEnvironment
from serve_app.existing import EVERYWHERE, LIMITS, WANTED, Node, Nodes, below_of, missing_of, told_of
from serve_app.haproxy_revival import EVERYWHERE as REVIVES
from serve_app.https import ALONE as HARDENED
from serve_app.loopback import HOOK

TLS = {"ssl_certfile": "/c", "ssl_keyfile": "/k"}
ASKS = HARDENED[HOOK]


def there(**changes: str | None) -> dict[str, str | None]:
    return {**WANTED, HOOK: REVIVES, **changes}


def test_nothing_is_missing_where_all_is_set() -> None:
    assert missing_of(there(), {}) == []
    assert missing_of(there(**{HAPROXY: "0", HOOK: ASKS}), TLS) == []


def test_what_is_missing_is_named() -> None:
    assert missing_of(there(RAY_AUTH_MODE=None), {}) == ["RAY_AUTH_MODE=token"]
    assert missing_of(there(**{HOOK: None}), {}) == [f"{HOOK}=serve_app.haproxy_revival.watch"]
    assert missing_of(there(**{HAPROXY: "0"}), TLS) == [f"{HOOK}=serve_app.https.harden"]


def test_tls_that_haproxy_would_leave_away_is_refused() -> None:
    with pytest.raises(BadEnvironment, match="no TLS of its own"):
        missing_of(there(), TLS)


@pytest.mark.parametrize("hook", [None, "serve_app.loopback.bind"])
def test_client_certificates_that_nobody_would_ask_for_are_refused(hook: Any) -> None:
    options = {**TLS, "ssl_ca_certs": "/a"}
    with pytest.raises(BadEnvironment, match="ask no client"):
        missing_of(there(**{HAPROXY: "0", HOOK: hook}), options)
    assert missing_of(there(**{HAPROXY: "0", HOOK: ASKS}), options) == []


SET = {variable: "256" for variable, _ in LIMITS.values()}


def test_a_setting_above_what_this_haproxy_was_started_with_is_named_with_the_limit() -> None:
    limits = {"max_requests": 512, "max_body": 256, "max_wait_s": 257}
    assert below_of(there(**SET), limits) == [
        "max_ongoing_requests of Ingress is above what its HAProxy was started with, "
        "VERDICT_HAPROXY_MAX_REQUESTS=256: expected 512",
        "request_timeout_s or max_budget_ms is above what its HAProxy was started with, "
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S=256: expected 257",
    ]


def test_nothing_is_said_of_limits_that_nobody_knows() -> None:
    limits = dict.fromkeys(LIMITS, 512)
    assert below_of(there(**dict.fromkeys(SET)), limits) == []
    assert below_of(there(**SET, **{HAPROXY: "0"}), limits) == []


def test_a_node_that_was_started_otherwise_than_the_rest_is_named() -> None:
    limits, options = dict.fromkeys(LIMITS, 256), {"host": "0.0.0.0"}

    def told(**changes: str | None) -> list[str]:
        others = [(address, there(**SET, **changes)) for address in ("10.0.0.2", "10.0.0.3")]
        return told_of([("10.0.0.1", there(**SET)), *others], options, limits)

    assert told() == []
    assert told(RAY_AUTH_MODE=None) == [
        "A node was started without RAY_AUTH_MODE=token; on 10.0.0.2, 10.0.0.3; see docs/cluster.md"
    ]
    nodes = [("10.0.0.1", there(**SET)), ("10.0.0.2", there(**SET | {LIMITS["max_body"][0]: "255"}))]
    [below] = told_of(nodes, options, limits)
    assert below.startswith("max_report_bytes or max_frame_bytes is above") and "; on 10.0.0.2; see" in below
    with pytest.raises(BadEnvironment, match="no TLS of its own"):
        told_of([("10.0.0.1", there(**{HAPROXY: "0", HOOK: ASKS})), ("10.0.0.2", there())], {**options, **TLS}, limits)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1"])
def test_a_host_that_not_every_node_has_is_told(host: str) -> None:
    nodes = [("10.0.0.1", there()), ("10.0.0.2", there())]
    [told] = told_of(nodes, {"host": host}, {})
    assert f"host {host!r} on 2 nodes" in told and "expected 0.0.0.0" in told
    assert told_of(nodes, {"host": "0.0.0.0"}, {}) == []
    assert told_of(nodes[:1], {"host": host}, {}) == []  # of one node alone


def test_a_node_that_joins_later_is_asked_too_and_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"a": ("10.0.0.1", there())}
    asked: list[str] = []

    def values(names: Sequence[str], nodes: Mapping[str, str], patience_s: float) -> list[Node]:
        asked.extend(nodes)
        return [cluster[node] for node in nodes]

    monkeypatch.setattr(existing, "living", lambda: {node: address for node, (address, _) in cluster.items()})
    monkeypatch.setattr(existing, "values_by_node", values)
    said: list[str] = []
    nodes = Nodes({"host": "10.0.0.1"}, {})
    assert nodes.look() == []
    cluster["b"] = ("10.0.0.2", there(RAY_AUTH_MODE=None))
    for _ in range(2):
        nodes.look_again(said.append)
    assert [text.partition(";")[0] for text in said] == [
        "A node was started without RAY_AUTH_MODE=token",
        "http_options: host '10.0.0.1' on 2 nodes: an Ingress starts only where that is an address of its node, and is "
        "asked by that node alone",
    ]
    cluster["c"] = ("10.0.0.3", there())
    nodes.look_again(said.append)
    assert len(said) == 2 and asked == ["a", "b", "c"]


def test_a_node_that_joins_later_ends_nothing_whatever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    failing = iter([OSError("gone again"), BadEnvironment("no TLS of its own")])

    def values(*_: Any) -> list[Node]:
        raise next(failing)

    monkeypatch.setattr(existing, "living", lambda: {"a": "10.0.0.1"})
    monkeypatch.setattr(existing, "values_by_node", values)
    nodes = Nodes({"host": EVERYWHERE}, {})
    for _ in range(2):  # where it gave no answer it is asked again
        nodes.look_again(said.append)
    assert said == ["A node joined that cannot do as it should: no TLS of its own"]


@pytest.mark.cluster
def test_each_node_is_asked_for_its_own_variables() -> None:
    program = ["-m", "tests.nodes_program"]
    done = subprocess.run([sys.executable, *program], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sorted(values["VERDICT_TOLD"] for _, values in found) == ["head", "worker"]
