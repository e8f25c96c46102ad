"""Makes a home ready: the store, the tokens of its resolver and its dashboard, demonstration entries."""

import time
from pathlib import Path

from serve_app.local.options import Home
from verdicts.files import write_atomically
from verdicts.lists import entry
from verdicts.store import Document, Store, Unavailable, open_store
from verdicts.tokens import KIND, Tokens, Unauthorised, issue

DASHBOARD = "dashboard"  # the name of its token
RESOLVER = "local"  # the name the CoreDNS of `verdict up` reports under
AUTHOR = "verdict up"

# Names of RFC 2606 that IANA's servers really answer, so that it shows who blocked them.
BLOCKED = "www.example.net"
HONEYPOT = "www.example.org"
HONEYPOT_ANSWERS = ["192.0.2.53", "2001:db8::53"]
NOTE = "entered by the first `verdict up`, for the demonstration; remove it at will"


def prepare(home: Home) -> bool:
    """Make the home ready; True when it was given the demonstration entries. Raises `Unavailable` and `OSError`.

    Where another `verdict up` runs the cluster of this home, that one writes to the store: then it is only looked at.
    """
    store = open_store(home.store_url)
    try:
        fresh = not home.store.exists()
        try:
            store.initialise()
        except Unavailable:
            if fresh or not _ready(store, home):
                raise
            return False
        token_file(store, home.resolver_token, "resolver", RESOLVER)
        _part_tokens(store, home)
        token_file(store, home.admin_token, "admin", "admin")
        token_file(store, home.dashboard_token, "admin", DASHBOARD)
        if untouched := _untouched(store):
            store.commit(demonstration(_now()), AUTHOR, NOTE)
        return untouched
    finally:
        store.close()


def _untouched(store: Store) -> bool:
    """Whether nothing was ever entered, also by a first start that was killed before it did; what was removed was."""
    ever = [("policy", "policy"), *((document.kind, document.key) for document in demonstration(0))]
    return next(store.keys("list"), None) is None and not any(store.history(*each, limit=1) for each in ever)


def _part_tokens(store: Store, home: Home) -> None:
    """Of a home in which the dashboard had the one token of both: it keeps that, and the other is issued anew, so that
    what the commands enter is not told as the dashboard's."""
    if not home.dashboard_token.exists() and _holder(store, home.admin_token, "admin") == DASHBOARD:
        home.admin_token.rename(home.dashboard_token)


def _ready(store: Store, home: Home) -> bool:
    needed = [(home.resolver_token, "resolver"), (home.admin_token, "admin")]
    return None not in [_holder(store, path, role) for path, role in needed]


def _holder(store: Store, path: Path, role: str) -> str | None:
    """The name of the good token of this role that the file holds, if it does."""
    try:
        return Tokens(store.scan(KIND)).check(f"Bearer {path.read_text().strip()}", role).name
    except (FileNotFoundError, Unauthorised):
        return None


def token_file(store: Store, path: Path, role: str, name: str) -> None:
    """See that the file holds a good token of this role; issue one where it does not."""
    if _holder(store, path, role) is not None:
        return
    issued = issue(role, name, _now(), note=AUTHOR)
    store.commit([issued.document], AUTHOR)
    write_atomically(path, f"{issued.text}\n".encode())


def demonstration(now: int) -> list[Document]:
    """What a store begins with."""
    return [
        entry("blocklist", BLOCKED, NOTE, created=now, author=AUTHOR),
        entry("honeypot", HONEYPOT, NOTE, created=now, author=AUTHOR),
        Document("policy", "policy", {"honeypot_answers": HONEYPOT_ANSWERS}),
    ]


def _now() -> int:
    return time.time_ns() // 1_000_000
