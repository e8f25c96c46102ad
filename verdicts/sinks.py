"""Where alerts go: a webhook (generic JSON, or Slack's form), syslog, e-mail. One URL names one sink.

https://HOST/PATH                     POST of the incident as JSON; http:// too
slack+https://hooks.slack.com/...     POST in Slack's form
syslog://HOST:514                     RFC 5424 over UDP; syslog+tcp:// over TCP (RFC 6587, octet counting)
smtp://[USER:PASSWORD@]HOST:25/?from=ADDRESS&to=ADDRESS[,ADDRESS]   smtps://, or smtp+starttls://
"""

import json
import smtplib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import httpx
import msgspec

from verdicts.incidents import Incident, title
from verdicts.names import defanged
from verdicts.trust import authorities

TIMEOUT_S = 10.0
SYSLOG_PRIORITY = 4 * 8 + 4  # facility auth, severity warning
ENTERPRISE = 32473  # reserved for documentation (RFC 5612): we have no number of our own
SHOWN_NAMES = 10
WEBHOOKS = ("http", "https", "slack+http", "slack+https")
MAILS = ("smtp", "smtps", "smtp+starttls")


class SinkError(Exception):
    """An alert that a sink did not take; it may take it later."""


class Sink(NamedTuple):
    """A sink by its name in records (no secret in it), and the function that sends there."""

    name: str
    send: Callable[[str, Incident], None]  # key and incident; raises `SinkError`


def sink_of(url: str) -> Sink:
    """The sink that a URL names. Raises `ValueError` saying what was expected."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(f"alert sink {parts.scheme}: {error}") from None
    name = f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port else "")
    if not parts.hostname:
        raise ValueError(f"alert sink {parts.scheme or url[:20]!r}: expected a URL with a host")
    if parts.scheme in WEBHOOKS:
        target = url.removeprefix("slack+")
        form = slack if parts.scheme.startswith("slack+") else generic
        return Sink(name, lambda key, incident: _post(target, form(key, incident)))
    if parts.scheme in ("syslog", "syslog+tcp"):
        return Sink(name, lambda key, incident: _syslog(parts, syslog_line(key, incident)))
    if parts.scheme in MAILS:
        fields = parse_qs(parts.query)
        if not fields.get("from") or not fields.get("to"):
            raise ValueError(f"alert sink {name}: expected ?from=ADDRESS&to=ADDRESS")
        receivers = ",".join(fields["to"]).split(",")
        return Sink(name, lambda key, incident: _mail(parts, fields["from"][0], receivers, key, incident))
    raise ValueError(f"alert sink {name}: expected one of {', '.join((*WEBHOOKS, 'syslog', 'syslog+tcp', *MAILS))}")


def read_sinks(path: Path) -> list[Sink]:
    """The sinks in a file, a URL a line, `#` begins a remark. A file, because the URLs hold secrets.

    A name holds no secret, so that two of one host have the same: the later ones get a number. Raises `ValueError`
    naming the file and the line.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"alerts_file {path}: {getattr(error, 'strerror', error)}, expected a file with a URL a line"
        ) from None
    found: list[Sink] = []
    taken: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        try:
            sink = sink_of(line)
        except ValueError as error:
            raise ValueError(f"alerts_file {path}, line {number}: {error}") from None
        taken[sink.name] += 1
        found.append(sink if taken[sink.name] == 1 else sink._replace(name=f"{sink.name} {taken[sink.name]}"))
    return found


def generic(key: str, incident: Incident) -> dict[str, Any]:
    """An incident as JSON for machines."""
    fields: dict[str, Any] = msgspec.to_builtins(incident)
    del fields["notified"]
    return {"type": "verdict.incident", "id": key, "title": title(incident), **fields}


def slack(key: str, incident: Incident) -> dict[str, Any]:
    """An incident in the form of Slack's incoming webhooks, which other chats take too."""
    names = "\n".join(defanged(name) for name in incident.names[:SHOWN_NAMES])
    text = _slack_text(title(incident))
    return {
        "text": text,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{text}*"}},
            {"type": "section", "text": {"type": "mrkdwn", "text": f"```{_slack_text(names)}```"}},
            {
                "type": "context",
                "elements": [{"type": "plain_text", "text": f"incident {key}, {_when(incident.start)}"}],
            },
        ],
    }


def syslog_line(key: str, incident: Incident) -> bytes:
    """An incident as one RFC 5424 message."""
    fields = {
        "id": key, "client": incident.client, "rule": incident.rule, "domain": incident.domain,
        "count": str(incident.count), "nxdomain": str(incident.nxdomain),
    }  # fmt: skip
    data = " ".join(f'{name}="{_syslog_value(value)}"' for name, value in fields.items())
    host = socket.gethostname() or "-"
    head = f"<{SYSLOG_PRIORITY}>1 {_when(incident.end)} {host} verdict - incident [verdict@{ENTERPRISE} {data}]"
    return f"{head} {title(incident)}".encode("ascii", "backslashreplace")


def _post(url: str, body: dict[str, Any]) -> None:
    try:
        answer = httpx.post(
            url, json=body, timeout=TIMEOUT_S, trust_env=False, verify=authorities(), follow_redirects=False
        )
    except httpx.HTTPError as error:
        raise SinkError(f"{type(error).__name__}: {error}") from error
    if not 200 <= answer.status_code < 300:
        raise SinkError(f"answered {answer.status_code} {answer.text[:200]}")


def _syslog(parts: SplitResult, line: bytes) -> None:
    where = (parts.hostname or "", parts.port or 514)
    try:
        if parts.scheme == "syslog+tcp":
            with socket.create_connection(where, TIMEOUT_S) as connection:
                connection.sendall(b"%d %s" % (len(line), line))
            return
        family = socket.getaddrinfo(*where, type=socket.SOCK_DGRAM)[0][0]
        with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
            datagrams.sendto(line[:2048], where)
    except OSError as error:
        raise SinkError(str(error)) from error


def _mail(parts: SplitResult, sender: str, receivers: list[str], key: str, incident: Incident) -> None:
    message = EmailMessage()
    message["From"], message["To"] = sender, ", ".join(receivers)
    message["Subject"] = "Verdict: " + " ".join(title(incident).split())[:150]
    lines = [title(incident), "", f"incident {key}", f"from {_when(incident.start)} to {_when(incident.end)}", ""]
    lines += [defanged(name) for name in incident.names]
    message.set_content("\n".join(lines) + "\n")
    message.add_attachment(json.dumps(generic(key, incident)).encode(), "application", "json", filename="incident.json")
    try:
        with _smtp(parts) as server:
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise SinkError(f"{type(error).__name__}: {error}") from error


def _smtp(parts: SplitResult) -> smtplib.SMTP:
    host = parts.hostname or ""
    if parts.scheme == "smtps":
        return smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT_S, context=ssl.create_default_context())
    server = smtplib.SMTP(host, parts.port or 25, timeout=TIMEOUT_S)
    if parts.scheme == "smtp+starttls":
        server.starttls(context=ssl.create_default_context())
    return server


def _slack_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")


def _syslog_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _when(time_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))
