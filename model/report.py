"""An evaluation for people: text and plots."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.metrics import ENOUGH

HEADS = ("generated", "malicious")


def as_text(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    benign = ", ".join(f"{name} {count:,}" for name, count in report["benign"].items())
    lines = [
        f"# Evaluation of {report['model']}", "",
        f"{report['parameters']:,} parameters. Judged benign names by kind: {benign}. Malicious: "
        f"{report['malicious']['dga']:,} generated, {report['malicious']['feed']:,} from feeds. "
        + taught(report["held_out_fold"]), "", *(f"**{notice}**\n" for notice in report["notices"]),
        "## True-positive rates", "",
        "At the threshold of the strictest kind of benign names (in brackets: of all pooled); means over families of "
        "100 registered domains or more, 95 % interval by resampling registered domains, the threshold held still.", "",
        "| group | families | " + " | ".join(f"at {rate}" for rate in report["rates"]) + " |",
        "|---|---:|" + "---|" * len(report["rates"]),
    ]  # fmt: skip
    groups = next(iter(report["rates"].values()))["strictest"]["groups"]
    for name in sorted(groups):
        cells = []
        for found in report["rates"].values():
            strict, pooled = found["strictest"]["groups"][name], found["pooled"]["groups"][name]
            cells.append(f"{strict['value']:.3f} [{strict['low']:.3f}, {strict['high']:.3f}] ({pooled['value']:.3f})")
        lines.append(f"| {name} | {groups[name]['families']} | " + " | ".join(cells) + " |")
    lines += ["", "## Feeds", "",
              "Each registered domain counts once, by the share of its names that are found; no names under private "
              "suffixes or on hacked sites.", "",
              "| feed | " + " | ".join(f"at {rate}" for rate in report["rates"]) + " |",
              "|---|" + "---|" * len(report["rates"])]  # fmt: skip
    for name in next(iter(report["rates"].values()))["strictest"]["feeds"]:
        cells = [f"{found['strictest']['feeds'][name]:.3f}" for found in report["rates"].values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    means = [found["strictest"]["feeds_mean"] for found in report["rates"].values()]
    if all(means):
        cells = [f"{mean['value']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}]" for mean in means]
        lines.append("| mean | " + " | ".join(cells) + " |")
    lines += ["", "## Thresholds", "", "What each kind of benign names needs, by head; the highest, in bold, is the "
              f"threshold of the tables above; kinds of fewer than {ENOUGH:,} names set none beside larger ones.", "",
              "| kind | " + " | ".join(f"{head} at {rate}" for rate in report["rates"] for head in HEADS) + " |",
              "|---|" + "---:|" * (len(HEADS) * len(report["rates"]))]  # fmt: skip
    for name, count in report["benign"].items():
        limits = [found["thresholds"][head] for found in report["rates"].values() for head in HEADS]
        if count:
            cells = [f"{limit['by_stratum'][name]:.4g}" for limit in limits]
            bold = [f"**{cell}**" if limit["stratum"] == name else cell
                    for cell, limit in zip(cells, limits, strict=True)]  # fmt: skip
            lines.append(f"| {name} | " + " | ".join(bold) + " |")
    lines += ["", "## Hard benign names", "", "Flagged at the strictest thresholds of 0.001, the hardest first.", "",
              "| kind or source | names | generated | malicious |", "|---|---:|---:|---:|"]  # fmt: skip
    hard = report["hard_benign"]
    for kind in sorted(hard, key=lambda kind: -hard[kind]["generated"]):
        found = hard[kind]
        lines.append(f"| {kind} | {found['names']:,} | {found['generated']:.4f} | {found['malicious']:.4f} |")
    lines += ["", "## Tiers", "", "| tier | benign | false positives | 95 % bound | generated names flagged |",
              "|---|---:|---:|---:|---:|"]  # fmt: skip
    for tier, found in report["tiers"].items():
        lines.append(f"| {tier} | {found['benign']:,} | {found['false_positives']} | {found['bound']:.2g} "
                     f"| {found['dga_flagged']:.3f} |")  # fmt: skip
    lines += ["", "## Written otherwise", "", "| variant | generated flagged | benign flagged |", "|---|---:|---:|"]
    for variant, found in report["robustness"].items():
        lines.append(f"| {variant} | {found['true_positives']:.3f} | {found['false_positives']:.4f} |")
    lines += ["", "## Calibration", ""]
    for head, found in report["calibration"].items():
        lines.append(f"- {head}: log-loss {found['log_loss']:.5f}, of a constant {found['log_loss_of_constant']:.5f} "
                     f"(base rate {found['base_rate']:.4f})")  # fmt: skip
    lines += ["", "Share of malicious names at the base rate, where the network says so much.", "",
              "| head | from | to | names | predicted | observed |", "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for head, found in report["calibration"].items():
        for row in found["reliability"]:
            lines.append(f"| {head} | {row['from']:g} | {min(row['to'], 1):g} | {row['names']:,} "
                         f"| {row['predicted']:.3g} | {row['observed']:.3g} |")  # fmt: skip
    lines += ["", "## Within private suffixes (AUC of malicious)", ""]
    lines += [f"- {suffix}: {value}" for suffix, value in sorted(report["private_suffixes"].items())]
    return "\n".join(lines) + "\n"


def taught(held_out: int) -> str:
    return (
        f"Families of fold {held_out} never taught it." if held_out >= 0 else "No family was held out of its training."
    )


def plot(report: dict[str, Any], scores: dict[str, NDArray[np.float32]], out: Path) -> None:
    """`roc.png` (false-positive rates on a logarithmic scale) and `calibration.png`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    benign = np.sort(scores["benign"])[::-1]
    rates = np.logspace(-5, 0, 200)
    limits = benign[np.minimum((rates * len(benign)).astype(int), len(benign) - 1)]
    axes.semilogx(rates, [(scores["generated"] > limit).mean() for limit in limits])
    axes.set(xlabel="false-positive rate, pooled benign names", ylabel="generated names flagged", ylim=(0, 1))
    axes.grid(alpha=0.3)
    figure.savefig(out / "roc.png", dpi=120, bbox_inches="tight")
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    for head, found in report["calibration"].items():
        rows = found["reliability"]
        axes.loglog([row["predicted"] for row in rows], [max(row["observed"], 1e-6) for row in rows], "o-", label=head)
    axes.plot([1e-5, 1], [1e-5, 1], "k:", lw=1)
    axes.set(xlabel="predicted share of malicious names", ylabel="observed")
    axes.legend()
    figure.savefig(out / "calibration.png", dpi=120, bbox_inches="tight")
