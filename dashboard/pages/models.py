"""Models: train, watch, judge, replay, promote, roll back."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboard.client import Refused
from dashboard.components import LOADING, READY, Component, Facts, Lines, Notice, Table
from dashboard.page import Context, Page, columns, panel, schedule, stack, toolbar
from dashboard.training import (
    ACCURACIES,
    CURVES,
    confusion_rows,
    curves,
    fixed_rows,
    plain_facts,
    progress_of,
    reliability,
)
from dashboard.widgets import number_of, whole

SHOWN = 200  # changed verdicts
DAY = 86_400_000  # milliseconds
RUNNING = ("running", "pending", "queued")
RATE = {"kind": "percent"}


class Models(Page):
    """The registry and the training jobs; `?version=` opens one model, `?job=` one job."""

    path = "/models"
    title = "Models"
    beat_seconds = 2

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.version, self.job = query.get("version", ""), query.get("job", "")
        self.trouble = Notice(status=READY, kind="warn", visible=False)
        admin, analyst = self.may("admin"), self.may("analyst")
        self.models = Table(
            heading="Models",
            caption="models",
            empty="No model in the registry.",
            selectable=True,
            on_message=self._model,
            actions=[{"id": "promote", "label": "Promote", "when": "idle"}] * admin
            + [{"id": "replay", "label": "Replay"}] * analyst,
            columns=[
                {"key": "version", "label": "Version", "kind": "word"},
                {"key": "state", "label": "State", "kind": "state"},
                {"key": "network", "label": "Network", "kind": "word"},
                {"key": "block", "label": "Block bound", "kind": "word"},
            ],
        )
        self.jobs = Table(
            heading="Jobs",
            caption="jobs",
            empty="Nothing was trained yet.",
            selectable=True,
            on_message=self._job,
            actions=[{"id": "cancel", "label": "Cancel", "when": "running", "style": "danger"}] * analyst,
            columns=[
                {"key": "id", "label": "Job", "kind": "word"},
                {"key": "kind", "label": "What", "kind": "word"},
                {"key": "state", "label": "State", "kind": "state"},
                {"key": "progress", "label": "Done", "kind": "percent"},
                {"key": "time", "label": "Begun", "kind": "ago"},
                {"key": "error", "label": "", "kind": "text"},
            ],
        )
        self.loss = Lines(heading="Loss", xlabel="epoch or step", empty="Choose a job or a model.", status=READY)
        self.accuracy = Lines(
            heading="Accuracy",
            xlabel="epoch or step",
            empty="Choose a job or a model; not every training reports it.",
            status=READY,
        )
        self.facts = Facts(heading="Model", empty="Choose a model.", status=READY)
        self.confusion = Table(
            heading="Confusion and metrics",
            note="at the model's thresholds",
            caption="confusion matrices",
            empty="This model has no such evaluation.",
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
            empty="This model has no such evaluation.",
            status=READY,
            columns=[
                {"key": "part", "label": "Names", "kind": "word"},
                {"key": "fpr", "label": "False positives", **RATE},
                {"key": "recall", "label": "Recall", **RATE},
                {"key": "precision", "label": "Precision", **RATE},
            ],
        )
        self.reliable = Lines(
            heading="Reliability",
            xlabel="probability said; height: share malicious",
            unit=True,
            empty="This model has no such evaluation.",
            status=READY,
        )
        self.replayed = Table(
            heading="Replay of the last day",
            caption="verdicts that would change",
            empty="No verdict would change.",
            status=READY,
            visible=False,
            columns=[
                {"key": "name", "label": "Name", "kind": "name"},
                {"key": "count", "label": "Queries", "kind": "count"},
                {"key": "before", "label": "Now", "kind": "tier"},
                {"key": "after", "label": "Then", "kind": "tier"},
                {"key": "rule", "label": "Rule", "kind": "text"},
            ],
        )
        self._inputs()

    def _inputs(self) -> None:
        small = {"size": "small", "margin": 0}
        self.kind = pmui.Select(
            label="What",
            options={"retrain with labels": "retrain", "train anew": "train"},
            value="retrain",
            width=180,
            **small,
        )
        self.network = pmui.Select(label="Network", options=["segments", "seed"], value="segments", width=140, **small)
        self.data = pmui.TextInput(label="Training data (folder or URL)", width=260, **small)
        self.epochs = whole("Epochs (0: its own)")
        self.batch = whole("Batch size (0: its own)", 170)
        self.rows = whole("Sample size (0: all)")
        self.minutes = whole("Minutes (0: no limit)", 160)
        self.seed = whole("Seed", 90)
        self.note = pmui.TextInput(label="Why (promotion, roll-back)", width=240, **small)

    def address(self) -> str:
        return self.path + (f"?job={self.job}" if self.job else f"?version={self.version}" if self.version else "")

    def view(self) -> Any:
        allowed = {"size": "small", "margin": 0, "disabled": not self.may("analyst")}
        served = {**allowed, "disabled": not self.may("admin")}
        start = pmui.Button(
            label="Start", icon="play_arrow", variant="contained", on_click=lambda _: schedule(self.train), **allowed
        )
        back = pmui.Button(
            label="Roll back",
            icon="undo",
            variant="outlined",
            color="warning",
            on_click=lambda _: schedule(self.roll_back),
            **served,
        )
        form = toolbar(
            self.kind,
            self.network,
            self.data,
            self.epochs,
            self.batch,
            self.rows,
            self.minutes,
            self.seed,
            start,
        )
        return stack(
            self.trouble,
            panel(form),
            columns(
                panel(
                    self.models,
                    pn.Spacer(height=8),
                    toolbar(
                        self.note,
                        back,
                    ),
                ),
                panel(self.jobs),
                least=440,
            ),
            columns(panel(self.loss), panel(self.accuracy), least=380),
            columns(panel(self.facts), panel(self.reliable), least=380),
            panel(self.confusion),
            panel(self.fixed),
            self.replayed,
        )

    def parts(self) -> Iterable[Component]:
        return self.models, self.jobs

    async def read(self) -> None:
        control = self.context.control
        try:
            models, jobs = await asyncio.gather(control.models(), control.jobs())
        except Refused as error:
            self.trouble.param.update(visible=True, text=str(error))
            return
        self.trouble.visible = False
        serving = str(models.get("serving", ""))
        rows = [model_row(model, serving) for model in models.get("models", [])]
        chosen = self.version or ("" if self.job else serving)
        self.models.param.update(
            rows=rows, selected=next((i for i, row in enumerate(rows) if row["version"] == chosen), -1)
        )
        job_rows = [job_row(job) for job in jobs.get("jobs", [])]
        self.jobs.param.update(
            rows=job_rows, selected=next((i for i, row in enumerate(job_rows) if row["id"] == self.job), -1)
        )
        if self.job:
            await self.show_job()
        elif chosen and self.facts.heading != f"Model {chosen}":
            await self.show_model(chosen)

    async def show_model(self, version: str) -> None:
        """Show what is known of a model."""
        try:
            model = await self.context.control.model(version)
        except Refused as error:
            self.context.tell(str(error), "error")
            return
        manifest = model.get("manifest", model)
        evaluation = model.get("evaluation") or {}
        history = model.get("history") or []
        self.facts.param.update(
            heading=f"Model {version}",
            facts=plain_facts(
                {key: manifest.get(key) for key in ("network", "encoding", "base_rate", "parent", "notes")}
                | (manifest.get("metrics") or {})
                | evaluation
            ),
        )
        self.loss.series, self.accuracy.series = curves(history, CURVES), curves(history, ACCURACIES)
        self.confusion.rows, self.fixed.rows, self.reliable.series = (
            confusion_rows(evaluation),
            fixed_rows(evaluation),
            reliability(evaluation),
        )

    async def show_job(self) -> None:
        """Show how a job goes."""
        try:
            job = await self.context.control.job(self.job)
        except Refused as error:
            self.context.tell(str(error), "error")
            self.job = ""
            return
        lines = job.get("history") or []
        self.loss.param.update(series=curves(lines, CURVES), heading=f"Loss, {self.job}")
        self.accuracy.series = curves(lines, ACCURACIES)

    async def train(self) -> None:
        """Start a training with the settings of the form."""
        try:
            settings = {
                "network": self.network.value,
                "data": self.data.value.strip(),
                "epochs": int(number_of(self.epochs)),
                "batch_size": int(number_of(self.batch)),
                "rows": int(number_of(self.rows)),
                "minutes": number_of(self.minutes),
                "seed": int(number_of(self.seed)),
            }
        except ValueError as error:
            self.context.tell(str(error), "error")
            return
        reply = await self.act(self.context.control.start_job(self.kind.value, settings), "Training started")
        if reply:
            self._open_job(str(reply.get("id") or reply.get("job") or ""))

    async def roll_back(self) -> None:
        """Serve the model that served before."""
        if await self.act(self.context.control.roll_back(self.note.value.strip()), "Rolled back") is not None:
            await self.reload()

    async def promote(self, version: str) -> None:
        """Serve this model."""
        if (
            await self.act(
                self.context.control.promote(version, self.note.value.strip()),
                f"{version} is promoted; every classifier follows within seconds",
            )
            is not None
        ):
            await self.reload()

    async def replay(self, version: str) -> None:
        """Ask the model again for the names of the last day, and show which verdicts would change."""
        now = int(time.time() * 1000)
        self.replayed.param.update(visible=True, status=LOADING, rows=[], note=version)
        done = await self.act(self.context.control.replay(version, now - DAY, now), f"Replayed for {version}")
        report = done or {}
        changes = report.get("changes", [])
        count, asked = report.get("changed", len(changes)), report.get("names", 0)
        note = f"{version}: {count:,} of {asked:,} names would change ({report.get('queries', 0):,} queries)"
        self.replayed.param.update(rows=changes[:SHOWN], status=READY, note=note, visible=done is not None)

    async def cancel(self, number: str) -> None:
        if await self.act(self.context.control.cancel_job(number), "Cancelling") is not None:
            await self.reload()

    def _open_job(self, number: str) -> None:
        self.job, self.version = number, ""
        self.context.go(self.address())
        schedule(self.reload)

    def _model(self, message: dict[str, Any]) -> None:
        version = str(message.get("row", {}).get("version", ""))
        if message.get("action") == "select":
            self.version, self.job = version, ""
            self.context.go(self.address())
            schedule(self.reload)
        elif message.get("action") == "promote":
            schedule(lambda: self.promote(version))
        elif message.get("action") == "replay":
            schedule(lambda: self.replay(version))

    def _job(self, message: dict[str, Any]) -> None:
        number = str(message.get("row", {}).get("id", ""))
        if message.get("action") == "select":
            self._open_job(number)
        elif message.get("action") == "cancel":
            schedule(lambda: self.cancel(number))


def model_row(model: dict[str, Any], serving: str) -> dict[str, Any]:
    """One model as a row."""
    manifest = model.get("manifest", model)
    version = str(model.get("version") or manifest.get("version", ""))
    block = ((manifest.get("thresholds") or {}).get("block")) or {}
    bound = block.get("bound") if isinstance(block, dict) else None
    return {
        "version": version,
        "state": "serving" if version == serving else "",
        "idle": version != serving,
        "network": manifest.get("network", ""),
        "parent": manifest.get("parent", ""),
        "block": f"\u2264 {bound:.1e}" if isinstance(bound, float) else "never blocks",
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
        "progress": 1.0 if state == "done" else progress_of([last]),
        "time": job.get("started") or job.get("time"),
        "error": job.get("error") or "",
    }
