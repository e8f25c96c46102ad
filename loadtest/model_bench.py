"""How fast names are normalised, encoded, scored and explained, in one process, on one core.

    python -m loadtest.model_bench [--quick] [--out FILE]

No cluster is involved: this is the ceiling that the cluster's figures are held against. The artifacts are those in
model/released.
"""

import os
import time
from collections.abc import Callable, Sequence

import numpy as np

from loadtest.arguments import report_parser
from loadtest.populations import Dga, benign_names
from loadtest.processes import program
from loadtest.stats import Report, Result, command_line, describe_machine
from model.artifact import Artifact
from model.classify import judge
from model.encoding import encoder
from model.explain import explain
from model.registry import RELEASED
from model.scorer import BATCH_SIZES, Scorer, set_threads
from verdicts.names import normalise, split

COUNT = 16_384  # names
EXPLAINED = 200  # names a round, each judged alone and then explained
QUANTILES = (50, 99)
ENCODINGS = ("codepoints-256", "segments-96")
GOALS = {"encode": "500,000 names/s"}


def rate(work: Callable[[], object], names: int, seconds: float) -> float:
    """Names a second of `work`, which does `names` of them, repeated for about `seconds` of CPU-bound time."""
    work()
    done, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        work()
        done += names
    return done / taken


def pieces(names: list[str]) -> dict[str, tuple[int, Callable[[], object]]]:
    """What is measured: its title, how many names one call does, the call."""
    found: dict[str, tuple[int, Callable[[], object]]] = {
        "normalise": (len(names), lambda: [normalise(name) for name in names]),
        "split at the public suffix, no cache": (len(names), lambda: [split.__wrapped__(name) for name in names]),
    }
    frame = "\n".join(names).encode()
    for encoding in ENCODINGS:
        encode = encoder(encoding).encode_frame
        found[f"encode {encoding}"] = (len(names), lambda encode=encode: encode(frame))  # type: ignore[misc]
    for path in sorted(path for path in RELEASED.iterdir() if path.is_dir()):
        scorer = Scorer(Artifact.load(path))
        rows = scorer.encoding(names)
        for size in BATCH_SIZES:
            batch = rows[:size]
            found[f"{path.name}, batch of {size}"] = (size, lambda s=scorer, b=batch: s(b))  # type: ignore[misc]
        found[f"{path.name}, classify whole names"] = (len(names), lambda s=scorer: list(judge(names, s)))  # type: ignore[misc]
    return found


def explained(names: Sequence[str], rounds: int) -> list[Result]:
    """What the explanation of one name costs in each model, beside the verdict of that name alone."""
    results = []
    for path in sorted(path for path in RELEASED.iterdir() if path.is_dir()):
        scorer = Scorer(Artifact.load(path))
        works = (lambda name, s=scorer: list(judge([name], s)), lambda name, s=scorer: explain(s, name))
        # Each name is judged and explained in turn, so that drift of the machine falls on both alike; the first round
        # is the network's first of each size.
        taken = [[[milliseconds(work, name) for work in works] for name in names] for _ in range(rounds + 1)][1:]
        for quantile, found in zip(QUANTILES, np.percentile(taken, QUANTILES, axis=1), strict=True):  # (rounds, 2)
            judged, told = found.T.tolist()
            title, pair = f"{path.name}, one name explained, p{quantile}", "the verdict alone"
            results.append(Result(title, "ms", told, pair, judged))
    return results


def milliseconds(work: Callable[[str], object], name: str) -> float:
    """What one call takes."""
    start = time.perf_counter()
    work(name)
    return (time.perf_counter() - start) * 1e3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = report_parser("model_bench", __doc__, quick="one short repetition")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    set_threads(1)
    rounds, seconds = (1, 0.2) if options.quick else (7, 1.0)
    names = [*benign_names(COUNT * 3 // 4, 1), *Dga(1, COUNT // 4).names(0)]
    measured = pieces(names)
    values: dict[str, list[float]] = {title: [] for title in measured}
    for number in range(rounds):  # every second round backwards, so that drift falls on all alike
        for title in list(measured)[:: 1 if number % 2 == 0 else -1]:
            count, work = measured[title]
            values[title].append(rate(work, count, seconds))
    results = [
        Result(title, "names/s", found, goal=next((g for k, g in GOALS.items() if title.startswith(k)), ""))
        for title, found in values.items()
    ]
    results += explained(names[:: COUNT // (8 if options.quick else EXPLAINED)], rounds)
    report = Report("Encoding and network, one core", command_line(), results, describe_machine("numpy", "tensorflow"))
    print(report.text())
    report.save(options.out)
    return 0


if __name__ == "__main__":
    program(main)
