"""The commands that a reader types while `make run` runs, typed against a running `verdict up`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Stack
from tests.readme import ROOT, Block, commands, runnable
from tests.requires import need

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
OURS = {"1053": "dns_port", "8053": "http_port"}  # what the documents say, and what it is here


@pytest.mark.e2e
@pytest.mark.cluster
@pytest.mark.golang
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", runnable("beside", "sh"), ids=lambda block: block.id)
def test_a_command_beside_make_run_runs(block: Block, stack: Stack) -> None:
    need(shutil.which("dig") or "dig " not in block.text, "dig is not installed (Debian: dnsutils)")
    for command in commands(block):
        for said, name in OURS.items():
            command = command.replace(said, str(getattr(stack, name)))
        command = command.replace(".verdict/", f"{stack.home}/")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=ROOT, env={**os.environ, "PATH": PATH},
            capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.id}: {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
