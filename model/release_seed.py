"""The seed network as an artifact, trained on the whole of the two lists of 2020."""

import hashlib
from pathlib import Path
from typing import Any

from model.artifact import save
from model.experiment2020 import Lists, Progress, accuracy, fit, split
from model.manifest import FORMAT, Limits, Manifest, Platt, Source, Threshold


def release(lists: Lists, path: Path, epochs: int, seed: int, progress: Progress) -> Manifest:
    """Measure on an honest random split, then train on everything and write the artifact to `path`."""
    history: list[dict[str, Any]] = []

    def measured(line: dict[str, Any]) -> None:
        progress(line | {"epochs": 2 * epochs})

    def note(line: dict[str, Any]) -> None:
        history.append(line)
        measured(line | {"epoch": epochs + line["epoch"]})  # whoever watches sees one after the other

    parts = split(lists, None, seed)
    judged = fit(parts.x[parts.train], parts.y[parts.train], epochs, seed, measured)
    held_out = accuracy(judged, parts.x[parts.test], parts.y[parts.test])
    whole = split(lists, None, seed)
    network = fit(whole.x, whole.y, epochs, seed, note)
    rule = Threshold(0.5, note="the rule of 2020: below 0.5 benign, else malicious")
    never = Threshold(None, note="no bound was ever measured for this network: it only alerts")
    evaluation = {
        "protocol": "random split 80/10/10 of all rows of both lists, same seed and epochs, network trained on 80 %",
        "test_accuracy": held_out,
        "test_names": len(parts.y) - parts.test.start,
    }
    manifest = Manifest(
        format=FORMAT,
        version=path.name,
        network="seed",
        encoding="codepoints-256",
        heads=["malicious"],
        calibration={"malicious": Platt(1.0, 0.0)},
        base_rate=len(lists.malicious) / (len(lists.malicious) + len(lists.benign)),
        thresholds=Limits(never, never, rule),
        metrics={"random_split_accuracy": held_out, "epochs": epochs},
        digests={},
        splits={"all": names_digest([*lists.benign, *lists.malicious])},
        sources=[
            Source("DomCop open page rank, 2020", "not stated", "teach", len(lists.benign), names_digest(lists.benign)),
            Source("COVID-19 Cyber Threat Coalition blocklist", "not stated", "teach", len(lists.malicious),
                   names_digest(lists.malicious)),
        ],
        notes="The network of 2020, kept for comparison. It knows the theme of its list, not malice.",
    )  # fmt: skip
    return save(path, network, manifest, history, evaluation)


def names_digest(names: list[str]) -> str:
    """SHA-256 of the distinct names, sorted, a line each."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(set(names))).encode()).hexdigest()
