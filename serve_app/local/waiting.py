"""Whether a part answers yet, asked from outside as its users would."""

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import dns.exception
import dns.message
import dns.query

from serve_app.local.options import LOOPBACK, Home, Options

PATIENCE_S = 1.0


def http_ready(port: int) -> bool:
    """True when the cluster says it can give verdicts."""
    return _get(f"http://{LOOPBACK}:{port}/readyz") == 200


def resolver_ready(port: int) -> bool:
    """True when something answers DNS there, whatever it answers.

    CoreDNS answers a question of class CHAOS before its plugins, so that none of ours stands in the log.
    """
    try:
        question = dns.message.make_query("version.bind", "TXT", "CH")
        dns.query.udp(question, LOOPBACK, port=port, timeout=PATIENCE_S)
    except (OSError, dns.exception.DNSException):
        return False
    return True


def dashboard_link(options: Options, home: Home) -> str | None:
    """The link that opens the dashboard without asking for a password, once it serves."""
    if _get(f"http://{LOOPBACK}:{options.dashboard_port}/healthz") != 200:
        return None
    words = home.password.read_text().split() if home.password.exists() else []
    path = f"/login?token={words[0]}" if len(words) == 1 else "/"  # accounts with passwords have no link
    return f"http://{LOOPBACK}:{options.dashboard_port}{path}"


def _get(url: str) -> int | None:
    # http.client: a whole HTTP library is too much to set up several times a second while others start
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=PATIENCE_S)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
