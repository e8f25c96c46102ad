"""The parts of a page that show data: thin Python ends of the modules in `assets/`.

They take plain values and send plain messages; all text reaches the browser as text, never as markup. They cost the
server next to nothing: a page's components reach the browser together, as one `dashboard.sheet.Sheet`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import param

LOADING = {"kind": "loading", "text": ""}
READY = {"kind": "ready", "text": ""}

Message = dict[str, Any]
Handler = Callable[[Message], None]


class Component(param.Parameterized):  # type: ignore[misc]
    """What all components have: a state to show instead of data, and a receiver of their messages."""

    status = param.Dict(default=LOADING, doc="kind: loading, ready or failed; text: why")
    empty = param.String(default="", doc="shown when there is no data")
    heading = param.String(default="")
    visible = param.Boolean(default=True)

    module: ClassVar[str]  # assets/MODULE.js draws it
    given: ClassVar[frozenset[str]] = frozenset()  # the parameters that a browser may set

    def __init__(self, on_message: Handler | None = None, **params: Any) -> None:
        self._handler = on_message
        self.style = ""  # CSS of its place among others
        super().__init__(**params)

    def values(self) -> dict[str, Any]:
        """All parameters, as the browser takes them."""
        return {name: getattr(self, name) for name in self.param if name != "name"}

    def take(self, chosen: Mapping[str, Any]) -> None:
        """Set what a person changed in the browser; the names are all of `given`."""
        self.param.update(chosen)

    def receive(self, message: Message) -> None:
        """Hand a message of the browser to whom it may concern."""
        if self._handler is not None and isinstance(message, dict):
            self._handler(message)


class Box(Component):
    """Others, laid out; kind: stack, panel, toolbar, columns or aside. What is no component is one of Panel's own."""

    module = "box"

    def __init__(self, kind: str, objects: Sequence[Any], style: str = "", **params: Any) -> None:
        self.kind, self.objects = kind, objects
        super().__init__(**params)
        self.style = style


class Table(Component):
    """Rows of one kind.

    `columns`: key, label, kind (assets/cells.js); `actions`: id, label, and `when`, the row's field that allows it.
    """

    columns = param.List(default=[], item_type=dict)
    rows = param.List(default=[], item_type=dict)
    actions = param.List(default=[], item_type=dict)
    selectable = param.Boolean(default=False)
    selected = param.Integer(default=-1)
    caption = param.String(default="")
    note = param.String(default="")
    more = param.String(default="", doc="where all of them are, if not here")
    multiple = param.Boolean(default=False, doc="rows can be chosen for a common action")
    chosen = param.List(default=[], item_type=int)
    keys = param.List(default=[], item_type=str, doc="single keys that send a message: key, index, rows")

    module = "table"
    given = frozenset({"chosen", "selected"})

    def chosen_rows(self) -> list[dict[str, Any]]:
        """The rows that a person chose for a common action."""
        return [self.rows[at] for at in self.chosen if 0 <= at < len(self.rows)]

    def renew(self, rows: list[dict[str, Any]], key: str = "key", **params: Any) -> None:
        """Show other rows. What was chosen stays chosen, by this field: whoever chooses while rows come and go acts on
        what they saw."""
        place = {row[key]: at for at, row in enumerate(rows)}
        chosen = sorted(place[row[key]] for row in self.chosen_rows() if row[key] in place)
        self.param.update(rows=rows, chosen=chosen, **params)


class TimeChart(Component):
    """Stacked counts. `chart`: start, end, interval (Unix milliseconds), series of key, label, values."""

    chart = param.Dict(default={})
    tall = param.Integer(default=190, doc="pixels")

    module = "timechart"


class Tiles(Component):
    """Figures in a row: label, value, before (the same in the period before), tier, href."""

    tiles = param.List(default=[], item_type=dict)

    module = "tiles"


class Router(Component):
    """The top of every page, and the address bar. `url`: path and query, changed from either side."""

    url = param.String(default="/")
    title = param.String(default="Verdict", doc="of the page shown")
    paths = param.List(default=[], item_type=str, doc="what links within the application lead to")
    dark = param.Boolean(default=False)
    user = param.String(default="")
    role = param.String(default="")

    module = "router"
    given = frozenset({"url"})


class Nav(Component):
    """The left navigation: path, label, icon of each page; name, address, author, mine of each saved view."""

    url = param.String(default="/")
    items = param.List(default=[], item_type=dict)
    views = param.List(default=[], item_type=dict)

    module = "nav"


class TimeRange(Component):
    """A choice of time range; a custom one is typed in the viewer's zone."""

    range = param.String(default="1h")
    start = param.Integer(default=0, doc="Unix milliseconds; of a custom range")
    end = param.Integer(default=0, doc="Unix milliseconds; of a custom range")

    module = "timerange"
    given = frozenset({"end", "range", "start"})


class Facts(Component):
    """What is known of one thing: label, value, kind (assets/cells.js), more."""

    facts = param.List(default=[], item_type=dict)

    module = "facts"


class Characters(Component):
    """An explanation: character and weight of each character of a name."""

    characters = param.List(default=[], item_type=dict)

    module = "characters"


class Lines(Component):
    """Curves: label and points (x, y); `unit`: both axes run from 0 to 1, with the diagonal."""

    series = param.List(default=[], item_type=dict)
    xlabel = param.String(default="")
    unit = param.Boolean(default=False)

    module = "lines"

    @classmethod
    def reliability(cls, heading: str, empty: str) -> "Lines":
        """A reliability plot: what share is malicious of the names that were given a probability."""
        xlabel = "probability said; height: share malicious"
        return cls(heading=heading, xlabel=xlabel, unit=True, empty=empty, status=READY)


class Since(Component):
    """What changed since the last visit. `items`: text, href; `names`: rows of a ranking; `since` 0 hides it."""

    since = param.Integer(default=0, doc="Unix milliseconds")
    items = param.List(default=[], item_type=dict)
    names = param.List(default=[], item_type=dict)

    module = "since"
    given = frozenset({"since"})


class Notice(Component):
    """One sentence of plain text; kind: info, good, warn or wait."""

    text = param.String(default="")
    kind = param.String(default="info")
    since = param.Integer(default=0, doc="Unix milliseconds, said after the text; 0: not known")
    more = param.List(default=[], doc="address and text of the page that tells more")

    module = "notice"


class Notices(Component):
    """What a person is told of what they did, for some seconds. `told`: number, text, kind (success, error, ...)."""

    told = param.List(default=[], item_type=dict)

    module = "notices"

    def tell(self, text: str, kind: str) -> None:
        """Show one more; the browser shows each number once."""
        number = self.told[-1]["number"] + 1 if self.told else 1
        self.told = [*self.told[-4:], {"number": number, "text": text, "kind": kind}]


class Exports(Component):
    """Links that download: pairs of address and text; `note` says what they leave out."""

    files = param.List(default=[])
    note = param.String(default="")

    module = "exports"


class Keys(Component):
    """The single keys of a page, as buttons for those who point: pairs of key and meaning."""

    keys = param.List(default=[])

    module = "keys"


class Choice(Component):
    """One of a few values: `options` are pairs of value and text; `heading` names the choice."""

    value = param.String(default="")
    options = param.List(default=[])

    module = "choice"
    given = frozenset({"value"})

    def __init__(self, options: dict[str, str], **params: Any) -> None:
        super().__init__(options=[[value, text] for value, text in options.items()], **params)
