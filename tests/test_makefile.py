"""What `make` would do, by `make -n`."""

import subprocess
import tomllib
from pathlib import Path
from shutil import copy

import pytest

from tests.readme import ROOT


@pytest.mark.parametrize(
    "installed, changed, target, wanted",
    [
        (["tools", "run"], "run", "run", "run"),
        (["tools", "run", "dev"], "run", "run", "dev"),  # what `git pull && make run` has to renew is all of it
        (["tools", "dev"], "run", "run", "dev"),
        (["tools", "run", "dev"], "dev", "dev", "dev"),
        (["tools", "run", "dev"], "dev", "run", None),
        (["tools", "run", "dev"], "none", "run", None),
        (["tools"], "none", "run", "run"),
    ],
)
def test_a_lock_that_changed_is_installed(
    tmp_path: Path, installed: list[str], changed: str, target: str, wanted: str | None
) -> None:
    copy(ROOT / "Makefile", tmp_path)
    for name in (".venv", "locks"):
        (tmp_path / name).mkdir()
    for name in ("pyproject.toml", *(f"locks/{lock}.txt" for lock in ("tools", "go", "run", "dev"))):
        (tmp_path / name).touch()
    for stamp in installed:
        (tmp_path / ".venv" / f"{stamp}.done").touch()
    told = subprocess.run(
        ["make", "-n", "-W", f"locks/{changed}.txt", f".venv/{target}.done"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert [lock for lock in ("run", "dev") if f"--require-hashes -r locks/{lock}.txt" in told] == (
        [wanted] if wanted else []
    )


def test_locks_are_made_for_the_oldest_python_that_is_promised() -> None:
    """Made for the Python of who makes them, a lock held a package that refuses Debian's 3.11.2."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = wanted.split(",")[0].removeprefix(">=")
    told = subprocess.run(["make", "-n", "locks"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    compiled = [line for line in told.splitlines() if "pip compile" in line]
    assert len(compiled) == 3 and all(f"--python-version {oldest} " in line for line in compiled)
