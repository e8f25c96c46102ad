"""A registry's files at a URI, through pyarrow's filesystems."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path


class NoRemote(Exception):
    """A registry URI on a machine without pyarrow, or one that pyarrow does not know."""


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
        self._directory = fs.FileType.Directory
        self.uri = uri
        self.key = hashlib.sha256(uri.encode()).hexdigest()[:16]

    def folders(self) -> list[str]:
        """The folders directly below the URI."""
        entries = self._files.get_file_info(self._selector(self._root, allow_not_found=True))
        return [entry.base_name for entry in entries if entry.type == self._directory]

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

    def upload(self, directory: Path, name: str) -> None:
        """Copy a flat directory to the folder `name`; the manifest goes last, so that it vouches for the rest."""
        self._files.create_dir(f"{self._root}/{name}")
        for file in sorted(directory.iterdir(), key=lambda file: file.name == "manifest.json"):
            self.write(f"{name}/{file.name}", file.read_bytes())

    def download(self, name: str, directory: Path) -> None:
        """Copy the folder `name` to a new local directory, in whole or not at all."""
        staging = Path(tempfile.mkdtemp(prefix=".new-", dir=directory.parent))
        try:
            for entry in self._files.get_file_info(self._selector(f"{self._root}/{name}")):
                (staging / entry.base_name).write_bytes(self.read(f"{name}/{entry.base_name}") or b"")
            os.replace(staging, directory)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
