"""All components of a page as one model of Bokeh's: each of Panel's components costs the server some 10 ms a visit,
with everything that Panel and Bokeh build around it, and a page has up to thirty.

What the components hold reaches the browser as a few properties, by the components' numbers, so that a change of one
does not send all of them again; as JSON, since Panel and Bokeh look for models in every value of every row of what is
no text, three times a change. What a person changes comes back as messages.
"""

import functools
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import panel as pn
import param
from bokeh.model import Model
from bokeh.models import ImportedStyleSheet
from panel.custom import Children, JSComponent

from dashboard.components import Box, Component
from dashboard.frame import Mould, change, moulds
from dashboard.page import schedule

ASSETS = Path(__file__).parent / "assets"
PROPERTIES = 6  # p0 to p5: component N is in property N modulo this


@functools.cache
def assets_path() -> str:
    """Where the server has our modules and style sheet: another path with each change, so that browsers keep them."""
    digest = hashlib.sha256()
    for path in sorted(ASSETS.iterdir()):
        digest.update(path.read_bytes())
    return f"/assets/{digest.hexdigest()[:12]}"


class Plain(JSComponent):  # type: ignore[misc]
    """The component of Panel's whose models all sheets are."""

    tree = param.String(default="[]", doc="nodes: module and number, or slot; of a box its kind and children")
    slots = Children(default=[])
    p0 = param.String(
        default="{}", doc="by number of a component: its values, and how many changes by a person they hold"
    )
    p1 = param.String(default="{}")
    p2 = param.String(default="{}")
    p3 = param.String(default="{}")
    p4 = param.String(default="{}")
    p5 = param.String(default="{}")

    assets = param.String(default="", doc="where the modules are; every page shares the browser's copy of them")

    _esm = """
export async function render(self) {
  const sheet = await import(new URL(self.model.assets + "/sheet.js", location.href).href)
  return sheet.render(self)
}
"""


class Sheet:
    """Components and boxes of them, in the order given; what is no component keeps its place as a child."""

    def __init__(self, *objects: Any, margin: Any = 0) -> None:
        self._components: list[Component] = []
        self._margin = margin
        self.slots: list[Any] = []
        self.model: Model | None = None
        self.tree = json.dumps([self._node(item, self.slots) for item in objects])
        self._known = [component.values() for component in self._components]  # to the browser
        self._taken = [0] * len(self._components)
        self._changed: set[int] = set()
        for number, component in enumerate(self._components):
            # `_tell` compares, as a whole; param would do so value by value.
            component.param.watch(functools.partial(self._note, number), list(self._known[number]), onlychanged=False)

    def cast(self, mould: Mould, styles: dict[str, ImportedStyleSheet], root: Model) -> Model:
        """Its model, for the tab whose outermost model is `root`."""
        data = {f"p{at}": self.property(at) for at in range(PROPERTIES)}
        data |= {"tree": self.tree, "assets": assets_path()}
        self.model = model = mould.cast("Sheet", data, styles, margin=self._margin)
        model.on_event("data_event", lambda event: self._handle_msg(event.data))
        if self.slots:
            model.data.slots = [slot._get_model(pn.state.curdoc, root, model, None) for slot in self.slots]
        return model

    def leave(self, root: Model) -> None:
        """Let go of the children's models."""
        for slot in self.slots:
            slot._cleanup(root)

    def _node(self, item: Any, slots: list[Any]) -> dict[str, Any]:
        style = getattr(item, "style", "")
        if not isinstance(item, Component):
            slots.append(item)
            return {"slot": len(slots) - 1, "style": style}
        self._components.append(item)
        node: dict[str, Any] = {"module": item.module, "number": len(self._components) - 1, "style": style}
        if isinstance(item, Box):
            node |= {"kind": item.kind, "children": [self._node(child, slots) for child in item.objects]}
        return node

    def property(self, at: int) -> str:
        """What the browser has of every component whose number leaves `at` when divided by PROPERTIES."""
        numbers = range(at, len(self._components), PROPERTIES)
        return text_of({number: {"values": self._known[number], "taken": self._taken[number]} for number in numbers})

    def _note(self, number: int, *_: Any) -> None:
        if not self._changed:
            schedule(self._tell)  # changes of one turn of the event loop go together
        self._changed.add(number)

    async def _tell(self) -> None:
        changed, self._changed = self._changed, set()
        now = {number: self._components[number].values() for number in changed}
        stale = {number for number, values in now.items() if values != self._known[number]}
        for number in stale:
            self._known[number] = now[number]
        told = {f"p{at}": self.property(at) for at in {number % PROPERTIES for number in stale}}
        model = self.model
        if told and model is not None:
            change(model, lambda: model.data.update(**told))

    def _handle_msg(self, message: Any) -> None:
        number = message["number"]
        component = self._components[number]
        if "set" in message:
            chosen = {name: value for name, value in message["set"].items() if name in component.given}
            self._taken[number] = message["count"]
            self._known[number] = {**self._known[number], **chosen}
            component.take(chosen)
        else:
            component.receive(message["message"])


class Inner(pn.viewable.Viewable):  # type: ignore[misc]
    """A sheet within one of Panel's own components."""

    def __init__(self, sheet: Sheet, **params: Any) -> None:
        self._sheet = sheet
        super().__init__(**params)

    def _get_model(self, doc: Any, root: Any = None, parent: Any = None, comm: Any = None) -> Model:
        model = self._sheet.cast(moulds(False).sheet, {}, root)
        self._models[root.ref["id"]] = (model, parent)
        return model


def text_of(value: Any) -> str:
    """A value as JSON that a browser can read; what is no finite number becomes null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
