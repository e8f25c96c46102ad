"""The dashboard on made-up traffic: what it leaves behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_demonstration_that_is_told_to_end_before_it_serves_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dashboard.demo", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as demo:
        end = time.monotonic() + 60.0
        while not list(tmp_path.rglob("demo.db")) and time.monotonic() < end:
            time.sleep(0.05)
        demo.terminate()
        said = demo.communicate(timeout=120)[1]
    assert (demo.returncode, said, list(tmp_path.iterdir())) == (0, b"", [])
