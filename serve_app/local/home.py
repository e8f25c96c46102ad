"""Opens a home, each part for one `verdict up` at a time, and clears what a killed one left behind."""

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from serve_app.local.options import PARTS, Home, Part
from serve_app.local.processes import end_marked
from verdicts.files import write_atomically
from verdicts.locks import held

MAX_FOLDER = 10  # octets, so that the sockets below the run folder have paths of less than 108


class HomeBusy(RuntimeError):
    """Another `verdict up` runs this part of the home."""


class Opened(NamedTuple):
    """A home that is ours, and `run`: a short path for sockets, of this user alone, gone at the end."""

    home: Home
    run: Path
    cleared: int  # processes that a killed predecessor had left


@contextmanager
def opened(path: Path, parts: Sequence[Part] = PARTS) -> Iterator[Opened]:
    """Take these parts of the home, making it where it is absent. Raises `HomeBusy`, `OSError`."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    home = Home(path.resolve())
    for folder in (home.logs, home.spool, home.models, home.resolver_token.parent):
        folder.mkdir(exist_ok=True, mode=0o700)
    with ExitStack() as locks:
        for part in parts:
            locks.enter_context(held(home.lock(part), _busy(home, part)))
        cleared = sum(end_marked(home.mark_of(part)) for part in parts)
        _remove_runs(home, parts)
        run = Path(tempfile.mkdtemp(prefix="verdict-", dir=_short_folder()))
        try:
            for part in parts:
                write_atomically(home.run_record(part), f"{run}\n".encode())
            yield Opened(home, run, cleared)
        finally:
            shutil.rmtree(run, ignore_errors=True)  # where no record of it could be written
            _remove_runs(home, parts)


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Held while the home is prepared: parts that start at one time do it one after another."""
    with held(home.lock("prepare"), _busy(home, "preparation"), math.inf):
        yield


def _busy(home: Home, part: str) -> HomeBusy:
    return HomeBusy(f"another `verdict up` runs the {part} of {home.path}: stop it, or name another folder with --home")


def _short_folder() -> Path:
    """Where temporary files go, if that leaves room for a socket's path, else /tmp."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= MAX_FOLDER else Path("/tmp")


def _remove_runs(home: Home, parts: Sequence[Part]) -> None:
    for part in parts:
        record = home.run_record(part)
        try:
            run = Path(record.read_text().strip())
        except FileNotFoundError:
            continue
        # The record could have been damaged: remove only what looks like ours.
        if run.name.startswith("verdict-") and run.is_dir() and run.stat().st_uid == os.getuid():
            shutil.rmtree(run, ignore_errors=True)
        record.unlink(missing_ok=True)
