"""The model's commands, as a person types them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from model.commands import classify, models, train
from tests.model_fixtures import write


@pytest.fixture
def registry(tmp_path: Path) -> str:
    from model.registry import Registry

    write(tmp_path / "made", "b-1")
    write(tmp_path / "made", "b-2")
    Registry(tmp_path / "models").seed_from_released(tmp_path / "made")
    return str(tmp_path / "models")


def run(command: object, *arguments: str, text: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(command, arguments, input=text)  # type: ignore[arg-type]
    return result.exit_code, result.output


def test_classify_prints_name_label_score_generated() -> None:
    code, output = run(classify, "--model", "seed-2020", "wikipedia.org", "localhost")
    lines = [line.split("\t") for line in output.splitlines()]
    assert code == 0 and [line[0] for line in lines] == ["wikipedia.org", "localhost"]
    assert all(len(line) == 4 for line in lines)


def test_classify_reads_standard_input() -> None:
    code, output = run(
        classify, "--model", "seed-2020", "-", text="".join(f"site{i}.example.com.de\n" for i in range(70))
    )
    assert code == 0 and len(output.splitlines()) == 70


def test_classify_explains_as_json() -> None:
    code, output = run(classify, "--model", "seed-2020", "--json", "--explain", "wikipedia.org")
    assert code == 0 and len(json.loads(output)["explanation"]["characters"]) == len("wikipedia.org")


def test_an_artifact_that_is_none_is_named() -> None:
    code, output = run(classify, "--model", "/nonexistent", "a.de")
    assert code == 1 and "/nonexistent/manifest.json" in output


def test_models_marks_the_serving_one(registry: str) -> None:
    _, output = run(models, "list", "--registry", registry)
    assert [line[:5] for line in output.splitlines()] == ["  b-1", "* b-2"]


def test_a_model_that_fails_the_guard_is_promoted_only_by_force(registry: str) -> None:
    code, output = run(models, "promote", "b-1", "--registry", registry)
    assert code == 1 and "guard set" in output
    assert run(models, "promote", "b-1", "--force", "--registry", registry) == (0, "b-1 serves\n")
    assert run(models, "rollback", "--registry", registry) == (0, "b-2 serves\n")


def test_the_experiment_of_2020_prints_each_seed_and_the_mean(tmp_path: Path) -> None:
    (tmp_path / "benign_domains.csv").write_text(
        "Rank,Domain,Open Page Rank\n" + "".join(f"{i},site{i}.com,9\n" for i in range(20))
    )
    (tmp_path / "malicious_domains.txt").write_text("".join(f"0{i}x.net\n" for i in range(20)))
    arguments = ("--network", "seed", "--rows", "10", "--epochs", "1", "--seeds", "2", "--data", str(tmp_path))
    code, output = run(train, *arguments)
    assert code == 0 and [line.split("\t")[0] for line in output.splitlines()[-3:]] == ["seed 0", "seed 1", "mean"]


def test_missing_data_is_named() -> None:
    code, output = run(train, "--network", "seed", "--rows", "10", "--data", "/nonexistent")
    assert code == 1 and "/nonexistent/benign_domains.csv" in output


def test_a_registry_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    code, output = run(models, "list", "--registry", str(tmp_path / "absent"))
    assert code == 0 and "absent: no model yet" in output and not (tmp_path / "absent").exists()
