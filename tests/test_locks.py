"""A lock is one process's, until that lets it go or dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from verdicts.locks import held

HOLDS = (
    "import sys, pathlib; from verdicts.locks import held\n"
    "with held(pathlib.Path(sys.argv[1]), RuntimeError()): print('held', flush=True); sys.stdin.read()"
)


class Busy(Exception):
    pass


def test_a_lock_is_refused_while_another_process_holds_it_and_free_when_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(Busy), held(path, Busy()):
            pass
        other.kill()
        with held(path, Busy(), wait_s=30):
            pass
    with held(path, Busy()):
        pass


def test_a_lock_whose_file_was_removed_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path, Busy()):
        path.unlink()
        with held(path, Busy()), pytest.raises(Busy), held(path, Busy()):
            pass
    with pytest.raises(FileNotFoundError), held(tmp_path / "away" / "lock", Busy()):
        pass


def test_what_the_holder_raises_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError), held(tmp_path / "lock", Busy()):
        raise KeyError
    with held(tmp_path / "lock", Busy()):
        pass
