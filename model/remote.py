"""A registry's files at a URI, through pyarrow's filesystems."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from verdicts.files import placed


class NoRemote(Exception):
    """A registry URI on a machine without pyarrow, or one that pyarrow does not know."""


def cache_of(key: str) -> Path:
    """The folder into which a registry of this key is mirrored; raises OSError where another user could write there."""
    mine = Path(tempfile.gettempdir()) / f"verdict-models-{os.getuid()}"
    mine.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = mine.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022:
        raise OSError(f"{mine}: expected a folder that this user alone can write, for models are loaded from there")
    return mine / key


class Remote:
    """Folders of files below one URI. A file is written in one call: object stores make that atomic."""

    def __init__(self, uri: str):
        try:
            from pyarrow import fs
        except ImportError as error:
            raise NoRemote(f"model registry {uri}: needs the package pyarrow (pip install pyarrow)") from error
        try:
            self._files, self._root = fs.FileSystem.from_uri(uri)
        except Exception as error:
            raise NoRemote(f"model registry {uri}: {error}") from error
        self._selector = fs.FileSelector
        self.uri = uri
        self.key = hashlib.sha256(uri.encode()).hexdigest()[:16]

    def folders(self) -> list[str]:
        """The folders directly below the URI that are whole: their manifest, which goes last, is there."""
        entries = self._files.get_file_info(self._selector(self._root, allow_not_found=True, recursive=True))
        manifests = [PurePosixPath(entry.path).parent for entry in entries if entry.base_name == "manifest.json"]
        return [folder.name for folder in manifests if folder.parent == PurePosixPath(self._root)]

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, or None when it is absent."""
        try:
            with self._files.open_input_stream(f"{self._root}/{name}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file."""
        with self._files.open_output_stream(f"{self._root}/{name}") as stream:
            stream.write(data)

    def upload(self, files: Iterable[Path], name: str) -> None:
        """Copy files to the folder `name`, in their order."""
        self._files.create_dir(f"{self._root}/{name}")
        for file in files:
            self.write(f"{name}/{file.name}", file.read_bytes())

    def download(self, name: str, directory: Path) -> None:
        """Copy the folder `name` to a new local directory, in whole or not at all."""
        try:
            with placed(directory) as staging:
                for entry in self._files.get_file_info(self._selector(f"{self._root}/{name}")):
                    (staging / entry.base_name).write_bytes(self.read(f"{name}/{entry.base_name}") or b"")
        except OSError:
            if not directory.is_dir():  # else another process was faster
                raise
