"""What `make` would do, by `make -n`."""

import subprocess
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
