"""One model, or one training job: curves, figures, confusion matrices, reliability."""

from typing import Any

from dashboard.components import READY, Facts, Lines, Table
from dashboard.page import columns, panel, stack
from dashboard.training import (
    ACCURACIES,
    CURVES,
    confusion_rows,
    curves,
    fixed_rows,
    plain_facts,
    reliability,
)

RATE = {"kind": "percent"}
NONE = "None: a job has no such evaluation, nor has every model."


class Detail:
    """The parts that show it; `version` is the model shown, empty for a job."""

    def __init__(self) -> None:
        self.version = ""
        self._job: tuple[str, list[dict[str, Any]]] = "", []  # the one shown last, with its history
        self.loss = Lines(heading="Loss", xlabel="epoch or step", empty="Choose a job or a model.", status=READY)
        self.accuracy = Lines(
            heading="Accuracy",
            xlabel="epoch or step",
            empty="Choose a job or a model; not every training reports it.",
            status=READY,
        )
        self.facts = Facts(heading="Model", empty="Choose a model or a job.", status=READY)
        self.confusion = Table(
            heading="Confusion and metrics",
            note="at the model's thresholds",
            caption="confusion matrices",
            empty=NONE,
            status=READY,
            columns=[
                {"key": "part", "label": "Names", "kind": "word"},
                {"key": "tn", "label": "benign, passed", "kind": "count"},
                {"key": "fp", "label": "benign, flagged", "kind": "count"},
                {"key": "fn", "label": "malicious, passed", "kind": "count"},
                {"key": "tp", "label": "malicious, flagged", "kind": "count"},
                {"key": "accuracy", "label": "Accuracy", **RATE},
                {"key": "precision", "label": "Precision", **RATE},
                {"key": "recall", "label": "Recall", **RATE},
                {"key": "fpr", "label": "False positives", **RATE},
            ],
        )
        self.fixed = Table(
            heading="At fixed false-positive rates",
            caption="metrics at fixed false-positive rates",
            empty=NONE,
            status=READY,
            columns=[
                {"key": "part", "label": "Names", "kind": "word"},
                {"key": "fpr", "label": "False positives", **RATE},
                {"key": "recall", "label": "Recall", **RATE},
                {"key": "precision", "label": "Precision", **RATE},
            ],
        )
        self.reliable = Lines.reliability("Reliability", NONE)

    def view(self) -> Any:
        return stack(
            columns(panel(self.loss), panel(self.accuracy), least=380),
            columns(panel(self.facts), panel(self.reliable), least=380),
            panel(self.confusion),
            panel(self.fixed),
        )

    def show_model(self, version: str, model: dict[str, Any]) -> None:
        """What the control API tells of a model: manifest, history of its training, evaluation."""
        manifest, evaluation = model.get("manifest", model), model.get("evaluation") or {}
        history = model.get("history") or []
        plain = {key: manifest.get(key) for key in ("network", "encoding", "base_rate", "parent", "notes")}
        self.version = version
        self.facts.param.update(
            heading=f"Model {version}", facts=plain_facts(plain | (manifest.get("metrics") or {}) | evaluation)
        )
        self.loss.param.update(series=curves(history, CURVES), heading="Loss")
        self.accuracy.series = curves(history, ACCURACIES)
        self.confusion.rows, self.fixed.rows = confusion_rows(evaluation), fixed_rows(evaluation)
        self.reliable.series = reliability(evaluation)

    def lines_of(self, number: str) -> list[dict[str, Any]]:
        """What is known of a job's history, which only grows."""
        return self._job[1] if self._job[0] == number else []

    def show_job(self, number: str, job: dict[str, Any]) -> None:
        """How a training goes, and with what; figures of a model stay with the model."""
        lines = job.get("history") or []
        self.version, self._job = "", (number, lines)
        chosen = {name: value for name, value in (job.get("settings") or {}).items() if value}
        plain = {"state": job.get("state"), "makes version": job.get("version"), "device": job.get("device")}
        told = {
            "error": job.get("error"),
            "to be known": "; ".join(line["notice"] for line in lines if "notice" in line),
        }
        self.facts.param.update(heading=f"Job {number}", facts=plain_facts({**plain, **chosen, **told}))
        self.confusion.rows = self.fixed.rows = self.reliable.series = []
        self.loss.param.update(series=curves(lines, CURVES), heading=f"Loss, {number}")
        self.accuracy.series = curves(lines, ACCURACIES)
