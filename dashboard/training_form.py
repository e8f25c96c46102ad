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
        self.minutes = whole("Minutes (0: no limit)", 160)
        self.seed = whole("Seed", 90)
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
        """The settings of a job. Raises `ValueError` that names the field and what was expected."""
        return {
            "network": self.network.value,
            "data": self.data.value.strip(),
            "epochs": int(number_of(self.epochs)),
            "batch_size": int(number_of(self.batch)),
            "rows": int(number_of(self.rows)),
            "minutes": number_of(self.minutes),
            "seed": int(number_of(self.seed)),
        }
