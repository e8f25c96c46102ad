"""Artifacts are checked before they are believed."""

import json
from pathlib import Path

import pytest

from model.artifact import Artifact, BadArtifact, read_manifest
from tests.model_fixtures import write


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change(path: Path, **fields: object) -> Path:
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return path


def test_an_artifact_loads_as_it_was_saved(made: Path) -> None:
    artifact = Artifact.load(made)
    assert artifact.version == "test-1" and artifact.network.count_params() > 0


def test_a_changed_network_is_refused(copy: Path) -> None:
    (copy / "model.keras").write_bytes((copy / "model.keras").read_bytes() + b"x")
    with pytest.raises(BadArtifact, match=r"model\.keras: SHA-256"):
        Artifact.load(copy)


def test_a_network_file_that_is_none_is_refused(copy: Path) -> None:
    import hashlib

    (copy / "model.keras").write_bytes(b"not a network")
    digests = {"model.keras": hashlib.sha256(b"not a network").hexdigest()}
    with pytest.raises(BadArtifact, match="model.keras"):
        Artifact.load(change(copy, digests=digests))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, "format 2, expected 1"),
        ({"encoding": "morse"}, "encoding 'morse': expected"),
        ({"surprise": 1}, "surprise"),
        ({"heads": ["mood"]}, "heads"),
        ({"version": "../up"}, "version '../up'"),
        ({"digests": {}}, "no digest of model.keras"),
        ({"digests": {"model.keras": "0", "../../passwd": "0"}}, "unknown file|SHA-256"),
        ({"encoding": "codepoints-256"}, "output|input"),
    ],
)
def test_what_a_loader_does_not_know_it_refuses(copy: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(BadArtifact, match=message):
        if "encoding" in fields and fields["encoding"] == "codepoints-256":
            fields = fields | {"heads": ["malicious"], "calibration": {"malicious": {"slope": 1.0, "shift": 0.0}}}
        Artifact.load(change(copy, **fields))


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match=r"manifest\.json: No such file"):
        read_manifest(tmp_path)


def test_a_bounded_block_threshold_is_passed_to_policy(made: Path) -> None:
    assert Artifact.load(made).thresholds().block == 0.9


@pytest.mark.parametrize("bound", [None, 2e-4])
def test_a_block_threshold_without_a_good_bound_never_fires(copy: Path, bound: float | None) -> None:
    limits = json.loads((copy / "manifest.json").read_text())["thresholds"]
    limits["block"]["bound"] = bound
    assert read_manifest(change(copy, thresholds=limits)).policy_thresholds().block is None
