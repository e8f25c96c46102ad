"""Imports go one way: verdicts <- model, deployments, dashboard; model <- deployments <- serve_app."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "verdicts": {"verdicts"},
    "model": {"model", "verdicts"},
    "deployments": {"deployments", "model", "verdicts"},
    "serve_app": {"serve_app", "deployments", "model", "verdicts", "loadtest", "dashboard"},
    "dashboard": {"dashboard", "verdicts"},
}
FOREIGN = {"verdicts": {"ray", "tensorflow", "keras"}, "dashboard": {"ray", "tensorflow", "keras"}}


def imported(path: Path) -> set[str]:
    tops = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            tops.add(node.module.split(".")[0])
    return tops


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_point_one_way(package: str) -> None:
    ours = set(ALLOWED) | {"loadtest"}
    for path in (ROOT / package).rglob("*.py"):
        tops = imported(path)
        assert not (tops & ours) - ALLOWED[package], path
        assert not tops & FOREIGN.get(package, set()), path


@pytest.mark.parametrize("module", ["network", "train", "sampling", "grammars", "encoding", "dataset"])
def test_the_network_trains_on_any_backend_of_keras(module: str) -> None:
    assert "tensorflow" not in imported(ROOT / "model" / f"{module}.py")
