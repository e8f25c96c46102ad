"""The frame around all pages, panel-material-ui's `Page`, and what the server makes of it for each tab.

Panel looks through every parameter of a component for every visitor, which was most of the price of a visit. So it
makes the frame and one sheet once; what a tab gets are Bokeh's models with the same values.
"""

import copy
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import panel as pn
import panel_material_ui as pmui
from bokeh.core.property.validation import validate
from bokeh.document import Document
from bokeh.model import Model
from bokeh.models import ImportedStyleSheet
from panel.io.document import unlocked

# The library keeps room below the bar by headings that say nothing.
HEADINGS = {"MuiTypography": {"defaultProps": {"variantMapping": {"h5": "div"}}}}
THEME = {
    "light": {
        "components": HEADINGS,
        "palette": {
            "primary": {"main": "#0b5cad"},
            "error": {"main": "#b3261e"},
            "warning": {"main": "#8a5300"},  # the library's own orange is too faint on white
            "background": {"default": "#f7f9fb", "paper": "#ffffff"},
        },
    },
    "dark": {
        "components": HEADINGS,
        "palette": {
            "primary": {"main": "#7cb7f2"},
            "error": {"main": "#f2827a"},
            "background": {"default": "#10151c", "paper": "#151b23"},
        },
    },
}
BAR = {
    ".MuiLinearProgress-root": {"display": "none"},  # it has no name for those who cannot see it
    ".MuiAppBar-root": {
        "backgroundColor": "var(--mui-palette-background-paper)",
        "color": "var(--mui-palette-text-primary)",
        "boxShadow": "none",
        "borderBottom": "1px solid var(--mui-palette-divider)",
    },
}
LOADER = "#loader { background: none !important; } #loader .spinner { width: 26px; height: 26px; border-width: 3px; }"
PLACES = ("header", "sidebar", "main")
_OWN = {
    "children",
    "data",
    "name",
    "stylesheets",
    "subscribed_events",
    "tags",
    *PLACES,
    "slots",
}  # not copied as they are


class Mould:
    """The values of a model that Panel made, for others like it."""

    def __init__(self, model: Model) -> None:
        self._kind, self._values = type(model), _values(model)
        self._data_kind, self._data = type(model.data), _values(model.data)
        self._children = list(model.children)
        self._styles = [style.url if isinstance(style, ImportedStyleSheet) else style for style in model.stylesheets]
        self._imported = {style.url for style in model.stylesheets if isinstance(style, ImportedStyleSheet)}

    def cast(self, name: str, data: dict[str, Any], styles: dict[str, ImportedStyleSheet], **values: Any) -> Model:
        """A model with other `data`; `styles` holds what the models of one tab share."""
        sheets = [self._style(style, styles) for style in self._styles]
        given = {
            **self._values,
            "children": self._children,
            "class_name": name,
            "name": name,
            "stylesheets": sheets,
            **values,
        }
        with validate(False):  # these values were looked through when the first was made
            return self._kind(data=self._data_kind(**{**self._data, **data}), **given)

    def _style(self, style: Any, styles: dict[str, ImportedStyleSheet]) -> Any:
        if style not in self._imported:
            return style
        if style not in styles:
            styles[style] = ImportedStyleSheet(url=style)
        return styles[style]


class Moulds(NamedTuple):
    """What Panel made once, for tabs of one colour scheme."""

    page: pmui.Page
    frame: Mould
    sheet: Mould


@functools.cache
def moulds(dark: bool) -> Moulds:
    """Made by the first tab: only within a session does the library name its files, which others would hold whole."""
    from dashboard.sheet import Plain

    page = pmui.Page(
        title="",
        main=[Plain(sizing_mode="stretch_width", margin=0)],
        sidebar_width=208,
        sidebar_resizable=False,
        dark_theme=dark,
        theme_config=THEME,
        sx=BAR,
        busy_indicator=None,
        meta_name="Verdict",
        raw_css=[LOADER],
    )
    root = page.get_root(pn.state.curdoc or Document())
    made = Moulds(page, Mould(root), Mould(root.data.main[0]))
    page._cleanup(root)
    pn.state._views.pop(root.ref["id"], None)
    return made


def _values(model: Model) -> dict[str, Any]:
    values = model.properties_with_values(include_defaults=False)
    return {name: _plain(value) for name, value in values.items() if name not in _OWN}


def _plain(value: Any) -> Any:
    """Without the wrapper that tells the model of changes."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else copy.copy(value)


class Frame:
    """The frame of one tab. `header` and `sidebar` are sheets; `show` puts a page's sheet into the middle."""

    def __init__(
        self, header: Any, sidebar: Any, dark: bool, sidebar_open: bool, on_dark: Callable[[bool], None]
    ) -> None:
        self._moulds = moulds(dark)
        self._styles: dict[str, ImportedStyleSheet] = {}
        self._sheet: Any = None
        data = {"dark_theme": dark, "sidebar_open": sidebar_open}
        self.model = self._moulds.frame.cast("Page", data, self._styles)
        self.model.data.update(header=[self._cast(header)], sidebar=[self._cast(sidebar)])
        self.model.data.on_change("dark_theme", lambda name, old, new: on_dark(bool(new)))

    def open(self, document: Document) -> None:
        """Make it the document's content."""
        document.title = "Verdict"
        pn.state._views[self.model.ref["id"]] = (self._moulds.page, self.model, document, None)
        with document.models.freeze():
            document.add_root(self.model)

    def show(self, sheet: Any) -> None:
        """Show a page instead of the present one."""
        self._clear()
        self._sheet = sheet
        shown = self._cast(sheet)
        change(self.model, lambda: self.model.data.update(main=[shown]))

    def fold(self) -> None:
        """Close the sidebar."""
        change(self.model, lambda: self.model.data.update(sidebar_open=False))

    def close(self) -> None:
        """Let go of what Panel keeps of this tab."""
        self._clear()
        pn.state._views.pop(self.model.ref["id"], None)

    def _cast(self, sheet: Any) -> Model:
        return sheet.cast(self._moulds.sheet, self._styles, self.model)

    def _clear(self) -> None:
        if self._sheet is not None:
            self._sheet.leave(self.model)


def change(model: Model, doing: Callable[[], Any]) -> None:
    """Change a model in one message to the browser, whoever holds its document's lock at present."""
    document = model.document
    if document is None or document.session_context is None:
        doing()
    elif pn.state._unblocked(document):
        with unlocked():
            doing()
    else:
        document.add_next_tick_callback(doing)


def describe(document: Document, dark: bool) -> None:
    """What the page's HTML is made from."""
    page = moulds(dark).page
    page._populate_template_variables(document.template_variables)
    document.template = page._template
