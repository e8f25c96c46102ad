import os
from pathlib import Path

import pytest

from verdicts.files import READABLE, write_atomically


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
