"""The registry's commands, as a person types them."""

import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from model.registry import LOCK, Registry
from model.registry_commands import models
from tests.model_fixtures import manifest, write
from verdicts.locks import held

pytestmark = pytest.mark.patient


@pytest.fixture
def registry(tmp_path: Path) -> str:
    write(tmp_path / "made", "b-1")
    write(tmp_path / "made", "b-2")
    Registry(tmp_path / "models").seed_from_released(tmp_path / "made")
    return str(tmp_path / "models")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(models, arguments)
    return result.exit_code, result.output


def test_models_marks_the_serving_one(registry: str) -> None:
    _, output = run("list", "--registry", registry)
    assert [line[:5] for line in output.splitlines()] == ["  b-1", "* b-2"]


def test_a_model_in_another_s_folder_is_told_as_one_that_cannot_be_promoted(registry: str) -> None:
    shutil.copytree(Path(registry) / "b-1", Path(registry) / "mine")
    _, output = run("list", "--registry", registry)
    assert "mine\tcannot be read" in output and "version 'b-1', expected 'mine', as the folder is named" in output


def test_a_model_that_fails_the_guard_is_promoted_only_by_force(registry: str) -> None:
    code, output = run("promote", "b-1", "--registry", registry)
    assert code == 1 and "guard set" in output and output.endswith("; --force lets it serve all the same\n")
    assert run("promote", "b-1", "--force", "--registry", registry) == (0, "b-1 serves\n")
    assert run("rollback", "--registry", registry) == (0, "b-2 serves\n")


def test_who_promotes_a_model_that_never_blocks_is_told(registry: str, tmp_path: Path) -> None:
    unmeasured = manifest().thresholds
    unmeasured = msgspec.structs.replace(unmeasured, block=msgspec.structs.replace(unmeasured.block, bound=None))
    Registry(registry).add(write(tmp_path / "tuned", "b-3", thresholds=unmeasured))
    told = "b-3 serves\nb-3 never blocks, it only alerts: its rate of false positives was not measured\n"
    assert run("promote", "b-3", "--force", "--registry", registry) == (0, told)


@pytest.mark.parametrize("command", [("promote", "b-1", "--force"), ("rollback",)])
def test_a_pointer_that_cannot_be_moved_is_an_error_of_one_line(
    registry: str, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr("model.registry.WAIT_S", 0.0)
    with held(Path(registry) / LOCK, RuntimeError()):
        code, output = run(*command, "--registry", registry)
    assert (code, output) == (1, f"Error: {registry}: another process moves the pointer\n")


def test_a_registry_that_cannot_be_listed_is_an_error_of_one_line(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Registry) -> list[str]:
        raise PermissionError(13, "Permission denied", registry)

    monkeypatch.setattr(Registry, "versions", broken)
    assert run("list", "--registry", registry) == (1, f"Error: [Errno 13] Permission denied: '{registry}'\n")


def test_a_registry_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    code, output = run("list", "--registry", str(tmp_path / "absent"))
    assert code == 0 and "absent: no model yet" in output and not (tmp_path / "absent").exists()
