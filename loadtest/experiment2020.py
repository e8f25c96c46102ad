"""The claim of 2020 and the honest split, measured anew for the README; needs the two lists.

    python -m loadtest.experiment2020 --data DIR [--out docs/benchmarks/experiment2020.json]

The same as `verdict train --network seed --rows 500 --data DIR` and `verdict evaluate --network seed --data DIR
--seeds 3`, as one report. No part of `make bench`, because the lists are not in the repository.
"""

import sys
from collections.abc import Sequence

from loadtest.arguments import report_parser
from loadtest.processes import program
from loadtest.stats import Report, Result, describe_machine
from model.experiment2020 import load, repeat

COMMAND = "python -m loadtest.experiment2020 --data DIR"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train eight small networks and report."""
    parser = report_parser("experiment2020", __doc__)
    parser.add_argument("--data", required=True, metavar="DIR", help="folder or URL of the two lists")
    options = parser.parse_args(arguments)
    try:
        lists = load(options.data)
    except (OSError, ValueError) as error:
        parser.error(f"argument --data: {error}")
    first = repeat(lists, 500, seeds=5, epochs=30, progress=_show)
    whole = repeat(lists, None, seeds=3, epochs=15, progress=_show)
    results = [
        Result("repeated, first 500 rows", "% accuracy", [round(100 * run.test, 1) for run in first]),
        Result("all rows, split at random", "% accuracy", [round(100 * run.test, 1) for run in whole]),
    ]
    report = Report("The experiment of 2020", COMMAND, results, describe_machine("tensorflow"))
    print(report.text())
    report.save(options.out)
    return 0


def _show(line: dict[str, object]) -> None:
    if "seed" in line:
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    program(main)
