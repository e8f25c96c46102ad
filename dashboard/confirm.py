"""Asking once more before a change that reaches every resolver."""

from collections.abc import Awaitable, Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboard.components import READY, Notice
from dashboard.inputs import Button
from dashboard.page import schedule, stack, toolbar
from dashboard.sheet import Inner, Sheet


class Confirm:
    """A dialog that says what will change, and does it where the person says so again; Escape and *Cancel* do not."""

    def __init__(self) -> None:
        self.place = pn.Column(margin=0)
        self.dialog: Any = None  # made when it is first asked for
        self.says = Notice(status=READY, kind="warn")
        self._go = Button(label="", color="error", variant="contained", on_click=self._submit)
        self._do: Callable[[], Awaitable[None]] | None = None

    def ask(self, verb: str, says: str, do: Callable[[], Awaitable[None]]) -> None:
        """Open the dialog: its button is called `verb`."""
        self._do, self.says.text, self._go.label = do, says, verb
        if self.dialog is None:
            cancel = Button(label="Cancel", variant="text", on_click=self._close)
            self.dialog = pmui.Dialog(
                Inner(Sheet(stack(self.says, toolbar(self._go, cancel)))),
                title="For every resolver",
                width_option="sm",
                close_on_click=True,
                title_variant="h5",
            )
        self.dialog.open = True
        if not self.place.objects:
            self.place.append(self.dialog)  # open already: a browser that still makes it would miss the change

    def _close(self, _: Any) -> None:
        self.dialog.open = False

    def _submit(self, _: Any) -> None:
        if self.dialog.open and self._do is not None:  # a button pressed twice acts once
            self.dialog.open = False
            schedule(self._do)
