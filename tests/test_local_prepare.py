"""serve_app/local/prepare.py: what a home is given at its first start, and what later ones leave as it is."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.local.home import opened
from serve_app.local.options import Home
from serve_app.local.prepare import BLOCKED, HONEYPOT, prepare, token_file
from verdicts.lists import entry
from verdicts.store import Document, Unavailable, open_store
from verdicts.tokens import KIND, Tokens


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with opened(tmp_path / "home") as ours:
        yield ours.home


def test_a_fresh_home_has_its_demonstration_entries(home: Home) -> None:
    assert prepare(home) is True
    store = open_store(home.store_url, readonly=True)
    assert {d.key for d in store.scan("list")} == {f"blocklist/{BLOCKED}", f"honeypot/{HONEYPOT}"}
    store.close()


def test_a_first_start_that_was_killed_gets_its_demonstration_entries_at_the_next(home: Home) -> None:
    store = open_store(home.store_url)
    store.initialise()
    store.close()
    assert prepare(home) is True and prepare(home) is False
    store = open_store(home.store_url, readonly=True)
    assert len(list(store.scan("list"))) == 2
    store.close()


@pytest.mark.parametrize("wanted", [False, True], ids=["all removed", "a list of its own"])
def test_no_demonstration_entries_come_where_somebody_decided_otherwise(home: Home, wanted: bool) -> None:
    if not wanted:
        prepare(home)
    store = open_store(home.store_url)
    store.initialise()
    gone = [Document("list", document.key, None) for document in store.scan("list")]
    own = entry("blocklist", "a.example", "", created=1, author="somebody")
    store.commit([own] if wanted else [*gone, Document("policy", "policy", None)], "somebody")
    there = [document.key for document in store.scan("list")]
    store.close()
    assert prepare(home) is False
    store = open_store(home.store_url, readonly=True)
    assert [document.key for document in store.scan("list")] == there and store.get("policy", "policy") is None
    store.close()


def test_what_a_person_removed_stays_removed(home: Home) -> None:
    prepare(home)
    store = open_store(home.store_url)
    store.commit([Document("list", f"blocklist/{BLOCKED}", None)], "somebody")
    store.close()
    assert prepare(home) is False
    store = open_store(home.store_url, readonly=True)
    assert [d.key for d in store.scan("list")] == [f"honeypot/{HONEYPOT}"]
    store.close()


def test_tokens_are_private_good_and_kept(home: Home) -> None:
    prepare(home)
    before = home.resolver_token.read_text()
    prepare(home)
    assert home.resolver_token.read_text() == before
    assert stat.S_IMODE(home.resolver_token.stat().st_mode) == 0o600
    store = open_store(home.store_url, readonly=True)
    tokens = Tokens(store.scan(KIND))
    assert tokens.check(f"Bearer {before.strip()}", "resolver").name == "local"
    for path, name in ((home.admin_token, "admin"), (home.dashboard_token, "dashboard")):
        assert tokens.check(f"Bearer {path.read_text().strip()}", "admin")[1:] == ("admin", name)
    store.close()


def test_a_token_that_dashboard_and_commands_shared_stays_the_dashboards(home: Home) -> None:
    store = open_store(home.store_url)
    store.initialise()
    token_file(store, home.admin_token, "admin", "dashboard")  # as a former release did
    store.close()
    shared = home.admin_token.read_text()
    prepare(home)
    assert home.dashboard_token.read_text() == shared != home.admin_token.read_text()
    store = open_store(home.store_url, readonly=True)
    tokens = Tokens(store.scan(KIND))
    assert tokens.check(f"Bearer {home.admin_token.read_text().strip()}", "admin").name == "admin"
    store.close()


def test_a_revoked_token_is_replaced(home: Home) -> None:
    prepare(home)
    before = home.resolver_token.read_text()
    store = open_store(home.store_url)
    store.commit([Document(KIND, before.split("_")[1], None)], "somebody")
    store.close()
    prepare(home)
    assert home.resolver_token.read_text() != before


def test_beside_a_running_cluster_a_home_is_only_looked_at(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as ours:
        assert prepare(ours.home)
        cluster = open_store(ours.home.store_url)
        cluster.initialise()  # it writes to the store as long as it runs
        token = ours.home.resolver_token.read_text()
        assert not prepare(ours.home) and ours.home.resolver_token.read_text() == token
        ours.home.resolver_token.write_text("no token of this store")
        with pytest.raises(Unavailable, match="another process writes"):
            prepare(ours.home)
        cluster.close()
        assert not prepare(ours.home) and ours.home.resolver_token.read_text() != token
