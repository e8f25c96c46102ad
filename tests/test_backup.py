"""A backup taken from one store and given to another, or to the same one later."""

import gzip
import io
import json
import os
import tarfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.registry import Registry, UnknownVersion
from serve_app import backup
from serve_app.cli import main
from tests.model_fixtures import write as write_artifact
from tests.stores import settled, sqlite_url
from verdicts import tokens
from verdicts.backup import KINDS, difference, saved
from verdicts.follower import Follower
from verdicts.lists import entry
from verdicts.store import DECISION_KINDS, Document, Store, open_store


def decided(store: Store) -> None:
    store.commit([entry("blocklist", "bad.net", "feed", author="anna"), entry("benign", "good.net")], "anna", "first")
    store.commit([Document("policy", "policy", {"block_action": "refused"})], "root", "stricter")
    store.commit([Document("label", "x.net", {"name": "x.net", "label": "malicious"})], "anna")
    store.commit([Document("incident", "192.0.2.1-x.net-1", {"client": "192.0.2.1"})], "cluster")
    settled(store)


def keys(store: Store) -> set[str]:
    settled(store)
    return {f"{document.kind}:{document.key}" for kind in KINDS for document in store.scan(kind)}


def other(tmp_path: Path) -> Store:
    (tmp_path / "other").mkdir()
    found = open_store(sqlite_url(tmp_path / "other"))
    found.initialise()
    return found


def test_every_kind_that_decides_is_in_a_backup() -> None:
    assert DECISION_KINDS < set(KINDS) and "incident" not in KINDS


def test_a_store_that_went_on_decides_as_before_at_a_higher_epoch(store: Store, tmp_path: Path) -> None:
    decided(store)
    head = backup.write(tmp_path / "b.tgz", store, None)
    follower = Follower(store)
    follower.poll()
    before = keys(store)
    store.commit([entry("blocklist", "new.net"), Document("list", "benign/good.net", None)], "eve", "a mistake")
    settled(store)
    epoch, changed = backup.restore(backup.read(tmp_path / "b.tgz"), store, None, "root", "back")
    assert (changed, keys(store)) == (2, before)
    assert epoch.generation == head.generation and epoch.number > head.epoch + 1
    follower.poll()
    assert follower.changes_since(head.epoch, head.generation) == (["good.net", "new.net"], False)
    assert {(d.key, d.author, d.note) for d in store.history(limit=2)} == {
        ("benign/good.net", "root", "back"), ("blocklist/new.net", "root", "back")
    }  # fmt: skip
    assert backup.restore(backup.read(tmp_path / "b.tgz"), store, None, "root", "again") == (epoch, 0)


def test_a_backup_holds_no_client_and_one_prevalence_list_alone(store: Store, tmp_path: Path) -> None:
    """Its history did: clients of incidents that the retention had reached, and each day's whole list."""
    decided(store)
    for day in range(3):
        store.commit([Document("prevalence", "00000", {"first": 1, "names": f"day{day}.org"})], "anna", "daily")
    settled(store)
    backup.write(tmp_path / "b.tgz", store, None)
    with tarfile.open(tmp_path / "b.tgz") as tar:
        texts = {name: tar.extractfile(name).read().decode() for name in tar.getnames()}  # type: ignore[union-attr]
    assert all("192.0.2.1" not in text for text in texts.values())
    assert "day2.org" in texts["documents.jsonl"] and "day" not in texts["history.jsonl"]
    assert [json.loads(line)["kind"] for line in texts["history.jsonl"].splitlines()] == [
        "label", "policy", "list", "list"
    ]  # fmt: skip


def test_a_backup_replaces_no_device_or_pipe(tmp_path: Path) -> None:
    """Run by root, one into /dev/null made a file of it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    store = other(tmp_path)
    with pytest.raises(backup.BadBackup, match="no regular file"):
        backup.write(pipe, store, None)
    assert pipe.is_fifo() and [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    store.close()


def test_a_folder_that_is_not_there_is_told_by_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """It was told by a file of a name that nobody had given, after all was read."""
    store, file = other(tmp_path), tmp_path / "absent" / "b.tgz"
    with pytest.raises(backup.BadBackup, match=f"{file}: expected a file in a folder"):
        backup.write(file, store, None)
    store.close()


@pytest.mark.parametrize("removed", ["list:benign/good.net", "label:x.net"])
def test_what_was_removed_last_comes_back(store: Store, tmp_path: Path, removed: str) -> None:
    decided(store)
    before = keys(store)
    backup.write(tmp_path / "b.tgz", store, None)
    kind, _, key = removed.partition(":")
    store.commit([Document(kind, key, None)], "eve", "a mistake")
    settled(store)
    assert backup.restore(backup.read(tmp_path / "b.tgz"), store, None, "root", "back")[1] == 1
    assert keys(store) == before


def test_a_token_that_was_taken_back_stays_so(store: Store, tmp_path: Path) -> None:
    leaked, rotated, kept = (tokens.issue("resolver", name, 1) for name in ("leaked", "rotated", "kept"))
    store.commit([leaked.document, rotated.document, kept.document], "root")
    settled(store)
    backup.write(tmp_path / "b.tgz", store, None)
    now = time.time_ns() // 1_000_000
    store.commit([tokens.revoke(leaked.document)], "root", "leaked")
    later, documents = tokens.rotate(rotated.document, now, grace=60_000)
    store.commit(documents, "root", "rotation")
    settled(store)
    backup.restore(backup.read(tmp_path / "b.tgz"), store, None, "root", "back")
    settled(store)
    good = tokens.Tokens(store.scan(tokens.KIND))
    assert good.check(f"Bearer {kept.text}", "resolver").name == "kept"
    good.check(f"Bearer {rotated.text}", "resolver", now=now)
    for text, moment in ((leaked.text, now), (rotated.text, now + 60_001), (later.text, now)):
        with pytest.raises(tokens.Unauthorised):
            good.check(f"Bearer {text}", "resolver", now=moment)
    new = other(tmp_path)
    backup.restore(backup.read(tmp_path / "b.tgz"), new, None, "root", "moved")
    assert len(tokens.Tokens(new.scan(tokens.KIND))) == 3
    new.close()


def test_a_file_that_no_longer_unpacks_is_no_backup(tmp_path: Path) -> None:
    store = other(tmp_path)
    store.commit([entry("blocklist", f"n{number}.net") for number in range(5000)], "anna")
    backup.write(tmp_path / "b.tgz", store, None)
    store.close()
    stored = bytearray(gzip.compress(gzip.decompress((tmp_path / "b.tgz").read_bytes()), 0))  # in blocks as they are
    second = 10 + 5 + int.from_bytes(stored[11:13], "little")
    stored[second + 3] ^= 1  # its length and the complement of that no longer agree
    (tmp_path / "b.tgz").write_bytes(stored)
    with pytest.raises(backup.BadBackup, match=r"b\.tgz: no backup of Verdict: .*invalid stored block"):
        backup.read(tmp_path / "b.tgz")


def test_a_new_store_has_its_own_generation_and_resolvers_believe_it_anew(store: Store, tmp_path: Path) -> None:
    decided(store)
    head = backup.write(tmp_path / "b.tgz", store, None)
    assert head.documents == 4
    new = other(tmp_path)
    epoch, changed = backup.restore(backup.read(tmp_path / "b.tgz"), new, None, "root", "moved")
    assert changed == 4 and epoch.generation != head.generation and epoch.number > 0
    assert difference(new, saved(store)[1])[0] == []
    follower = Follower(new)
    follower.poll()
    assert follower.view.lists.match("www.bad.net") is not None and follower.policy.block_action == "refused"
    assert follower.changes_since(head.epoch, head.generation) == (None, True)
    found = new.get("list", "blocklist/bad.net")
    assert found is not None and found.body is not None and found.body["author"] == "anna"
    new.close()


def test_a_registry_comes_back_with_its_pointer(tmp_path: Path) -> None:
    store = other(tmp_path)
    registry = Registry(tmp_path / "one")
    for version in ("test-1", "test-2"):
        registry.add(write_artifact(tmp_path / "made", version))
    registry.point(["test-2", "test-1"])
    backup.write(tmp_path / "b.tgz", store, registry)
    later = Registry(tmp_path / "two")
    later.add(write_artifact(tmp_path / "made", "test-3"))
    later.point(["test-3"])
    backup.restore(backup.read(tmp_path / "b.tgz"), store, later, "root", "")
    assert later.pointer() == ["test-2", "test-1"] and later.get("test-2").version == "test-2"
    assert [manifest.version for manifest in later.list()] == ["test-1", "test-2", "test-3"]
    with pytest.raises(UnknownVersion):
        later.point(["test-9"])
    store.close()


def damaged(path: Path, how: str) -> None:
    """Write a backup anew with one thing wrong."""
    with tarfile.open(path) as tar:
        members = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    if how == "documents":
        members["documents.jsonl"] += b"{}\n"
    elif how == "missing":
        del members["documents.jsonl"]
    elif how == "added":
        members["models/x/../../etc"] = b"x"
    elif how == "format":
        members["backup.json"] = members["backup.json"].replace(b'"format":1', b'"format":9')
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            entry_ = tarfile.TarInfo(name)
            entry_.size = len(data)
            tar.addfile(entry_, io.BytesIO(data))


@pytest.mark.parametrize(
    ("how", "says"),
    [("documents", "documents.jsonl is damaged"), ("missing", "documents.jsonl is damaged or missing"),
     ("added", "etc is damaged or missing"), ("format", "format 9, expected 1")],
)  # fmt: skip
def test_a_damaged_backup_changes_nothing(how: str, says: str, tmp_path: Path) -> None:
    store = other(tmp_path)
    decided(store)
    backup.write(tmp_path / "b.tgz", store, None)
    damaged(tmp_path / "b.tgz", how)
    with pytest.raises(backup.BadBackup, match=f"b.tgz: .*{says}"):
        backup.read(tmp_path / "b.tgz")
    store.close()


def test_the_commands_back_up_ask_and_restore(tmp_path: Path) -> None:
    store = other(tmp_path)
    decided(store)
    store.close()
    file, old = str(tmp_path / "b.tgz"), sqlite_url(tmp_path / "other")
    new = f"sqlite:///{tmp_path}/new/verdict.db"
    said = CliRunner().invoke(main, ["store", "--store", old, "backup", file, "--no-models"])
    assert said.exit_code == 0 and "4 documents of epoch 2, 0 models" in said.output
    assert (tmp_path / "b.tgz").stat().st_mode & 0o077 == 0
    mistyped = tmp_path / "modles"
    said = CliRunner().invoke(main, ["store", "--store", old, "backup", f"{file}.2", "--registry", str(mistyped)])
    assert said.exit_code == 1 and f"{mistyped}: no such folder" in said.output and not mistyped.exists()
    assert not Path(f"{file}.2").exists()
    refused = CliRunner().invoke(main, ["store", "--store", new, "restore", file, "--no-models"], input="n\n")
    assert refused.exit_code == 1 and "4 documents and 0 models?" in refused.output
    done = CliRunner().invoke(main, ["store", "--store", new, "restore", file, "--no-models", "--yes"])
    assert done.exit_code == 0 and "4 documents changed: epoch 1 of generation" in done.output
    wrong = CliRunner().invoke(main, ["store", "--store", new, "restore", old, "--yes"])
    assert wrong.exit_code == 2 and "'FILE': File" in wrong.output and "does not exist" in wrong.output
