"""`verdict store import` as a person types it: the serving model, the lists, and clients as they may be kept."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serve_app.cli import main
from tests.stores import sqlite_url
from tests.test_history import AT, line
from verdicts.lists import entry
from verdicts.privacy import keyed
from verdicts.records import Record
from verdicts.store import Filter, open_store

GENERATED = "xq7kz3vw9pt2hf8d.com"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    names = ["www.listed.net", "wikipedia.org", "wikipedia.org", GENERATED]
    (tmp_path / "queries.json").write_text("".join(line(name, client="192.0.2.77") for name in names))
    (tmp_path / "key").write_bytes(b"k" * 16)
    store = open_store(sqlite_url(tmp_path))
    store.initialise()
    store.commit([entry("blocklist", "listed.net")], "ann")
    store.close()
    return tmp_path / "queries.json"


def run(log: Path, *options: str) -> Result:
    folder = log.parent
    where = ["--store", sqlite_url(folder), "import", "--registry", str(folder / "models")]
    return CliRunner().invoke(main, ["store", *where, *options, str(log)])


def stored(log: Path) -> dict[str, Record]:
    store = open_store(sqlite_url(log.parent), readonly=True)
    found = {record.qname: record for record in store.search(Filter(AT - 10_000, AT + 10_000)).records}
    store.close()
    return found


def test_a_log_is_judged_by_lists_and_model_and_imported_once(log: Path) -> None:
    options = ("--clients", "keyed", "--client-key-file", str(log.parent / "key"))
    done = run(log, *options)
    assert done.exit_code == 0, done.output
    assert "4 queries in 3 rows" in done.output
    found = stored(log)
    listed, popular, generated = found["www.listed.net"], found["wikipedia.org"], found[GENERATED]
    assert (listed.source, listed.rule, listed.tier, listed.label) == ("blocklist", "listed.net", "block", "malicious")
    assert (popular.source, popular.count, popular.label) == ("model", 2, "benign") and popular.model
    assert generated.source == "model" and generated.generated > popular.generated
    assert {(r.client, r.action, r.enforced, r.mode) for r in found.values()} == {
        (keyed("192.0.2.77", b"k" * 16), "passthru", False, "imported")
    }
    assert "imported already; nothing was added" in run(log, *options).output
    with log.open("a") as file:
        file.write(line("later.example.net", client="192.0.2.77"))
    other = run(log, "--clients", "whole")
    assert other.exit_code == 1 and "--clients keyed; go on with the same" in other.output
    assert "1 queries in 1 rows" in run(log, *options).output and set(stored(log)) == {*found, "later.example.net"}


def test_clients_must_be_said_and_a_key_be_there(log: Path) -> None:
    assert "Missing option '--clients'" in run(log).output
    refused = run(log, "--clients", "keyed", "--client-key-file", str(log.parent / "none"))
    assert refused.exit_code == 2 and "'--client-key-file': File" in refused.output
    forgotten = run(log, "--clients", "keyed")  # it was "client key: 0 octets"
    assert forgotten.exit_code == 2 and "--client-key-file" in forgotten.output
    assert stored(log) == {}
