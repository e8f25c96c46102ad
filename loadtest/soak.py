"""Does the cluster grow? Its memory against the questions it has answered, under a load that does not change.

    python -m loadtest.soak [--seconds 600] [--names 16] [--out FILE]

Every SAMPLE_S seconds the resident memory of all its processes and the frames answered so far are noted. After the
first quarter, in which buffers and pools fill, a line is laid through them: its slope is bytes a frame, told as MiB a
million frames, with an interval from blocks of samples (neighbours are not independent). The processes that grew most
are told with theirs. Ends with 1 when the interval lies above zero.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from loadtest.arguments import count, positive, writable
from loadtest.cluster_bench import bodies
from loadtest.clusters import Running, running
from loadtest.frames import closed_loop, requests
from loadtest.processes import resident_below
from loadtest.stats import CONFIDENCE, Report, Result, command_line, describe_machine, quantile

SAMPLE_S = 5.0
CONNECTIONS = 4
BUDGET_MS = 30_000
WARM = 0.25  # of the samples
BLOCK = 6  # samples
RESAMPLES = 2000
LEAST_S = (2 * BLOCK + 1) / (1 - WARM) * SAMPLE_S  # for an interval
MIB_A_MILLION = 1e6 / 2**20


class Sample(NamedTuple):
    """Frames answered so far, resident bytes, and those of each process."""

    frames: float
    resident: float
    parts: Mapping[str, int] = MappingProxyType({})


class Slope(NamedTuple):
    """Bytes a frame, and the bounds between which they lie."""

    middle: float
    low: float
    high: float


def slope(samples: Sequence[Sample], seed: int = 0) -> Slope:
    """The slope of a line through the samples; its interval from blocks drawn anew. Needs two blocks at least."""
    blocks = [samples[start : start + BLOCK] for start in range(0, len(samples) - BLOCK + 1, BLOCK)]
    if len(blocks) < 2:
        raise ValueError(f"{len(samples)} samples: expected at least {2 * BLOCK}")
    rng = random.Random(seed)
    drawn = sorted(
        found
        for _ in range(RESAMPLES)
        if (found := _line([sample for block in rng.choices(blocks, k=len(blocks)) for sample in block])) is not None
    )
    middle = _line(samples)
    assert middle is not None
    tail = (1 - CONFIDENCE) / 2
    return Slope(middle, quantile(drawn, tail), quantile(drawn, 1 - tail))


def _line(samples: Sequence[Sample]) -> float | None:
    """Least squares; None where all samples stand at one place."""
    count = len(samples)
    x, y = sum(s.frames for s in samples) / count, sum(s.resident for s in samples) / count
    spread = sum((s.frames - x) ** 2 for s in samples)
    return sum((s.frames - x) * (s.resident - y) for s in samples) / spread if spread else None


def growing(samples: Sequence[Sample], most: int = 5) -> dict[str, Slope]:
    """The processes there from the first sample to the last that grew most, with their slopes."""
    there = set.intersection(*(set(sample.parts) for sample in samples))
    slopes = {name: slope([Sample(s.frames, s.parts[name]) for s in samples]) for name in there}
    return dict(sorted(slopes.items(), key=lambda item: -item[1].middle)[:most])


def measure(cluster: Running, seconds: float, names: int) -> list[Sample]:
    """Samples of a load in a closed loop; every answer must be a good one."""
    asked = requests(list(bodies(names)), token=cluster.resolver, budget_ms=BUDGET_MS)
    samples, frames = [], 0
    for _ in range(int(seconds / SAMPLE_S)):
        outcome = closed_loop(cluster.address, asked, names, CONNECTIONS, SAMPLE_S)
        if set(outcome.statuses) != {200} or outcome.lost:
            raise SystemExit(f"{dict(outcome.statuses)}, {outcome.lost} lost; expected 200 alone")
        frames += outcome.statuses[200]
        parts = resident_below(os.getpid())  # this process is no part of the cluster
        samples.append(Sample(frames, sum(parts.values()), parts))
    return samples[int(len(samples) * WARM) :]


def _told(slope: Slope) -> Slope:
    """In MiB a million frames."""
    return Slope(*(value * MIB_A_MILLION for value in slope))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=positive, default=600.0, help=f"{LEAST_S:.0f} or more")
    parser.add_argument("--names", type=count, default=16, help="in a frame")
    parser.add_argument("--out", type=writable, help="where the report goes, as JSON")
    given = parser.parse_args(arguments)
    if given.seconds < LEAST_S:
        parser.error(
            f"argument --seconds: {given.seconds:g}: expected {LEAST_S:.0f} or more, for two blocks of samples"
        )
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as cluster:
        samples = measure(cluster, given.seconds, given.names)
    found = _told(slope(samples))
    results = [
        Result("frames answered", "frames", [samples[-1].frames]),
        Result("resident at the end", "MiB", [samples[-1].resident / 2**20]),
        Result(
            "growth", "MiB a million frames", list(found), goal="zero within its interval", note="middle, low, high"
        ),
        *(
            Result(f"growth of {name}", "MiB a million frames", list(_told(its)))
            for name, its in growing(samples).items()
        ),
    ]
    report = Report("Soak", command_line(), results, describe_machine("ray", "tensorflow"))
    report.save(given.out)
    print(report.text())
    return 1 if found.low > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
