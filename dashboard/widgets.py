"""Inputs that several pages share, bound to the page's filters."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from dashboard.components import TimeRange
from dashboard.filters import Filters
from dashboard.inputs import MultiChoice, TextInput
from dashboard.page import toolbar

Field = TypeVar("Field", TextInput, MultiChoice)


def range_bar(filters: Filters, *more: Any) -> Any:
    """The time range: a choice of lengths up to now, or two times in the viewer's zone."""
    names = ["range", "start", "end"]
    chosen = TimeRange(**{name: getattr(filters, name) for name in names})
    chosen.param.watch(lambda *events: filters.param.update({e.name: e.new for e in events}), names)
    filters.param.watch(lambda *events: chosen.param.update({e.name: e.new for e in events}), names)
    return toolbar(chosen, *more, gap=10)


def text(filters: Filters, name: str, label: str, width: int = 210) -> TextInput:
    """A text field that filters when the person leaves it or presses Enter."""
    return _bound(TextInput(label=label, width=width, value=getattr(filters, name)), filters, name)


def choice(filters: Filters, name: str, label: str, options: list[str]) -> MultiChoice:
    """Several of a few values."""
    return _bound(MultiChoice(label=label, options=options, width=165, value=getattr(filters, name)), filters, name)


def _bound(field: Field, filters: Filters, name: str) -> Field:
    """The input, which shows the filter and sets it."""
    field.param.watch(lambda event: filters.param.update({name: event.new}), "value")
    filters.param.watch(lambda event: field.param.update(value=event.new), name)
    return field


def score(filters: Filters, name: str, label: str, tell: Callable[[str, str], None]) -> Any:
    """A bound of the score, 0 to 1; empty: none. What is no such number is told, and the field shows again what
    filters."""

    def shown() -> str:
        value = getattr(filters, name)
        return "" if value is None else str(value)

    field = TextInput(label=label, value=shown(), width=105)

    def changed(event: Any) -> None:
        text = event.new.strip().replace(",", ".")
        try:
            number = float(text) if text else None
        except ValueError:
            number = math.nan
        if number is None or 0 <= number <= 1:
            setattr(filters, name, number)
            return
        tell(f"{label}: {text[:20]!r}, expected a number from 0 to 1", "error")
        field.value = shown()

    field.param.watch(changed, "value")
    return field


def whole(label: str, width: int = 150) -> Any:
    """A field for a number, 0 or more; empty: 0."""
    return TextInput(label=label, value="0", width=width)


def number_of(field: Any, fractions: bool = False) -> float:
    """The number in a field of `whole`. Raises `ValueError` that names the field and what was expected."""
    text = field.value.strip().replace(",", ".") or "0"
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e10 or not (fractions or number.is_integer()):
        raise ValueError(
            f"{field.label}: {text[:20]!r}, expected a {'number' if fractions else 'whole number'} from 0 on"
        )
    return number
