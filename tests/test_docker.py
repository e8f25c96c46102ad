"""docker/: what can be asked without an engine: the linter, the paths, the commands, the environment."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from serve_app import openapi
from serve_app.cli import PLACES
from serve_app.configuration import configuration
from serve_app.environment import HAPROXY

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


def in_a_shell(folder: Path, command: str) -> "subprocess.CompletedProcess[str]":
    """A command as a pod's bash runs it, with its variables of Ray below this folder."""
    text = (ROOT / "docker" / "environment.sh").read_text()
    text = text.replace("/opt/verdict/.venv/bin/python", sys.executable).replace("/run/verdict/i", str(folder / "i"))
    (folder / "environment.sh").write_text(text)
    bare = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=bare | {"BASH_ENV": str(folder / "environment.sh"), "METRICS_PORT": "8080"},
    )  # fmt: skip


def test_a_shell_that_starts_ray_has_our_variables(short: Path) -> None:
    asked = f'echo "$RAY_AUTH_MODE $RAY_enable_metrics_collection ${HAPROXY} $RAY_SERVE_HAPROXY_BINARY_PATH"'
    said = in_a_shell(short, asked)
    assert said.stdout.split() == ["token", "1", "1", str(short / "i" / "haproxy")], said.stderr


def test_a_probe_of_kuberays_starts_no_python_first(short: Path) -> None:
    """Each started one within its two seconds, and wrote the starter of HAProxy anew beside a HAProxy that starts."""
    said = in_a_shell(short, "wget --version; echo ran ${RAY_AUTH_MODE:-bare}")
    assert said.stdout.splitlines()[-1] == "ran bare" and not (short / "i").exists()


def exposed(kind: str) -> int:
    """The one port of an image that serves."""
    [port] = instructions(ROOT / "docker" / f"Dockerfile.{kind}", "EXPOSE")
    return int(port)


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_health_check_asks_what_is_served_and_needs_no_token(kind: str) -> None:
    [check] = instructions(ROOT / "docker" / f"Dockerfile.{kind}", "HEALTHCHECK")
    port, path = re.findall(r'http://127\.0\.0\.1:(\d+)(/\w+)"', check)[0]
    operation = openapi.document()["paths"][path]["get"]
    assert int(port) == exposed(kind) == configuration()["http_options"]["port"] and "security" not in operation


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_what_it_keeps_lies_on_its_volume(kind: str) -> None:
    [volume] = instructions(ROOT / "docker" / f"Dockerfile.{kind}", "VOLUME")
    kept = configuration()["applications"][0]["args"]
    for key in ("store_url", "registry", "spool_dir"):
        assert kept[key].removeprefix("sqlite://").startswith(f"{volume}/"), key
    [made] = re.findall(r"install -d -o (\w+) -m 0700 (.*)$", " ".join(instructions(
        ROOT / "docker" / f"Dockerfile.{kind}", "RUN")))  # fmt: skip
    assert volume in made[1].split() and "/run/verdict" in made[1].split()


def test_images_have_the_languages_that_are_asked_for() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    for kind in ("cpu", "gpu"):
        [image] = instructions(ROOT / "docker" / f"Dockerfile.{kind}", "FROM")
        [version] = re.findall(r"^python:([\d.]+)-", image)
        assert SpecifierSet(needed).contains(f"{version}.0")
    [go] = re.findall(r"(?m)^go ([\d.]+)$", (ROOT / "plugin" / "go.mod").read_text())
    builder = instructions(ROOT / "docker" / "Dockerfile.coredns", "FROM")[0]
    assert Version(re.findall(r"^golang:([\d.]+)-", builder)[0]) >= Version(".".join(go.split(".")[:2]))


def test_what_builds_the_package_is_locked() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    locked = (ROOT / "locks" / "tools.txt").read_text()
    assert all(re.search(rf"(?m)^{re.escape(Requirement(name).name)}==", locked) for name in wanted)
