"""Each kind of sink against a real local server."""

import email
import json
import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from verdicts.incidents import Incident
from verdicts.sinks import SinkError, read_sinks, sink_of, syslog_line

INCIDENT = Incident(
    "block-resolves", "192.0.2.1", "q7x.net", 1_700_000_000_000, 1_700_000_060_000, ["a.q7x.net", "<b>.q7x.net"], 4, 1,
    'tier block, and resolves to "198.51.100.7]', [{"qname": "a.q7x.net"}],
)  # fmt: skip
KEY = "192.0.2.1-q7x.net-1700000000"


class Web(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.headers["content-type"], json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class Mailbox:
    """What a mail server does with what it is given: it keeps it, or refuses who it is for."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.refuses = False

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]) -> str:
        if self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        self.taken.append(envelope)
        return "250 taken"

    def login(self, _: SMTP, __: Session, ___: Envelope, mechanism: str, given: LoginPassword) -> AuthResult:
        self.logins.append((given.login, given.password))
        return AuthResult(success=(given.login, given.password) == (b"ann", b"s@crt"), handled=False)


@contextmanager
def mail_server(box: Mailbox, **settings: Any) -> Iterator[str]:
    """`HOST:PORT` of a mail server over this box."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(box, "127.0.0.1", port, **settings)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()


def server_context(folder: Path) -> ssl.SSLContext:
    """Of a server whose authority stands in `folder/ca.pem`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


class Lines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.server.got.append(self.rfile.read())  # type: ignore[attr-defined]
        self.server.done.set()  # type: ignore[attr-defined]


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[socketserver.BaseServer]:
    server.got, server.status, server.done = [], 200, threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Web)) as server:
        assert isinstance(server, ThreadingHTTPServer)
        yield server


def test_a_webhook_gets_the_incident_as_json(web: ThreadingHTTPServer) -> None:
    sink_of(f"http://127.0.0.1:{web.server_port}/hook").send(KEY, INCIDENT)
    [(kind, body)] = web.got  # type: ignore[attr-defined]
    assert kind == "application/json"
    assert (body["id"], body["client"], body["names"]) == (KEY, "192.0.2.1", INCIDENT.names)
    assert body["records"] == INCIDENT.records


def test_slack_gets_text_without_markup_or_links(web: ThreadingHTTPServer) -> None:
    sink_of(f"slack+http://127.0.0.1:{web.server_port}/services/T/B").send(KEY, INCIDENT)
    [(_, body)] = web.got  # type: ignore[attr-defined]
    assert "q7x[.]net" in body["text"] and "<b>" not in json.dumps(body) and "&lt;b&gt;" in json.dumps(body)


def test_a_webhook_that_refuses_is_an_error(web: ThreadingHTTPServer) -> None:
    web.status = 503  # type: ignore[attr-defined]
    with pytest.raises(SinkError, match="503"):
        sink_of(f"http://127.0.0.1:{web.server_port}/").send(KEY, INCIDENT)


def test_syslog_over_udp_gets_one_rfc_5424_message() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sink_of(f"syslog://127.0.0.1:{receiver.getsockname()[1]}").send(KEY, INCIDENT)
        line = receiver.recv(4096)
    assert re.match(rb'<36>1 2023-11-14T22:14:20Z \S+ verdict - incident \[verdict@32473 id="', line)
    assert line == syslog_line(KEY, INCIDENT)


def test_syslog_over_tcp_counts_octets() -> None:
    with serving(socketserver.TCPServer(("127.0.0.1", 0), Lines)) as server:
        sink_of(f"syslog+tcp://127.0.0.1:{server.server_address[1]}").send(KEY, INCIDENT)
        assert server.done.wait(5)  # type: ignore[attr-defined]
        length, _, line = server.got[0].partition(b" ")  # type: ignore[attr-defined]
    assert int(length) == len(line)


def test_a_syslog_value_cannot_end_its_element() -> None:
    line = syslog_line('a"]x', INCIDENT)
    assert b'id="a\\"\\]x"' in line


def test_mail_goes_to_everybody_with_the_incident_attached() -> None:
    box = Mailbox()
    with mail_server(box) as where:
        sink_of(f"smtp://{where}/?from=verdict@example.org&to=ann@example.org,ben@example.org").send(KEY, INCIDENT)
    [envelope] = box.taken
    assert envelope.mail_from == "verdict@example.org"
    assert envelope.rcpt_tos == ["ann@example.org", "ben@example.org"]
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content)
    body, attached = message.walk().__next__().get_payload()
    assert "a[.]q7x[.]net" in body.get_payload(decode=True).decode()
    assert json.loads(attached.get_payload(decode=True))["id"] == KEY


def test_a_mail_server_that_refuses_is_an_error() -> None:
    box = Mailbox()
    box.refuses = True
    with mail_server(box) as where, pytest.raises(SinkError, match="550"):
        sink_of(f"smtp://{where}/?from=a@example.org&to=b@example.org").send(KEY, INCIDENT)
    assert box.taken == []


def test_mail_goes_by_starttls_under_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Mailbox()
    secure = {"tls_context": server_context(tmp_path), "require_starttls": True}
    with mail_server(
        box, **secure, authenticator=box.login, auth_required=True, auth_exclude_mechanism=["LOGIN"]
    ) as where:
        to = f"{where}/?from=a@example.org&to=b@example.org"
        with pytest.raises(SinkError, match="certificate verify failed"):  # nobody vouches for this server
            sink_of(f"smtp+starttls://ann:s%40crt@{to}").send(KEY, INCIDENT)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        for refused in (f"smtp://{to}", f"smtp+starttls://{to}", f"smtp+starttls://ann:wrong@{to}"):
            with pytest.raises(SinkError, match="530|535"):
                sink_of(refused).send(KEY, INCIDENT)
        assert box.taken == []
        sink_of(f"smtp+starttls://ann:s%40crt@{to}").send(KEY, INCIDENT)
    assert len(box.taken) == 1 and box.logins[-1] == (b"ann", b"s@crt")


def test_mail_goes_over_tls_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Mailbox()
    with mail_server(box, ssl_context=server_context(tmp_path)) as where:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        sink_of(f"smtps://{where}/?from=a@example.org&to=b@example.org").send(KEY, INCIDENT)
    assert len(box.taken) == 1


def test_nobody_there_is_an_error() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", f"syslog+tcp://127.0.0.1:{port}", f"smtp://127.0.0.1:{port}/?from=a&to=b"):
        with pytest.raises(SinkError):
            sink_of(url).send(KEY, INCIDENT)


@pytest.mark.parametrize(
    ("url", "expected"),
    [("ftp://a.example.org/", "expected one of"), ("https:///x", "host"), ("smtp://a.example.org/", "from=ADDRESS")],
)
def test_a_url_that_names_no_sink_says_what_was_expected(url: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        sink_of(url)


def test_a_sinks_name_holds_no_secret() -> None:
    name = sink_of("https://user:hunter2@hooks.example.org/services/SECRET").name
    assert name == "https://hooks.example.org"


def test_a_file_names_sinks_a_line(tmp_path: Path) -> None:
    (tmp_path / "alerts").write_text("# who hears of it\nsyslog://192.0.2.1:514\n\nhttps://hooks.example.org/x\n")
    assert [sink.name for sink in read_sinks(tmp_path / "alerts")] == [
        "syslog://192.0.2.1:514",
        "https://hooks.example.org",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "codec can't decode"),
        (b"# chat\nhooks.example.org/SECRET\n", r", line 2: alert sink 'hooks.example.org/SE'"),
        (b"\nsmtp://mail.example.org\n", r", line 2: alert sink smtp://mail.example.org: expected \?from=ADDRESS"),
    ],
)
def test_a_file_that_names_none_is_told_with_its_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "alerts").write_bytes(content)
    with pytest.raises(ValueError, match=f"alerts_file {tmp_path}/alerts.*{said}"):
        read_sinks(tmp_path / "alerts")


def test_two_sinks_of_one_host_both_hear(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    host = f"http://127.0.0.1:{web.server_port}"
    (tmp_path / "alerts").write_text(f"{host}/soc\n{host}/boss\n")
    sinks = read_sinks(tmp_path / "alerts")
    assert [sink.name for sink in sinks] == [host, f"{host} 2"]
    for sink in sinks:
        sink.send(KEY, INCIDENT)
    assert len(web.got) == 2  # type: ignore[attr-defined]
