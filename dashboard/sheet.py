"""All components of a page as one of Panel's: each of Panel's own costs the server some 10 ms a visit, with everything
that Panel and Bokeh build around it, and a page has up to thirty.

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

import param
from panel.custom import Children, JSComponent

from dashboard.components import Box, Component
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


class Sheet(JSComponent):  # type: ignore[misc]
    """Components and boxes of them, in the order given; what is no component keeps its place as a child."""

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

    def __init__(self, *objects: Any, **params: Any) -> None:
        self._components: list[Component] = []
        slots: list[Any] = []
        tree = [self._node(item, slots) for item in objects]
        self._known = [component.values() for component in self._components]  # to the browser
        self._taken = [0] * len(self._components)
        self._changed: set[int] = set()
        super().__init__(
            assets=assets_path(),
            tree=json.dumps(tree),
            slots=slots,
            **{f"p{at}": self._property(at) for at in range(PROPERTIES)},
            **{"sizing_mode": "stretch_width", "margin": 0, **params},
        )
        for number, component in enumerate(self._components):
            component.param.watch(functools.partial(self._note, number), list(self._known[number]))

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

    def _property(self, at: int) -> str:
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
        self.param.update({f"p{at}": self._property(at) for at in {number % PROPERTIES for number in stale}})

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
