"""Models: train, watch, judge, compare, replay, promote, roll back."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from dashboard.client import Refused
from dashboard.comparison import MOST, Comparison
from dashboard.components import LOADING, READY, Component, Notice, Table
from dashboard.confirm import Confirm
from dashboard.inputs import Button, TextInput
from dashboard.model_detail import Detail
from dashboard.page import Context, Page, columns, panel, schedule, stack, toolbar
from dashboard.training import job_row, model_row
from dashboard.training_form import TrainingForm

SHOWN = 200  # changed verdicts
DAY = 86_400_000  # milliseconds
NO_MODEL, NO_JOB = "No model in the registry.", "Nothing was trained yet."


class Models(Page):
    """The registry and the training jobs; `?version=` opens a model, `?job=` a job, `?compare=` several models."""

    path = "/models"
    title = "Models"
    beat_seconds = 2

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        super().__init__(context, query)
        self.version, self.job = query.get("version", ""), query.get("job", "")
        self.versions = [version for version in query.get("compare", "").split(",") if version][:MOST]
        self.trouble = Notice(status=READY, kind="warn", visible=False)
        admin, analyst = self.may("admin"), self.may("analyst")
        self.models = Table(
            heading="Models",
            caption="models",
            empty=NO_MODEL,
            selectable=True,
            multiple=True,
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
            empty=NO_JOB,
            selectable=True,
            on_message=self._job,
            actions=[
                {"id": "cancel", "label": "Cancel", "when": "running", "style": "danger"},
                {"id": "resume", "label": "Resume", "when": "resumable"},
            ]
            * analyst,
            columns=[
                {"key": "id", "label": "Job", "kind": "word"},
                {"key": "kind", "label": "What", "kind": "word"},
                {"key": "state", "label": "State", "kind": "state"},
                {"key": "progress", "label": "Done", "kind": "percent"},
                {"key": "time", "label": "Begun", "kind": "ago"},
                {"key": "error", "label": "Problem", "kind": "text"},
            ],
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
        self.detail = Detail()
        self.form = TrainingForm(lambda: schedule(self.train), self.may("analyst"))
        self.note = TextInput(label="Why (promotion, roll-back)", width=240)
        self.compared, self.confirm = Comparison(), Confirm()
        self.serving = ""

    def address(self) -> str:
        pairs = {"job": self.job, "version": "" if self.job else self.version, "compare": ",".join(self.versions)}
        query = urlencode({key: value for key, value in pairs.items() if value}, safe=",")
        return self.path + ("?" + query if query else "")

    def view(self) -> Any:
        back = Button(
            label="Roll back",
            icon="undo",
            variant="outlined",
            color="warning",
            on_click=lambda _: self.confirm.ask(
                "Roll back",
                f"Every resolver is given the verdicts of the model that served before {self.serving or 'this one'}.",
                self.roll_back,
            ),
            disabled=not self.may("admin"),
        )
        compare = Button(
            label="Compare chosen",
            icon="compare",
            variant="outlined",
            on_click=lambda _: self._compare_chosen(),
        )
        return stack(
            self.trouble,
            panel(self.form.view()),
            columns(
                panel(
                    self.models,
                    toolbar(
                        self.note,
                        back,
                        compare,
                    ),
                ),
                panel(self.jobs),
                least=520,
                shares=(3, 2),
            ),
            self.replayed,
            self.compared.view(),
            self.detail.view(),
            self.confirm.place,
        )

    def parts(self) -> Iterable[Component]:
        return self.models, self.jobs

    async def read(self) -> None:
        try:
            await self._read_all()
        except Refused as error:  # what is shown stays; it is asked again
            self.trouble.param.update(visible=True, text=str(error))
            self.models.empty = self.jobs.empty = "Not known at present."
        else:
            self.trouble.visible = False
            self.models.empty, self.jobs.empty = NO_MODEL, NO_JOB

    async def _read_all(self) -> None:
        control = self.context.control
        models, jobs, state = await asyncio.gather(control.models(), control.jobs(), control.policy())
        in_force = (state.get("policy") or {}).get("thresholds")
        self.serving = serving = str(models.get("serving", ""))
        self.form.offer(models.get("models", []))
        rows = [model_row(model, serving, in_force) for model in models.get("models", [])]
        chosen = self.version or ("" if self.job else serving)
        selected = next((i for i, row in enumerate(rows) if row["version"] == chosen), -1)
        self.models.renew(rows, "version", selected=selected)
        job_rows = [job_row(job) for job in jobs.get("jobs", [])]
        self.jobs.param.update(
            rows=job_rows, selected=next((i for i, row in enumerate(job_rows) if row["id"] == self.job), -1)
        )
        if self.job:
            known = self.detail.lines_of(self.job)  # of a training of hours there are thousands
            found = await control.job(self.job, len(known))
            self.detail.show_job(str(found["id"]), {**found, "history": [*known, *found.get("history", ())]})
        elif chosen and self.detail.version != chosen:
            self.detail.show_model(chosen, await control.model(chosen))
        if self.versions != self.compared.versions:
            details = await asyncio.gather(*(control.model(each) for each in self.versions))
            self.compared.show(self.versions, details, in_force)

    async def train(self) -> None:
        """Start a training with the settings of the form."""
        try:
            settings = self.form.settings()
        except ValueError as error:
            self.context.tell(str(error), "error")
            return
        reply = await self.act(self.context.control.start_job(self.form.kind.value, settings), "Training started")
        if reply:
            self._open_job(str(reply.get("id") or reply.get("job") or ""))

    async def roll_back(self) -> None:
        """Serve the model that served before."""
        doing = self.context.control.roll_back(self.note.value.strip())
        if await self.act(doing, lambda reply: _with_notices("Rolled back", reply)) is not None:
            self.note.value = ""
            await self.reload()

    async def promote(self, version: str) -> None:
        """Serve this model."""
        doing = self.context.control.promote(version, self.note.value.strip())
        done = f"{version} is promoted; every classifier follows within seconds"
        if await self.act(doing, lambda reply: _with_notices(done, reply)) is not None:
            self.note.value = ""
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
        note = _with_notices(note, report)
        self.replayed.param.update(rows=changes[:SHOWN], status=READY, note=note, visible=done is not None)

    async def cancel(self, number: str) -> None:
        if await self.act(self.context.control.cancel_job(number), "Cancelling") is not None:
            await self.reload()

    async def resume(self, number: str) -> None:
        """Go on with a training that was cancelled or failed."""
        if await self.act(self.context.control.resume_job(number), "Training resumed") is not None:
            self._open_job(number)

    def _compare_chosen(self) -> None:
        chosen = [row["version"] for row in self.models.chosen_rows()]
        if len(chosen) == 1 or len(chosen) > MOST:
            self.context.tell(f"Choose two to {MOST} models in the table.", "info")
            return
        self.versions = chosen
        self.context.go(self.address())
        schedule(self.reload)

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
            instead = f" in place of those of {self.serving}" if self.serving else ""
            says = f"Every resolver is given the verdicts of {version}{instead}; Replay tells which would change."
            self.confirm.ask("Promote", says, lambda: self.promote(version))
        elif message.get("action") == "replay":
            schedule(lambda: self.replay(version))

    def _job(self, message: dict[str, Any]) -> None:
        number = str(message.get("row", {}).get("id", ""))
        if message.get("action") == "select":
            self._open_job(number)
        elif message.get("action") == "cancel":
            schedule(lambda: self.cancel(number))
        elif message.get("action") == "resume":
            schedule(lambda: self.resume(number))


def _with_notices(text: str, reply: dict[str, Any]) -> str:
    """What was done, and what is to be known of the model: that it never blocks, and why."""
    return "; ".join([text, *reply.get("notices", ())])
