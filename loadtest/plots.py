"""Bar charts of a report, as SVG: one panel a unit, one bar a result, a line for the range of its repetitions."""

import statistics
import textwrap
from pathlib import Path

from loadtest.stats import Report, Result, number

MAX_PANELS = 6
LABEL = 48  # characters of a line: longer names would leave no room for the bars
_COLOUR, _BASE = "#0b5cad", "#8a95a3"


def panels(report: Report) -> dict[str, list[Result]]:
    """The results by unit, in their order; units with fewer than two results say nothing in a chart."""
    found: dict[str, list[Result]] = {}
    for result in report.results:
        found.setdefault(result.unit, []).append(result)
    return dict(list((unit, rows) for unit, rows in found.items() if len(rows) > 1)[:MAX_PANELS])


def draw(report: Report, path: Path) -> bool:
    """Write the chart of a report; False (and nothing written) when there is nothing to compare."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    shown = panels(report)
    if not shown:
        return False
    labels = {unit: [textwrap.fill(row.name, LABEL) for row in rows] for unit, rows in shown.items()}
    heights = [0.6 + sum(0.16 + 0.16 * len(name.splitlines()) for name in names) for names in labels.values()]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (unit, rows) in zip(axes, shown.items(), strict=True):
        medians = [statistics.median(row.values) for row in rows]
        at = list(range(len(rows)))[::-1]
        axis.barh(at, medians, color=[_COLOUR if row.against else _BASE for row in rows], height=0.6)
        for y, row, median in zip(at, rows, medians, strict=True):
            axis.plot([min(row.values), max(row.values)], [y, y], color="black", linewidth=1)
            axis.annotate(
                number(median), (max(*row.values, median), y), (4, 0), textcoords="offset points", va="center"
            )
        axis.set_yticks(at, labels[unit])
        axis.set_xlabel(unit)
        axis.margins(x=0.12)
        axis.set_xlim(left=0)
        axis.spines[["top", "right"]].set_visible(False)
    # no date and no random ids, so that the same figures give the same file
    with rc_context({"svg.hashsalt": "verdict", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
    return True
