"""docker/: what can be asked without an engine: the linter, the paths, the commands, the environment."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.cli import PLACES
from serve_app.environment import HAPROXY, short_directory

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions(path: Path, name: str) -> list[str]:
    """The arguments of each instruction of this name, its lines joined."""
    joined = re.sub(r"\\\n\s*", "", path.read_text())
    return [line.split(" ", 1)[1] for line in joined.splitlines() if line.startswith(name + " ")]


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert {path.suffix for path in FILES} == {".cpu", ".gpu", ".coredns"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_linter_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run([str(HADOLINT), str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_everything_copied_is_there_and_not_ignored(path: Path) -> None:
    ignored = set((ROOT / ".dockerignore").read_text().split())
    copied = [words for words in map(str.split, instructions(path, "COPY")) if not words[0].startswith("--from")]
    assert copied
    for *sources, _ in copied:
        for source in sources:
            assert (ROOT / source).exists() and source.rstrip("/") not in ignored, source


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_does_not_run_as_root(path: Path) -> None:
    assert instructions(path, "USER") == ["10001"]


@pytest.mark.parametrize("kind, lock", [("cpu", "locks/run.txt"), ("gpu", "locks/gpu.txt")])
def test_packages_are_installed_as_make_installs_them(kind: str, lock: str) -> None:
    runs = " ".join(instructions(ROOT / "docker" / f"Dockerfile.{kind}", "RUN"))
    made = (ROOT / "Makefile").read_text()
    for common in ("--require-hashes -r locks/tools.txt", "--compile-bytecode --require-hashes -r ", "--no-deps "):
        assert common in runs and common in made
    assert f"--require-hashes -r {lock}" in runs


def test_the_locks_agree_so_that_cpu_and_gpu_serve_the_same() -> None:
    pins = {
        lock: set(re.findall(r"(?m)^([a-z0-9._-]+==\S+)", (ROOT / "locks" / f"{lock}.txt").read_text()))
        for lock in ("run", "gpu")
    }
    assert pins["run"] < pins["gpu"]
    assert all(name.startswith("nvidia-") for name in pins["gpu"] - pins["run"])


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_command_is_one_of_ours(kind: str) -> None:
    [command] = instructions(ROOT / "docker" / f"Dockerfile.{kind}", "CMD")
    words = re.findall(r'"([^"]+)"', command)
    assert words[0] == "verdict" and words[1] in PLACES
    assert f"COPY serve_app/serve.yaml {words[2]}" in (ROOT / "docker" / f"Dockerfile.{kind}").read_text()


def test_a_shell_that_starts_ray_has_our_variables() -> None:
    directory = short_directory()
    text = (ROOT / "docker" / "environment.sh").read_text()
    text = text.replace("/opt/verdict/.venv/bin/python", sys.executable).replace("/run/verdict/i", str(directory / "i"))
    (directory / "environment.sh").write_text(text)
    bare = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    asked = f'echo "$RAY_AUTH_MODE $RAY_enable_metrics_collection ${HAPROXY} $RAY_SERVE_HAPROXY_BINARY_PATH"'
    said = subprocess.run(
        ["bash", "-c", asked], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=bare | {"BASH_ENV": str(directory / "environment.sh"), "METRICS_PORT": "8080"},
    )  # fmt: skip
    assert said.stdout.split() == ["token", "1", "1", str(directory / "i" / "haproxy")], said.stderr
