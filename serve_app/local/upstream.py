"""Where CoreDNS sends the queries it passes on: a nameserver that answers, or the zone built in for a demonstration."""

import ipaddress
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode

PATIENCE_S = 1.0
RESOLV_CONF = Path("/etc/resolv.conf")


class BadUpstream(ValueError):
    """An --upstream that is no address; the message says what was expected."""


def choose(wanted: str, resolv_conf: Path = RESOLV_CONF) -> str | None:
    """The address (`ADDRESS` or `ADDRESS:PORT`) to forward to, None for the built-in zone."""
    if wanted == "none":
        return None
    if wanted != "auto":
        return address_of(wanted)
    return next((server for server in nameservers(resolv_conf) if answers(server)), None)


def address_of(text: str) -> str:
    """`ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`, checked."""
    host, port = split(text)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise BadUpstream(f"--upstream {text!r}: expected auto, none, ADDRESS or ADDRESS:PORT") from None
    if not 0 < port < 65536:
        raise BadUpstream(f"--upstream {text!r}: expected a port from 1 to 65535")
    return text


def split(text: str) -> tuple[str, int]:
    """Host and port (53 where none is named) of an address."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    return host, int(port) if port.isdigit() else 53 if not port else -1


def nameservers(resolv_conf: Path) -> list[str]:
    """The nameservers this machine is configured with, in order."""
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [word[1].partition("%")[0] for word in words if len(word) > 1 and word[0] == "nameserver"]


def answers(server: str, qname: str = "wikipedia.org", patience_s: float = PATIENCE_S) -> bool:
    """True when this server resolves a name that everybody's does; asked twice, since a datagram may be lost."""
    host, port = split(server)
    for _ in range(2):
        try:
            reply = dns.query.udp(dns.message.make_query(qname, "A"), host, port=port, timeout=patience_s)
        except (OSError, dns.exception.DNSException):
            continue
        return reply.rcode() == dns.rcode.NOERROR and bool(reply.answer)
    return False
