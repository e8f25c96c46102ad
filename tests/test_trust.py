"""A server whose certificate is of the network's own authority, which the bundle that httpx brings does not know."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from dashboard.client import Client, Refused
from serve_app.cli import main
from verdicts import trust
from verdicts.sinks import SinkError, _post

REPLY = b'{"tokens": [], "entries": [], "after": null}'


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(REPLY)))
        self.end_headers()
        self.wfile.write(REPLY)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server of TLS; its authority is in `ca.pem`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = HTTPServer(("127.0.0.1", 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=[True, False], ids=["known", "unknown"])
def known(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether this machine believes the server's authority."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if request.param:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    trust.authorities.cache_clear()
    yield request.param
    trust.authorities.cache_clear()


@pytest.mark.parametrize("command", [["tokens", "list"], ["lists", "show"]])
def test_a_command_reaches_a_cluster_of_an_authority_that_the_machine_believes(
    url: str, known: bool, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "token").write_text("one\n")
    group, *rest = command
    result = CliRunner().invoke(main, [group, "--url", url, "--token-file", str(tmp_path / "token"), *rest])
    assert result.exit_code == (0 if known else 1), result.output
    assert ("expected a certificate of this system's authorities" in result.output) is not known


def test_so_does_the_dashboard(url: str, known: bool) -> None:
    async def ask() -> object:
        client = Client(url, lambda: "one")
        try:
            return await client.call("GET", "/v1/tokens", "ann", "admin")
        finally:
            await client.close()

    if known:
        assert asyncio.run(ask()) == {"tokens": [], "entries": [], "after": None}
    else:
        with pytest.raises(Refused, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(ask())


def test_so_does_a_webhook(url: str, known: bool) -> None:
    if known:
        _post(url, {})
    else:
        with pytest.raises(SinkError, match="CERTIFICATE_VERIFY_FAILED"):
            _post(url, {})
