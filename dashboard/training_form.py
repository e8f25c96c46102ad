"""The form that starts a training: all settings of the 2020 tab, the choice of network, and other models that help."""

from collections.abc import Callable, Iterable
from typing import Any

from dashboard.inputs import Button, MultiChoice, Select, Switch, TextInput
from dashboard.page import toolbar
from dashboard.widgets import number_of, whole

TEACHERS = ("segments", "attention")  # networks that can teach; `segments` alone can be gone on from
FROM_NOTHING = {"from nothing": ""}


class TrainingForm:
    """Inputs and the button; `settings` reads them."""

    def __init__(self, start: Callable[[], None], allowed: bool) -> None:
        self.kind = Select(
            label="What",
            options={"retrain with labels": "retrain", "train anew": "train"},
            value="retrain",
            width=180,
        )
        self.network = Select(label="Network", options=["segments", "seed"], value="segments", width=140)
        self.data = TextInput(label="Training data (folder or URL)", width=260)
        self.epochs = whole("Epochs (0: its own)")
        self.batch = whole("Batch size (0: its own)", 170)
        self.rows = whole("Sample size (0: all)")
        self.minutes = whole("Minutes (0: its own)", 160)
        self.seed = whole("Seed", 90)
        self.more = Switch(label="More", value=False)
        self.begin = Select(label="Start from", options=FROM_NOTHING, value="", width=220)
        self.head = Select(
            label="Taught of the start", options={"all of it": "", "generated": "generated", "malicious": "malicious"},
            value="", width=170,
        )  # fmt: skip
        self.teachers = MultiChoice(label="Teachers", options=[], width=260)
        self.held_out = Select(
            label="Families held out", options={"a fold, for judging": 0, "none: all teach": -1}, value=0, width=190
        )
        for field in (self.kind, self.network, self.more):
            field.param.watch(self._chosen, "value")
        self._chosen()
        self.start = Button(
            label="Start",
            icon="play_arrow",
            variant="contained",
            disabled=not allowed,
            on_click=lambda _: start(),
        )

    def view(self) -> Any:
        return toolbar(
            self.kind, self.network, self.data, self.epochs, self.batch, self.rows, self.minutes, self.seed, self.more,
            self.begin, self.head, self.teachers, self.held_out, self.start,
        )  # fmt: skip

    def offer(self, manifests: Iterable[dict[str, Any]]) -> None:
        """Offer the models of the registry that a training can go on from, or be taught by. One that is chosen and is
        there no more is chosen no more."""
        networks = {str(each.get("version", "")): each.get("network") for each in manifests}
        starts = FROM_NOTHING | {version: version for version, of in networks.items() if of == "segments"}
        teachers = [version for version, of in networks.items() if of in TEACHERS]
        if starts != self.begin.options:
            self.begin.param.update(options=starts, value=self.begin.value if self.begin.value in starts else "")
        if teachers != self.teachers.options:
            kept = [version for version in self.teachers.value if version in teachers]
            self.teachers.param.update(options=teachers, value=kept)

    def settings(self) -> dict[str, Any]:
        """The settings of a job, of the fields in sight. Raises `ValueError`: which field, and what was expected."""
        numbers = {
            "epochs": self.epochs, "batch_size": self.batch, "rows": self.rows, "minutes": self.minutes,
            "seed": self.seed,
        }  # fmt: skip
        found: dict[str, Any] = {"network": self.network.value, "data": self.data.value.strip()}
        found |= {name: field.value for name, field in self._helped().items()}
        for name, field in numbers.items():
            if self._used(name):
                found[name] = number_of(field, fractions=True) if name == "minutes" else int(number_of(field))
        return {name: value for name, value in found.items() if self._used(name)}

    def _used(self, name: str) -> bool:
        """False for what a job of this kind and network would refuse (`model.jobs.USED`)."""
        anew, helped = self.kind.value == "train", name in self._helped()
        if name == "more" or helped:
            return anew and self.network.value == "segments" and (self.more.value or not helped)
        if not anew:
            return name not in ("network", "data", "rows")
        return self.network.value == "segments" or name not in ("batch_size", "minutes")

    def _helped(self) -> dict[str, Any]:
        """The fields about other models, which few trainings need."""
        return {"start": self.begin, "head": self.head, "teachers": self.teachers, "held_out": self.held_out}

    def _chosen(self, *_: Any) -> None:
        """Show the fields that this kind of job uses."""
        fields = {"network": self.network, "data": self.data, "batch_size": self.batch, "rows": self.rows}
        for name, field in {**fields, "minutes": self.minutes, "more": self.more, **self._helped()}.items():
            field.visible = self._used(name)
