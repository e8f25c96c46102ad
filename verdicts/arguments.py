"""Numbers on the command line of `verdict`."""

from typing import Any

import click

DAY_MS = 86_400_000


class Number(click.FloatRange):
    """A number within a range, which `nan` would pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if found != found:
            self.fail(f"{value} is not a number.", param, ctx)
        return found


DAYS = Number(0, 36_500, min_open=True)  # what lies further ahead no calendar here can print
