"""Models, training jobs and evaluations as curves and rows; pure."""

from collections.abc import Iterable
from typing import Any

from verdicts.policy import MAX_BLOCK_BOUND

PARTS = {
    "train": "train",
    "tune": "validation",
    "validation": "validation",
    "val": "validation",
    "judge": "test",
    "test": "test",
}
RUNNING = ("running", "pending", "queued")
COUNTS = ("true_negative", "false_positive", "false_negative", "true_positive")
CURVES = (("loss", "loss, training"), ("val_loss", "loss, validation"))
ACCURACIES = (
    ("accuracy", "accuracy, training"),
    ("val_accuracy", "accuracy, validation"),
    ("recall", "recall, validation"),
)


def curves(lines: Iterable[dict[str, Any]], kinds: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """Lines of a training's history as curves: x is its epoch, or its step. What is taught of one head alone has a
    curve of its own, for its loss is another one."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    for number, line in enumerate(lines, 1):
        x = float(line.get("epoch") or line.get("step") or number)
        of = f", words of {line['head']}" if line.get("head") else ""
        for key, _ in kinds:
            value = line.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault((key, of), []).append([x, float(value)])
    return [
        {"label": label + of, "points": points}
        for key, label in kinds
        for (kind, of), points in found.items()
        if kind == key
    ]


def progress_of(lines: list[dict[str, Any]]) -> float:
    """How much of a training is done, 0 to 1, by its last line."""
    for line in reversed(lines):
        if "judged" in line:  # which it is once it was trained
            return 1.0
        if isinstance(line.get("done"), int | float):
            return min(1.0, float(line["done"]))
        for at, of in (("epoch", "epochs"), ("step", "steps")):
            if line.get(of):
                return min(1.0, float(line.get(at, 0)) / float(line[of]))
    return 0.0


def parts_of(evaluation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The evaluation of each split, by the names people use."""
    parts = evaluation.get("parts") or evaluation.get("splits") or {}
    return {PARTS[name]: part for name, part in parts.items() if name in PARTS and isinstance(part, dict)}


def confusion_rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a split, or a tier of the judged names: the four counts and what follows from them."""
    found = [(name, part["confusion"]) for name, part in parts_of(evaluation).items() if part.get("confusion")]
    generated = int((evaluation.get("malicious") or {}).get("dga", 0))
    for tier, said in (evaluation.get("tiers") or {}).items():
        caught = round(float(said["dga_flagged"]) * generated)
        wrong, benign = int(said["false_positives"]), int(said["benign"])
        found.append(
            (f"test, {tier}", dict(zip(COUNTS, (benign - wrong, wrong, generated - caught, caught), strict=True)))
        )
    return [_confusion(name, counts) for name, counts in found]


def _confusion(name: str, counts: dict[str, Any]) -> dict[str, Any]:
    tn, fp, fn, tp = (int(counts.get(key, 0)) for key in COUNTS)
    return {
        "part": name, "tn": tn, "fp": fp, "fn": fn, "tp": tp, "accuracy": _share(tn + tp, fp + fn),
        "precision": _share(tp, fp), "recall": _share(tp, fn), "fpr": _share(fp, tn),
    }  # fmt: skip


def _share(some: int, others: int) -> float | None:
    return some / (some + others) if some + others else None


def fixed_rows(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a split (or group of generator families) and fixed false-positive rate."""
    rows = []
    for name, part in parts_of(evaluation).items():
        for point in part.get("at_fpr") or []:
            rows.append({"part": name, **{key: point.get(key) for key in ("fpr", "recall", "precision", "threshold")}})
    for rate, said in (evaluation.get("rates") or {}).items():
        at = said.get("strictest") or {}
        groups = {f"test, {group} families": (at.get("groups") or {}).get(group) for group in ("known", "unseen")}
        groups["test, feeds"] = at.get("feeds_mean")
        for name, value in groups.items():
            if (recall := _mean(value)) is not None:
                rows.append({"part": name, "fpr": float(rate), "recall": recall, "precision": None, "threshold": None})
    return rows


def _mean(value: Any) -> float | None:
    """The mean of an interval in any of the forms reports use: a number, [mean, low, high], or a mapping."""
    if isinstance(value, dict):
        value = value.get("mean", value.get("value"))
    if isinstance(value, list):
        value = value[0] if value else None
    return float(value) if isinstance(value, int | float) else None


def reliability(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """One curve a split, or a head: the share that was malicious, over the probability that was said."""
    found = {name: part.get("reliability") for name, part in parts_of(evaluation).items()}
    for head, said in (evaluation.get("calibration") or {}).items():
        found[f"test, {head}"] = said.get("reliability") if isinstance(said, dict) else None
    result = []
    for name, bins in found.items():
        points = [[float(b["predicted"]), float(b["observed"])] for b in bins or [] if b.get("predicted") is not None]
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
        facts.append({"label": key.replace("_", " ").capitalize(), "value": text})
    return facts[:limit]


def block_bound(manifest: dict[str, Any], in_force: dict[str, Any] | None = None) -> str:
    """How often a model may block a benign name at most, or that it never blocks; by the thresholds `in_force`, where
    an administrator set some in place of its own."""
    block = (manifest.get("thresholds") or {}).get("block")
    value, bound = (block.get("value"), block.get("bound")) if isinstance(block, dict) else (None, None)
    limit = bound if value is not None and isinstance(bound, float) else None
    told = "" if limit is None else f"\u2264 {limit:.1e}"
    if in_force is None:
        return told if limit is not None and limit <= MAX_BLOCK_BOUND else "never blocks"
    if (at := in_force.get("block")) is None:
        return "never blocks"
    return told if told and at >= value else "blocks by policy, not measured"


def model_row(model: dict[str, Any], serving: str, in_force: dict[str, Any] | None = None) -> dict[str, Any]:
    """One model as a row."""
    manifest = model.get("manifest", model)
    version = str(model.get("version") or manifest.get("version", ""))
    return {
        "version": version,
        "state": "serving" if version == serving else "",
        "idle": version != serving,
        "network": manifest.get("network", ""),
        "parent": manifest.get("parent", ""),
        "block": block_bound(manifest, in_force),
    }


def job_row(job: dict[str, Any]) -> dict[str, Any]:
    """One job as a row."""
    state = str(job.get("state", ""))
    last = job.get("progress") or {}
    return {
        "id": str(job.get("id", "")),
        "kind": job.get("kind", "train"),
        "state": state,
        "running": state in RUNNING,
        "resumable": bool(job.get("resumable")),
        "progress": 1.0 if state == "done" else progress_of([last]),
        "time": job.get("started") or job.get("time"),
        "error": job.get("error") or "",
    }
