"""Each kind of sink against a real local server."""

import base64
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

import pytest
import trustme

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


class Mail(socketserver.StreamRequestHandler):
    """Enough of RFC 5321 to take one message."""

    def handle(self) -> None:
        envelope: list[str] = []
        self.wfile.write(b"220 mail.example.org\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = []
                for part in self.rfile:
                    if part == b".\r\n":
                        break
                    lines.append(part)
                self.server.got.append((envelope, b"".join(lines)))  # type: ignore[attr-defined]
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            envelope.append(line.decode().strip())
            refuse = self.server.status != 200 and verb == b"RCPT"  # type: ignore[attr-defined]
            self.wfile.write(b"550 no such user\r\n" if refuse else b"250 ok\r\n")


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
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)) as server:
        url = (
            f"smtp://127.0.0.1:{server.server_address[1]}/?from=verdict@example.org&to=ann@example.org,ben@example.org"
        )
        sink_of(url).send(KEY, INCIDENT)
        [(envelope, raw)] = server.got  # type: ignore[attr-defined]
    assert sum(line.upper().startswith("RCPT TO:") for line in envelope) == 2
    message = email.message_from_bytes(raw)
    body, attached = message.walk().__next__().get_payload()
    assert "a[.]q7x[.]net" in body.get_payload(decode=True).decode()
    assert json.loads(attached.get_payload(decode=True))["id"] == KEY


def test_a_mail_server_that_refuses_is_an_error() -> None:
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)) as server:
        server.status = 550  # type: ignore[attr-defined]
        with pytest.raises(SinkError, match="550"):
            sink_of(f"smtp://127.0.0.1:{server.server_address[1]}/?from=a@example.org&to=b@example.org").send(
                KEY, INCIDENT
            )


class SecureMail(socketserver.StreamRequestHandler):
    """A mail server that wants STARTTLS (RFC 3207) and then a password (RFC 4954) before it takes anything."""

    def handle(self) -> None:
        self.said: list[str] = []
        self.wfile.write(b"220 mail.example.org\r\n")
        self._converse(self.request, secure=False)
        self.server.got.append(self.said)  # type: ignore[attr-defined]

    def _converse(self, connection: socket.socket, secure: bool) -> None:
        file = connection.makefile("rwb", buffering=0)
        data = False
        for line in file:
            text = line.decode().strip()
            if data:
                data = text != "."
                answer = None if data else "250 taken"
            else:
                self.said.append(("TLS " if secure else "") + text)
                verb = text.split(" ")[0].upper()
                answers = {
                    "EHLO": "250-mail.example.org\r\n250 " + ("AUTH PLAIN" if secure else "STARTTLS"),
                    "STARTTLS": "220 go on", "AUTH": "235 welcome", "DATA": "354 go on", "QUIT": "221 bye",
                }  # fmt: skip
                answer, data = answers.get(verb, "250 ok"), verb == "DATA"
                if not secure and verb == "MAIL":
                    answer = "530 STARTTLS first"
            if answer is not None:
                file.write(answer.encode() + b"\r\n")
            if answer == "220 go on":
                wrapped = self.server.context.wrap_socket(connection, server_side=True)  # type: ignore[attr-defined]
                return self._converse(wrapped, secure=True)
            if answer == "221 bye":
                connection.close()
                return None
        return None


def test_mail_goes_by_starttls_under_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), SecureMail)) as server:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # type: ignore[attr-defined]
        authority.issue_cert("127.0.0.1").configure_cert(server.context)  # type: ignore[attr-defined]
        where = f"127.0.0.1:{server.server_address[1]}/?from=a@example.org&to=b@example.org"
        with pytest.raises(SinkError, match="certificate verify failed"):  # nobody vouches for this server
            sink_of(f"smtp+starttls://ann:s%40crt@{where}").send(KEY, INCIDENT)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        sink_of(f"smtp+starttls://ann:s%40crt@{where}").send(KEY, INCIDENT)
        with pytest.raises(SinkError, match="530"):
            sink_of(f"smtp://{where}").send(KEY, INCIDENT)
    said = next(said for said in server.got if "TLS QUIT" in said)  # type: ignore[attr-defined]
    login = next(line for line in said if line.startswith("TLS AUTH PLAIN "))
    assert base64.b64decode(login.split()[-1]) == b"\0ann\0s@crt"
    assert "TLS mail FROM:<a@example.org>" in " ".join(said).replace("MAIL", "mail")


def test_mail_goes_over_tls_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)  # type: ignore[attr-defined]
        sink_of(f"smtps://127.0.0.1:{server.server_address[1]}/?from=a@example.org&to=b@example.org").send(
            KEY, INCIDENT
        )
        assert len(server.got) == 1  # type: ignore[attr-defined]


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


def test_two_sinks_of_one_host_both_hear(web: ThreadingHTTPServer, tmp_path: Path) -> None:
    host = f"http://127.0.0.1:{web.server_port}"
    (tmp_path / "alerts").write_text(f"{host}/soc\n{host}/boss\n")
    sinks = read_sinks(tmp_path / "alerts")
    assert [sink.name for sink in sinks] == [host, f"{host} 2"]
    for sink in sinks:
        sink.send(KEY, INCIDENT)
    assert len(web.got) == 2  # type: ignore[attr-defined]
