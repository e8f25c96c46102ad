"""A model artifact: a directory of weights and a manifest, checked before it is believed (contract 5).

model.keras      the network, weights and all; loaded with safe_mode, after its digest
manifest.json    `model.manifest.Manifest`
history.jsonl    one line an epoch of its training
evaluation.json  the report of `verdict evaluate`
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from model.encoding import Encoding, UnknownEncoding, encoder
from model.manifest import FORMAT, HEADS, Manifest
from verdicts.files import placed
from verdicts.policy import Thresholds

NETWORK, MANIFEST, HISTORY, EVALUATION = "model.keras", "manifest.json", "history.jsonl", "evaluation.json"


class BadArtifact(ValueError):
    """An artifact that must not be served; the message names the file and what was expected."""


class Artifact(NamedTuple):
    """A checked artifact with its network in memory."""

    path: Path
    manifest: Manifest
    network: Any  # keras.Model: uint8 (B, W) -> logits (B, heads)

    @classmethod
    def load(cls, path: str | Path) -> "Artifact":
        """Load and check the artifact in this directory; raises `BadArtifact`."""
        path = Path(path)
        manifest = read_manifest(path)
        try:
            encoding = encoder(manifest.encoding)
        except UnknownEncoding as error:
            raise BadArtifact(f"{path / MANIFEST}: {error}") from error
        check_digests(path, manifest)
        return cls(path, manifest, _load_network(path / NETWORK, encoding, len(manifest.heads)))

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def encoding(self) -> Encoding:
        return encoder(self.manifest.encoding)

    def thresholds(self) -> Thresholds:
        """The artifact's own thresholds, as policy compares them."""
        return self.manifest.policy_thresholds()


def read_manifest(path: str | Path) -> Manifest:
    """The manifest of the artifact in this directory, without loading its network; raises `BadArtifact`."""
    file = Path(path) / MANIFEST
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except OSError as error:
        raise BadArtifact(f"{file}: {error.strerror}, expected the manifest of a model artifact") from error
    except msgspec.DecodeError as error:
        raise BadArtifact(f"{file}: {error}") from error
    if manifest.format != FORMAT:
        raise BadArtifact(f"{file}: format {manifest.format}, expected {FORMAT}")
    if manifest.heads not in HEADS:
        raise BadArtifact(f"{file}: heads {manifest.heads}, expected one of {HEADS}")
    if set(manifest.calibration) != set(manifest.heads):
        raise BadArtifact(f"{file}: calibration of {sorted(manifest.calibration)}, expected {manifest.heads}")
    if not is_version(manifest.version):
        raise BadArtifact(f"{file}: version {manifest.version!r}, expected letters, digits, `.`, `_`, `-`")
    return manifest


def check_digests(path: Path, manifest: Manifest) -> None:
    """Raise `BadArtifact` unless every file has the digest the manifest states."""
    if NETWORK not in manifest.digests:
        raise BadArtifact(f"{path / MANIFEST}: no digest of {NETWORK}")
    for name, stated in manifest.digests.items():
        if name not in (NETWORK, HISTORY, EVALUATION):
            raise BadArtifact(f"{path / MANIFEST}: digest of unknown file {name!r}")
        try:
            found = digest(path / name)
        except OSError as error:
            raise BadArtifact(f"{path / name}: {error.strerror}") from error
        if found != stated:
            raise BadArtifact(f"{path / name}: SHA-256 {found[:12]}..., the manifest states {stated[:12]}...")


def save(
    path: str | Path,
    network: Any,
    manifest: Manifest,
    history: Iterable[dict[str, Any]] = (),
    evaluation: dict[str, Any] | None = None,
) -> Manifest:
    """Write an artifact in whole or not at all; the directory must not exist. Returns the manifest with digests.

    Raises `FileExistsError`.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists, expected a new directory for artifact {manifest.version}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with placed(path) as staging:
        network.save(staging / NETWORK)
        (staging / HISTORY).write_text("".join(json.dumps(line) + "\n" for line in history))
        (staging / EVALUATION).write_text(json.dumps(evaluation or {}, indent=1, sort_keys=True) + "\n")
        digests = {name: digest(staging / name) for name in (NETWORK, HISTORY, EVALUATION)}
        manifest = msgspec.structs.replace(manifest, digests=digests)
        (staging / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    return manifest


def is_version(text: str) -> bool:
    """True for a version that is safe as a folder's name."""
    return 0 < len(text) <= 64 and text[0].isalnum() and all(c.isalnum() or c in "._-" for c in text) and text.isascii()


def digest(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _load_network(file: Path, encoding: Encoding, heads: int) -> Any:
    import keras  # TensorFlow takes seconds to import, and reading a manifest needs none of it

    try:
        network = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds; all mean the same here
        raise BadArtifact(f"{file}: {type(error).__name__}: {error}") from error
    cells = 1
    for size in network.input_shape[1:]:
        cells *= size or encoding.width
    if cells != encoding.width:
        raise BadArtifact(f"{file}: input {network.input_shape}, expected {encoding.width} cells ({encoding.name})")
    if tuple(network.output_shape) != (None, heads):
        raise BadArtifact(f"{file}: output {network.output_shape}, expected (None, {heads})")
    return network
