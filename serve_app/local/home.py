"""Opens a home for one `verdict up` at a time, and clears what a killed one left behind."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from serve_app.local.options import Home
from serve_app.local.processes import end_marked

MAX_FOLDER = 10  # octets, so that the sockets below the run folder have paths of less than 108


class HomeBusy(RuntimeError):
    """Another `verdict up` has this home."""


class Opened(NamedTuple):
    """A home that is ours, and `run`: a short path for sockets, of this user alone, gone at the end."""

    home: Home
    run: Path
    cleared: int  # processes that a killed predecessor had left


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Take the home, making it where it is absent. Raises `HomeBusy`, `OSError`."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    home = Home(path.resolve())
    for folder in (home.logs, home.spool, home.models, home.resolver_token.parent):
        folder.mkdir(exist_ok=True, mode=0o700)
    with home.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeBusy(
                f"another `verdict up` runs with {home.path}: stop it, or name another folder with --home"
            ) from None
        cleared = end_marked(home.mark)
        _remove_run(home)
        run = Path(tempfile.mkdtemp(prefix="verdict-", dir=_short_folder()))
        home.run_record.write_text(f"{run}\n")
        try:
            yield Opened(home, run, cleared)
        finally:
            _remove_run(home)


def _short_folder() -> Path:
    """Where temporary files go, if that leaves room for a socket's path, else /tmp."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= MAX_FOLDER else Path("/tmp")


def _remove_run(home: Home) -> None:
    try:
        run = Path(home.run_record.read_text().strip())
    except FileNotFoundError:
        return
    # The record could have been damaged: remove only what looks like ours.
    if run.name.startswith("verdict-") and run.is_dir() and run.stat().st_uid == os.getuid():
        shutil.rmtree(run, ignore_errors=True)
    home.run_record.unlink(missing_ok=True)
