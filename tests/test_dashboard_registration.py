"""Registration data from a registry that answers as it likes: what is asked of whom, and what is made of it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import whoisit

from dashboard.registration import NotKnown, Registration, _cache, ask_rdap, facts_of

pytestmark = pytest.mark.anyio
GOOD: dict[str, Any] = {
    "objectClassName": "domain", "handle": "H1", "status": ["<b>active</b>"],
    "events": [{"eventAction": "registration", "eventDate": "2020-01-01T00:00:00Z"}],
}  # fmt: skip
HOSTILE: dict[str, Any] = {
    "list.test": [1, 2],
    "links.test": {**GOOD, "links": ["x"]},
    "long.test": {"objectClassName": "domain", "remarks": "y" * 100_000},
    "date.test": {**GOOD, "events": [{"eventAction": "registration", "eventDate": "0001-01-01T00:00:00"}]},
    "entities.test": {**GOOD, "entities": [7], "nameservers": 7},
}


class Registry(BaseHTTPRequestHandler):
    """Answers for every domain; notes who was asked for what."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        name = self.path.rpartition("/")[2]
        related = {"rel": "related", "type": "application/rdap+json", "href": f"{self.server.url}registrar/{name}"}  # type: ignore[attr-defined]
        body = json.dumps(HOSTILE.get(name, {**GOOD, "links": [related]})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths that the registry of `.test` was asked for."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        server.asked, server.url = [], f"http://127.0.0.1:{server.server_port}/"  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        numbers = {"asn": "1-2", "ipv4": "192.0.2.0/24", "ipv6": "2001:db8::/32"}
        services = {kind: {"services": [[[which], [server.url]]]} for kind, which in {**numbers, "dns": "test"}.items()}  # type: ignore[attr-defined]
        services["object"] = {"services": [[["x@example.org"], ["X"], [server.url]]]}  # type: ignore[attr-defined]
        whoisit.clear_bootstrapping()
        whoisit.load_bootstrap_data(json.dumps({"timestamp": 1, **services}), allow_insecure=True)
        yield server.asked  # type: ignore[attr-defined]
        whoisit.clear_bootstrapping()
        server.shutdown()


def test_the_registry_alone_is_told_who_is_curious(asked: list[str]) -> None:
    facts = {fact["label"]: fact["value"] for fact in facts_of(ask_rdap("good.test"))}
    assert facts["Status"] == "<b>active</b>" and facts["Registered"] == 1_577_836_800_000
    assert asked == ["/domain/good.test"]


@pytest.mark.parametrize("domain", HOSTILE)
async def test_an_answer_that_is_none_is_told_in_few_words(asked: list[str], domain: str) -> None:
    _cache.clear()
    registration = Registration(domain)
    await registration.ask()
    told = registration.facts.empty if not registration.facts.facts else str(registration.facts.facts)
    assert "Not asked yet" not in told and len(told) < 500
    assert not registration.button.disabled


async def test_a_registry_that_cannot_be_reached_is_told(asked: list[str]) -> None:
    with pytest.raises(NotKnown, match="offers no RDAP"):
        ask_rdap("name.elsewhere")
