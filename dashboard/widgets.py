"""Inputs that several pages share, bound to the page's filters."""

from typing import Any

import panel as pn
import panel_material_ui as pmui

from dashboard.components import TimeRange
from dashboard.filters import Filters


def range_bar(filters: Filters, *more: Any) -> Any:
    """The time range: a choice of lengths up to now, or two times in the viewer's zone."""
    chosen = TimeRange(range=filters.range, start=filters.start, end=filters.end, sizing_mode=None, width=480)
    chosen.link(filters, range="range", start="start", end="end", bidirectional=True)
    return pn.FlexBox(chosen, *more, gap="10px", align_items="center", sizing_mode="stretch_width", margin=0)


def text(filters: Filters, name: str, label: str, **params: Any) -> Any:
    """A text field that filters when the person leaves it or presses Enter."""
    return pmui.TextInput.from_param(
        filters.param[name], label=label, size="small", margin=0, **{"width": 210, **params}
    )


def choice(filters: Filters, name: str, label: str, options: list[str], **params: Any) -> Any:
    """Several of a few values."""
    return pmui.MultiChoice.from_param(
        filters.param[name], label=label, options=options, visual_size="small", margin=0, **{"width": 170, **params}
    )
