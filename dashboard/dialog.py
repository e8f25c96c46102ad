"""What the dialogs of a page have in common: made when first asked for, opened in their place, closed by *Cancel*."""

from collections.abc import Awaitable, Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboard.inputs import Button
from dashboard.page import schedule, stack, toolbar
from dashboard.sheet import Inner, Sheet


class Dialog:
    """A dialog that says or asks something, and does what its button says; Escape and *Cancel* do not."""

    def __init__(self) -> None:
        self.place = pn.Column(margin=0)
        self.dialog: Any = None  # most visits to a page never open it

    def _make(self, title: str, go: Button, *rows: Any) -> None:
        cancel = Button(label="Cancel", variant="text", on_click=self._close)
        self.dialog = pmui.Dialog(
            Inner(Sheet(stack(*rows, toolbar(go, cancel)))),
            title=title,
            width_option="sm",
            close_on_click=True,
            title_variant="h5",
            sx={"& .MuiDialogTitle-root": {"paddingInline": "16px"}},  # the title begins where the text does
        )

    def _open(self) -> None:
        self.dialog.open = True
        if not self.place.objects:
            self.place.append(self.dialog)  # open already: a browser that still makes it would miss the change

    def _close(self, _: Any) -> None:
        self.dialog.open = False

    def _done(self, act: Callable[[], Awaitable[None]]) -> None:
        if self.dialog.open:  # a button pressed twice acts once
            self.dialog.open = False
            schedule(act)
