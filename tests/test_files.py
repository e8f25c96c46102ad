import os
import time
from pathlib import Path

import pytest

from verdicts.files import LEFT_S, NEW, READABLE, placed, write_atomically


@pytest.mark.parametrize(("given", "mode"), [((), 0o600), ((READABLE,), 0o644)])
def test_a_file_is_of_its_owner_alone_unless_said_otherwise(tmp_path: Path, given: tuple[int, ...], mode: int) -> None:
    file = tmp_path / "kept"
    file.touch(0o666)
    write_atomically(file, b"new", *given)
    assert file.read_bytes() == b"new" and file.stat().st_mode & 0o777 == mode


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kept"
    file.write_bytes(b"former")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{file}'"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"former" and list(tmp_path.iterdir()) == [file]


def test_a_directory_takes_its_place_in_whole(tmp_path: Path) -> None:
    with placed(tmp_path / "b-1") as written:
        (written / "model").write_bytes(b"new")
        assert not (tmp_path / "b-1").exists()
    assert (tmp_path / "b-1" / "model").read_bytes() == b"new" and list(tmp_path.iterdir()) == [tmp_path / "b-1"]


def test_what_fails_to_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), placed(tmp_path / "b-1") as written:
        (written / "model").write_bytes(b"a part")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_goes_a_day_later_and_not_what_somebody_writes(tmp_path: Path) -> None:
    """The copy of an old file keeps its time, and the directory of a long copy its own."""
    left, slow, copied = (tmp_path / f"{NEW}{name}" for name in ("left", "slow", "copied"))
    aged = time.time() - LEFT_S - 60
    for directory in (left, slow, copied):
        directory.mkdir()
        (directory / "model").write_bytes(b"a part")
    for path in (left / "model", left, slow, copied / "model"):
        os.utime(path, (aged, aged))
    with placed(tmp_path / "b-1"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [copied.name, slow.name, "b-1"]
