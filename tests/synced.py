"""What of a folder would be there after the machine lost its power."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


class Disk:
    """Notes what is synced, of files their size, of directories the names in them. `look` is called before a rename."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sizes: dict[int, int] = {}  # by inode
        self._names: dict[int, dict[str, int]] = {}
        self.look: Callable[[Path], None] = lambda target: None
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self._note)
        monkeypatch.setattr(os, "replace", self._rename)

    def holds(self, path: Path) -> bool:
        """Whether this file, or this directory with all that is in it, is on disk as it is now, by its name."""
        found = path.stat()
        named = self._names.get(path.parent.stat().st_ino, {}).get(path.name) == found.st_ino
        if path.is_dir():
            return named and all(map(self.holds, path.iterdir()))
        return named and self._sizes.get(found.st_ino) == found.st_size

    def _note(self, handle: int) -> None:
        self._fsync(handle)
        found, path = os.fstat(handle), Path(f"/proc/self/fd/{handle}").readlink()
        if path.is_dir():
            self._names[found.st_ino] = {one.name: one.stat().st_ino for one in path.iterdir()}
        else:
            self._sizes[found.st_ino] = found.st_size

    def _rename(self, source: str | Path, target: str | Path) -> None:
        self.look(Path(target))
        self._replace(source, target)
