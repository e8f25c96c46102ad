"""One pointer says which artifact serves."""

import os
import shutil
import threading
from pathlib import Path

import msgspec
import pytest

from model import registry as module
from model.artifact import Artifact, BadArtifact, digest, read_manifest
from model.manifest import Threshold
from model.registry import GuardFailed, Registry, UnknownVersion, newest
from model.remote import NoRemote, Remote, cache_of
from tests.model_fixtures import full_disk, manifest, write
from tests.requires import need
from tests.synced import Disk

OF_AN_ARTIFACT = ["evaluation.json", "history.jsonl", "manifest.json", "model.keras"]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("released")
    write(root, "seed-1")
    write(root, "b-2")
    write(root, "b-3")
    return root


@pytest.fixture
def registry(tmp_path: Path, released: Path) -> Registry:
    registry = Registry(tmp_path / "registry")
    registry.seed_from_released(released)
    return registry


def test_a_fresh_registry_serves_the_newest_release(registry: Registry) -> None:
    assert registry.serving() == "b-3" and [m.version for m in registry.list()] == ["b-2", "b-3", "seed-1"]


def test_seeding_again_changes_nothing_that_serves(registry: Registry, released: Path) -> None:
    registry.promote("b-2")
    registry.seed_from_released(released)
    assert registry.serving() == "b-2"


def test_of_a_folder_only_the_artifact_is_added(tmp_path: Path, released: Path) -> None:
    made, secret = shutil.copytree(released / "b-2", tmp_path / "made"), tmp_path / "secret"
    secret.write_text("secret")
    (made / "notes").symlink_to(secret)
    (made / "more").mkdir()
    Registry(tmp_path / "registry").add(made)
    assert sorted(file.name for file in (tmp_path / "registry" / "b-2").iterdir()) == OF_AN_ARTIFACT


def test_an_artifact_of_links_is_refused_by_the_name_of_one(registry: Registry, tmp_path: Path, released: Path) -> None:
    made = shutil.copytree(released / "b-2", tmp_path / "made" / "b-2")
    shutil.move(made / "history.jsonl", tmp_path / "history")
    (made / "history.jsonl").symlink_to(tmp_path / "history")
    with pytest.raises(BadArtifact, match="history.jsonl: a link, expected the file itself"):
        registry.add(made)


@pytest.mark.parametrize("another", [False, True])
def test_of_two_that_are_added_at_once_one_stays_and_the_other_is_told(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, another: bool
) -> None:
    registry, second = Registry(tmp_path / "models"), released / "b-2"
    if another:
        changed = msgspec.structs.replace(manifest().thresholds, alert_score=Threshold(0.123))
        second = write(tmp_path, "b-2", thresholds=changed)
    copied = shutil.copy2

    def overtaken(source: Path, to: Path) -> None:
        copied(source, to)
        monkeypatch.setattr(shutil, "copy2", copied)
        registry.add(second)

    monkeypatch.setattr(shutil, "copy2", overtaken)
    if another:
        with pytest.raises(FileExistsError, match="holds another of this version"):
            registry.add(released / "b-2")
    else:
        assert registry.add(released / "b-2") == "b-2"
    assert read_manifest(registry.path("b-2")) == read_manifest(second)
    assert [path.name for path in registry.root.iterdir()] == ["b-2"]


def test_an_evaluation_written_anew_is_no_other_model(registry: Registry, released: Path, tmp_path: Path) -> None:
    copy = tmp_path / "b-2"
    shutil.copytree(released / "b-2", copy)
    (copy / "evaluation.json").write_text('{"anew": true}')
    manifest = msgspec.json.decode((copy / "manifest.json").read_bytes())
    manifest["digests"]["evaluation.json"] = digest(copy / "evaluation.json")
    (copy / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    assert registry.add(copy) == "b-2"
    manifest["thresholds"]["alert_score"]["value"] = 0.123
    (copy / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(FileExistsError, match="holds another of this version"):
        registry.add(copy)


def test_what_a_full_disk_did_not_take_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    made, before = write(tmp_path / "made", "b-9"), sorted(file.name for file in registry.root.iterdir())
    with full_disk():
        with pytest.raises(OSError, match="too large"):
            registry.add(made)
        with pytest.raises(OSError, match="too large"):
            registry.promote("b-2")
    assert sorted(file.name for file in registry.root.iterdir()) == before and registry.serving() == "b-3"


def test_what_a_killed_training_left_goes_when_a_model_is_added(registry: Registry, tmp_path: Path) -> None:
    (left := registry.root / ".new-1").mkdir()
    (going_on := registry.root / ".new-2").mkdir()
    os.utime(left, (1, 1))
    registry.add(write(tmp_path / "made", "b-9"))
    assert not left.exists() and going_on.is_dir()


def test_an_empty_registry_is_seeded_once(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.seed_if_empty()
    assert registry.serving().startswith("segments")
    registry.promote("seed-2020")
    registry.seed_if_empty()
    assert registry.serving() == "seed-2020"


def test_rolling_back_serves_what_served_before(registry: Registry) -> None:
    registry.promote("b-2")
    assert registry.rollback() == "b-3" == registry.serving()


def test_of_two_promotions_at_one_time_the_history_keeps_both(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, others = os.fsync, []

    def overtaken(file: int) -> None:
        monkeypatch.setattr(os, "fsync", written)
        others.append(threading.Thread(target=Registry(registry.root).promote, args=("seed-1",)))
        others[0].start()
        others[0].join(1)  # where nothing holds it back it is over by then, and is overwritten
        written(file)

    monkeypatch.setattr(os, "fsync", overtaken)
    registry.promote("b-2")
    others[0].join()
    assert registry.pointer() == ["seed-1", "b-2", "b-3"]


def test_a_pointer_that_another_moves_for_too_long_is_left_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.0)

    def meanwhile() -> None:
        for move in (Registry(registry.root).rollback, lambda: Registry(registry.root).promote("seed-1")):
            with pytest.raises(BlockingIOError, match="another process moves the pointer"):
                move()

    registry.promote("b-2", last=meanwhile)
    assert registry.pointer() == ["b-2", "b-3"]


def test_nothing_to_roll_back_to_is_an_error(registry: Registry) -> None:
    with pytest.raises(UnknownVersion, match="no earlier model"):
        registry.rollback()


def test_an_unknown_version_names_those_there_are(registry: Registry) -> None:
    with pytest.raises(UnknownVersion, match="'b-9': expected one of b-2, b-3, seed-1"):
        registry.promote("b-9")


def test_a_version_cannot_leave_the_folder(registry: Registry) -> None:
    with pytest.raises(UnknownVersion):
        registry.get("../registry")


def test_a_broken_artifact_is_not_promoted(registry: Registry) -> None:
    (registry.root / "b-2" / "model.keras").write_bytes(b"")
    with pytest.raises(BadArtifact):
        registry.promote("b-2")
    assert registry.serving() == "b-3"


def test_an_artifact_in_another_s_folder_is_not_promoted(registry: Registry) -> None:
    shutil.copytree(registry.root / "b-2", registry.root / "mine")
    with pytest.raises(BadArtifact, match=r"mine.*version 'b-2', expected 'mine'"):
        registry.promote("mine")


def test_an_artifact_in_another_s_folder_is_not_listed_as_that_one(registry: Registry) -> None:
    before = [manifest.version for manifest in registry.list()]
    shutil.copytree(registry.root / "b-2", registry.root / "mine")
    assert [manifest.version for manifest in registry.list()] == before


def test_the_guard_holds_a_candidate_back_unless_forced(registry: Registry) -> None:
    def guard(artifact: Artifact) -> list[str]:
        return ["example.org is blocked"]

    with pytest.raises(GuardFailed, match=r"example\.org"):
        registry.promote("b-2", guard)
    registry.promote("b-2", guard, force=True)
    assert registry.serving() == "b-2"


def test_a_version_is_never_overwritten(registry: Registry, tmp_path: Path) -> None:
    other = write(tmp_path, "b-2", notes="another")
    with pytest.raises(FileExistsError, match="b-2"):
        registry.add(other)


def test_a_release_never_prefers_the_seed_network() -> None:
    assert newest(["seed-2020", "cnn-1", "cnn-2"]) == "cnn-2"


def test_the_release_of_this_repository_is_a_registry(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert (
        "seed-2020" in registry.seed_from_released() and registry.get(registry.serving()).version == registry.serving()
    )


def test_a_uri_without_pyarrow_says_what_to_install() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        with pytest.raises(NoRemote, match="pip install pyarrow"):
            Registry("s3://bucket/models")


@pytest.fixture
def remote(tmp_path: Path, released: Path) -> Registry:
    try:
        import pyarrow  # noqa: F401

        there = True
    except ImportError:
        there = False
    need(there, "pyarrow is not installed")
    registry = Registry(f"file://{tmp_path}/remote", cache=tmp_path / "cache")
    registry.seed_from_released(released)
    return registry


def test_of_a_folder_only_the_artifact_is_uploaded(remote: Registry, tmp_path: Path) -> None:
    made = write(tmp_path / "made", "c-4")
    (made / "notes").write_text("secret")
    remote.add(made)
    assert sorted(file.name for file in (tmp_path / "remote" / "c-4").iterdir()) == OF_AN_ARTIFACT


def test_an_artifact_is_on_disk_before_a_pointer_names_it(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, registry, held = Disk(monkeypatch), Registry(tmp_path / "registry"), list[bool]()
    disk.look = lambda target: held.append(disk.holds(registry.root / "b-3")) if target.name == "serving" else None
    registry.seed_from_released(released)
    assert held == [True]


def test_what_is_mirrored_of_a_uri_is_on_disk_with_its_name(
    remote: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    assert disk.holds(Registry(f"file://{tmp_path}/remote", cache=tmp_path / "another").path("b-3"))


def test_a_registry_at_a_uri_promotes_and_rolls_back(remote: Registry) -> None:
    remote.promote("b-2")
    assert remote.rollback() == "b-3" and remote.get("b-3").version == "b-3"


def test_a_roll_back_does_not_undo_what_another_machine_promoted_meanwhile(remote: Registry, tmp_path: Path) -> None:
    other = Registry(f"file://{tmp_path}/remote", cache=tmp_path / "cache of another machine")
    remote.promote("b-2")
    with pytest.raises(BlockingIOError, match="another machine moved the pointer meanwhile"):
        remote.rollback(last=lambda: other.promote("seed-1"))
    assert remote.pointer() == ["seed-1", "b-2", "b-3"]


def test_what_is_half_uploaded_is_not_there_yet(remote: Registry, tmp_path: Path) -> None:
    made, half = write(tmp_path / "made", "b-9"), tmp_path / "remote" / "b-9"
    half.mkdir()
    shutil.copy(made / "model.keras", half)
    assert "b-9" not in [found.version for found in remote.list()]
    with pytest.raises(UnknownVersion, match="'b-9': expected one of b-2, b-3, seed-1"):
        remote.get("b-9")
    assert remote.add(made) == "b-9" == remote.get("b-9").version  # as who added it does again


def test_two_processes_of_a_machine_mirror_a_version_at_one_time(
    remote: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, other = Remote.read, Registry(f"file://{tmp_path}/remote", cache=tmp_path / "cache")

    def slow(self: Remote, name: str) -> bytes | None:
        monkeypatch.setattr(Remote, "read", read)
        other.path("b-2")
        return read(self, name)

    monkeypatch.setattr(Remote, "read", slow)
    assert read_manifest(remote.path("b-2")).version == "b-2"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["b-2"]


@pytest.mark.parametrize("kind", ["open", "link"])
def test_models_are_mirrored_where_no_other_user_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_of("k").parent.stat().st_mode & 0o777 == 0o700
    mine = cache_of("k").parent
    if kind == "open":
        mine.chmod(0o777)
    else:
        mine.rename(tmp_path / "other")
        mine.symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="expected a folder that this user alone can write"):
        cache_of("k")
