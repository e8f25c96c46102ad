"""The inputs of a page: panel-material-ui's own, drawn within the page's one component (assets/input.js).

As components of Panel a dozen of them cost the server more than all else of a page; here an input is a few values.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import param

from dashboard.components import Component, Handler, Message


class Input(Component):
    """What all inputs have. `kind` is panel-material-ui's name of what is drawn; `width` in pixels."""

    kind = param.String(constant=True)
    label = param.String(default="")
    disabled = param.Boolean(default=False)
    variant = param.String(default="outlined")

    module = "input"

    def __init__(self, width: int = 0, style: str = "", **params: Any) -> None:
        super().__init__(**params)
        self.style = f"width: {width}px; max-width: 100%" if width else style

    def values(self) -> dict[str, Any]:
        return {name: value for name, value in super().values().items() if name not in ("status", "empty", "heading")}


class TextInput(Input):
    """One line of text; it counts when the person leaves the field or presses Enter."""

    value = param.String(default="")
    placeholder = param.String(default="")
    max_length = param.Integer(default=5000)
    kind = param.String(default="TextInput", constant=True)

    given = frozenset({"value"})


class TextArea(TextInput):
    """Several lines of text, as wide as its place."""

    rows = param.Integer(default=3)
    kind = param.String(default="TextAreaInput", constant=True)


class Switch(Input):
    """On or off."""

    value = param.Boolean(default=False)
    kind = param.String(default="Switch", constant=True)

    given = frozenset({"value"})

    def __init__(self, **params: Any) -> None:
        super().__init__(style="margin: 4px 6px", **params)


class Select(Input):
    """One of some values, which `options` give: values that are shown as they are, or what is shown with its value."""

    value = param.Parameter()
    options = param.Parameter(default=[])
    kind = param.String(default="Select", constant=True)

    given = frozenset({"value"})

    def values(self) -> dict[str, Any]:
        shown = self._shown()
        chosen = next((text for text, value in shown.items() if value == self.value), "")
        return {**super().values(), "options": list(shown), "value": chosen}

    def take(self, chosen: Mapping[str, Any]) -> None:
        shown = self._shown()
        if chosen.get("value") in shown:
            self.value = shown[chosen["value"]]

    def _shown(self) -> dict[str, Any]:
        options: Mapping[str, Any] | Sequence[Any] = self.options
        return dict(options) if isinstance(options, Mapping) else {str(value): value for value in options}


class RadioGroup(Select):
    """The same, with all values in sight."""

    kind = param.String(default="RadioBoxGroup", constant=True)


class MultiChoice(Input):
    """Any of some texts."""

    value = param.List(default=[], item_type=str)
    options = param.List(default=[], item_type=str)
    kind = param.String(default="MultiChoice", constant=True)

    given = frozenset({"value"})


class Button(Input):
    """Does something when it is pressed; icons are names of Material Icons."""

    icon = param.String(default="")
    end_icon = param.String(default="")
    color = param.String(default="primary")
    loading = param.Boolean(default=False)
    kind = param.String(default="Button", constant=True)

    def __init__(self, on_click: Handler, **params: Any) -> None:
        self.press = on_click
        super().__init__(**params)

    def receive(self, message: Message) -> None:
        if message.get("action") == "click" and not self.disabled:
            self.press(message)
