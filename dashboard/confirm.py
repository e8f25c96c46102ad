"""Asking once more before a change that reaches every resolver."""

from collections.abc import Awaitable, Callable
from typing import Any

from dashboard.components import READY, Notice
from dashboard.dialog import Dialog
from dashboard.inputs import Button


class Confirm(Dialog):
    """A dialog that says what will change, and does it where the person says so again."""

    def __init__(self) -> None:
        super().__init__()
        self.says = Notice(status=READY, kind="warn")
        self._go = Button(label="", color="error", variant="contained", on_click=self._submit)
        self._do: Callable[[], Awaitable[None]] | None = None

    def ask(self, verb: str, says: str, do: Callable[[], Awaitable[None]]) -> None:
        """Open the dialog: its button is called `verb`."""
        self._do, self.says.text, self._go.label = do, says, verb
        if self.dialog is None:
            self._make("For every resolver", self._go, self.says)
        self._open()

    def _submit(self, _: Any) -> None:
        if self._do is not None:
            self._done(self._do)
