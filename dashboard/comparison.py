"""Model versions side by side: one row a figure, one column a version, the best of a row marked."""

from collections.abc import Sequence
from typing import Any

from dashboard.components import READY, Lines, Table
from dashboard.page import columns, panel, stack
from dashboard.training import block_bound, confusion_rows, fixed_rows, reliability

MOST = 4  # versions: more do not fit beside each other
Json = dict[str, Any]


class Comparison:
    """A table of figures and the reliability curves of `versions`, hidden while there are fewer than two."""

    def __init__(self) -> None:
        self.versions: list[str] = []
        self.table = Table(
            heading="Side by side", caption="models side by side", empty="These models have no figure.", status=READY
        )
        self.reliable = Lines.reliability("Reliability on names held out", "These models have no such evaluation.")
        self.frame = stack(columns(panel(self.table), panel(self.reliable), least=420, shares=(3, 2)), visible=False)

    def view(self) -> Any:
        return self.frame

    def show(self, versions: Sequence[str], models: Sequence[Json], in_force: Json | None = None) -> None:
        """Show them; `models` are what the control API tells of each, `in_force` the thresholds of the policy."""
        self.versions = list(versions)
        self.frame.visible = len(versions) > 1
        heads = [{"key": f"v{at}", "label": version, "kind": "best"} for at, version in enumerate(versions)]
        self.table.param.update(
            columns=[{"key": "figure", "label": "Figure", "kind": "text"}, *heads], rows=figures(models, in_force)
        )
        self.reliable.series = [
            {"label": f"{version}, {curve['label']}", "points": curve["points"]}
            for version, model in zip(versions, models, strict=True)
            for curve in reliability(model.get("evaluation") or {})
            if curve["label"].startswith("test")
        ]


def figures(models: Sequence[Json], in_force: Json | None = None) -> list[Json]:
    """Rows `figure`, `v0`, `v1`, ... of text, and `best`: the keys of the best values where one is better."""
    plain = [_plain(model, in_force) for model in models]
    rates = [_rates(model.get("evaluation") or {}) for model in models]
    rows = (
        [{"figure": key, **{f"v{at}": each[key] for at, each in enumerate(plain)}, "best": []} for key in plain[0]]
        if plain
        else []
    )
    for figure in dict.fromkeys(key for each in rates for key in each):
        values = [each.get(figure) for each in rates]
        known = [value for value in values if value is not None]
        wanted = min(known) if figure.endswith("false positives") else max(known)
        best = [f"v{at}" for at, value in enumerate(values) if value == wanted] if len(set(known)) > 1 else []
        cells = {f"v{at}": "\u2013" if value is None else f"{100 * value:.2f} %" for at, value in enumerate(values)}
        rows.append({"figure": figure, **cells, "best": best})
    return rows


def _plain(model: Json, in_force: Json | None) -> dict[str, str]:
    manifest = model.get("manifest", model)
    return {
        "network": str(manifest.get("network", "")),
        "taught from": str(manifest.get("parent") or "\u2013"),
        "block bound": block_bound(manifest, in_force),
    }


def _rates(evaluation: Json) -> dict[str, float]:
    """The rates of an evaluation by a name that says on which names, at which setting."""
    found: dict[str, float] = {}
    for row in reversed(confusion_rows(evaluation)):  # names held out first: they decide
        for key, what in (("recall", "recall"), ("precision", "precision"), ("fpr", "false positives")):
            if row[key] is not None:
                found[f"{row['part']}, at the thresholds: {what}"] = row[key]
    for row in fixed_rows(evaluation):
        if row["recall"] is not None and row["part"].startswith("test"):
            found[f"{row['part']}, at {row['fpr']:g} false positives: recall"] = row["recall"]
    return found
