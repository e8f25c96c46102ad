"""The Go side: its own tests, under the race detector where a C compiler is at hand."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from serve_app import golang
from tests.requires import need_go


@pytest.fixture
def go() -> Path:
    return need_go()


@pytest.mark.golang
@pytest.mark.timeout(900)
def test_the_plugin_passes_its_own_tests(go: Path) -> None:
    race = ["-race"] if shutil.which("gcc") else []
    env = os.environ | {"CGO_ENABLED": "1" if race else "0"}
    done = subprocess.run(  # lint vets; once more, for the race detector, would take half a minute of a processor
        [str(go), "test", "-vet=off", *race, "./..."],
        cwd=golang.PLUGIN,
        env=env,
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]


@pytest.mark.golang
@pytest.mark.timeout(900)
def test_coredns_builds_and_carries_the_plugin(go: Path) -> None:
    said = subprocess.run([str(golang.build()), "-plugins"], capture_output=True, text=True, check=True).stdout
    assert "verdict" in said.split()
    assert (golang.BUILD / "coredns").resolve() == golang.build()  # as the documents name it


def test_an_old_go_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.19.8\n")
    old.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: str(old))
    monkeypatch.setattr(golang.sysconfig, "get_path", lambda _name: str(tmp_path))
    with pytest.raises(golang.NoGo, match=r"1\.26 or later is needed .*1\.19"):
        golang.find()
