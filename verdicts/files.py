"""Files, and directories of them, that a crash leaves whole: written beside their place, synced and renamed."""

import os
import tempfile
from pathlib import Path

READABLE = 0o644  # by every user


def write_atomically(path: Path, content: bytes | memoryview, mode: int = 0o600) -> None:
    """Replace a file so that a crash leaves the former content or the new, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk says of none which it is
            error.filename = str(path)
        raise
    sync_directory(path.parent)


def place(written: Path, directory: Path) -> None:
    """Rename a directory of files so that a crash leaves it with all that is in them, or not there at all."""
    for file in written.iterdir():
        sync_file(file)
    sync_directory(written)
    os.replace(written, directory)
    sync_directory(directory.parent)


def sync_file(file: Path) -> None:
    """Make what others wrote into a file durable."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
