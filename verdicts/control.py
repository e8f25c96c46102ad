"""What a call of the control API says: who makes it, and how long the cluster has for a change or a replay."""

from urllib.parse import quote

CLUSTER_S = 150  # of serve_app/haproxy.py, which imports nothing of ours
PATIENCE_S = CLUSTER_S + 5.0  # so that its own answer is heard
HEADERS = {"X-Request-Timeout-Seconds": str(CLUSTER_S)}  # for Serve's own proxy, where that serves TLS


def headers_of(token: str, person: str) -> dict[str, str]:
    """Of a call with this token, in this person's name: the history has both."""
    return {"Authorization": f"Bearer {token}", "Verdict-User": quote(person, safe=" @.+-_")} | HEADERS
