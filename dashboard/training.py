"""Training and evaluation results as curves and rows; pure."""

from collections.abc import Iterable
from typing import Any

PARTS = {
    "train": "train",
    "tune": "validation",
    "validation": "validation",
    "val": "validation",
    "judge": "test",
    "test": "test",
}
CURVES = (("loss", "loss, training"), ("val_loss", "loss, validation"))
ACCURACIES = (
    ("accuracy", "accuracy, training"),
    ("val_accuracy", "accuracy, validation"),
    ("recall", "recall, validation"),
)


def curves(lines: Iterable[dict[str, Any]], kinds: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """Lines of a training's history as curves: x is its epoch, or its step."""
    found: dict[str, list[list[float]]] = {}
    for number, line in enumerate(lines, 1):
        x = float(line.get("epoch") or line.get("step") or number)
        for key, _ in kinds:
            value = line.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(key, []).append([x, float(value)])
    return [{"label": label, "points": found[key]} for key, label in kinds if key in found]


def progress_of(lines: list[dict[str, Any]]) -> float:
    """How much of a training is done, 0 to 1, by its last line."""
    for line in reversed(lines):
        for at, of in (("epoch", "epochs"), ("step", "steps")):
            if line.get(of):
                return min(1.0, float(line.get(at, 0)) / float(line[of]))
    return 0.0


def parts_of(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The evaluation of each split, by the names people use."""
    parts = evaluation.get("parts") or evaluation.get("splits") or {}
    return {PARTS[name]: part for name, part in parts.items() if name in PARTS and isinstance(part, dict)}


def confusion_rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a split: the four counts and what follows from them."""
    rows = []
    for name, part in parts_of(evaluation).items():
        counts = part.get("confusion")
        if not isinstance(counts, dict):
            continue
        tn, fp, fn, tp = (
            int(counts.get(key, 0)) for key in ("true_negative", "false_positive", "false_negative", "true_positive")
        )
        total = tn + fp + fn + tp
        rows.append(
            {
                "part": name,
                "tn": tn,
                "fp": fp,
                "fn": fn,
                "tp": tp,
                "accuracy": (tn + tp) / total if total else None,
                "precision": tp / (tp + fp) if tp + fp else None,
                "recall": tp / (tp + fn) if tp + fn else None,
                "fpr": fp / (fp + tn) if fp + tn else None,
            }
        )
    return rows


def fixed_rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a split and fixed false-positive rate."""
    rows = []
    for name, part in parts_of(evaluation).items():
        for point in part.get("at_fpr") or []:
            rows.append({"part": name, **{key: point.get(key) for key in ("fpr", "recall", "precision", "threshold")}})
    return rows


def reliability(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """One curve a split: the share that was malicious, over the probability that was said."""
    result = []
    for name, part in parts_of(evaluation).items():
        points = [
            [float(b["predicted"]), float(b["observed"])] for b in part.get("reliability") or [] if b.get("count", 1)
        ]
        if points:
            result.append({"label": name, "points": sorted(points)})
    return result


def plain_facts(values: dict[str, Any], limit: int = 24) -> list[dict[str, Any]]:
    """The plain figures of a document as facts."""
    facts = []
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            continue
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value
        facts.append({"label": key.replace("_", " "), "value": text})
    return facts[:limit]
