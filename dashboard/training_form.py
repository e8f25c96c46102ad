"""The form that starts a training: all settings of the 2020 tab, and the choice of network."""

from collections.abc import Callable
from typing import Any

from dashboard.inputs import Button, Select, TextInput
from dashboard.page import toolbar
from dashboard.widgets import number_of, whole


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
        self.kind.param.watch(self._chosen, "value")
        self.network.param.watch(self._chosen, "value")
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
            self.kind, self.network, self.data, self.epochs, self.batch, self.rows, self.minutes, self.seed, self.start
        )

    def settings(self) -> dict[str, Any]:
        """The settings of a job, of the fields in sight. Raises `ValueError`: which field, and what was expected."""
        numbers = {
            "epochs": self.epochs, "batch_size": self.batch, "rows": self.rows, "minutes": self.minutes,
            "seed": self.seed,
        }  # fmt: skip
        found: dict[str, Any] = {"network": self.network.value, "data": self.data.value.strip()}
        for name, field in numbers.items():
            if self._used(name):
                found[name] = number_of(field, fractions=True) if name == "minutes" else int(number_of(field))
        return {name: value for name, value in found.items() if self._used(name)}

    def _used(self, name: str) -> bool:
        """False for what a job of this kind and network would refuse (`model.jobs.USED`)."""
        if self.kind.value == "retrain":
            return name not in ("network", "data", "rows")
        return self.network.value == "segments" or name not in ("batch_size", "minutes")

    def _chosen(self, *_: Any) -> None:
        """Show the fields that this kind of job uses."""
        fields = {"network": self.network, "data": self.data, "batch_size": self.batch, "rows": self.rows}
        for name, field in {**fields, "minutes": self.minutes}.items():
            field.visible = self._used(name)
