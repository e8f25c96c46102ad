"""Files, and directories of them, that a crash leaves whole: written beside their place, synced and renamed."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READABLE = 0o644  # by every user
NEW = ".new-"  # begins the name of a directory that is not yet in its place
LEFT_S = 86_400.0  # without a change, and its writer is gone: a lock would tell it sooner, but not of every machine


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


@contextmanager
def placed(directory: Path) -> Iterator[Path]:
    """A new directory to write files into, which then takes the place of `directory`: a crash leaves it there with all
    that is in them, or not at all. What killed writers left beside it a day ago or earlier goes."""
    _forget_left(directory.parent)
    written = Path(tempfile.mkdtemp(prefix=NEW, dir=directory.parent))
    try:
        yield written
        written.chmod(0o755)
        for file in written.iterdir():
            sync_file(file)
        sync_directory(written)
        os.replace(written, directory)
        sync_directory(directory.parent)
    finally:
        shutil.rmtree(written, ignore_errors=True)  # gone already, unless something failed


def _forget_left(folder: Path) -> None:
    for left in folder.glob(f"{NEW}*"):
        try:
            changed = max(path.lstat().st_mtime for path in (left, *left.iterdir()))
        except OSError:  # in its place by now, or another user's
            continue
        if changed < time.time() - LEFT_S:
            shutil.rmtree(left, ignore_errors=True)


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
