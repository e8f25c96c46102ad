"""Does the cluster grow with the questions it answers? Its memory after spells of questions against spells of rest.

    python -m loadtest.soak [--seconds 3600] [--names 16] [--out FILE]

Processes of Ray grow for hours whether anybody asks or not, so that a line through memory against questions would tell
time as questions. Here spells of SPELL_S with a load that does not change stand beside spells without one: asked, rest,
rest, asked, and so on, so that what goes evenly by time falls out. Each begins and ends at rest. From the difference
comes the growth by questions (MiB a million frames), from the rest alone that by time (MiB an hour), each with an
interval from rounds of four spells drawn anew. The first quarter, in which buffers and pools fill, does not count. Ends
with 1 when growth by questions lies above zero, or a question was not answered.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loadtest.arguments import count, positive, writable
from loadtest.cluster_bench import bodies
from loadtest.clusters import running
from loadtest.frames import closed_loop, requests
from loadtest.processes import resident_below
from loadtest.stats import CONFIDENCE, Report, Result, command_line, describe_machine, quantile

SPELL_S = 90.0
CALM_S = 2.0  # of each, at its end, without questions: what is in flight has ended before memory is read
CONNECTIONS = 8
BUDGET_MS = 30_000
WARM = 0.25  # of the rounds
RESAMPLES = 2000
LEAST_ROUNDS = 3  # one to warm up, two for an interval
ORDER = (True, False, False, True)  # whether questions are asked


class Spell(NamedTuple):
    """What happened in it: frames answered, seconds, and the bytes by which each process grew."""

    frames: float
    seconds: float
    grown: Mapping[str, float]


class Slope(NamedTuple):
    """The growth, and the bounds between which it lies."""

    middle: float
    low: float
    high: float


class Growth(NamedTuple):
    """By questions in bytes a frame, by time in bytes a second."""

    questions: Slope
    time: Slope


def growth(spells: Sequence[Spell], part: str = "", seed: int = 0) -> Growth:
    """Of all processes together, or of one. Needs two rounds at least, in each of which questions were answered."""
    rounds = [spells[start : start + len(ORDER)] for start in range(0, len(spells), len(ORDER))]
    if len(rounds) < 2 or len(rounds[-1]) < len(ORDER):
        raise ValueError(f"{len(spells)} spells: expected {2 * len(ORDER)} or another multiple of {len(ORDER)}")
    rng = random.Random(seed)
    drawn = [_growth(rng.choices(rounds, k=len(rounds)), part) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2
    found = [
        Slope(middle, quantile(sorted(values), tail), quantile(sorted(values), 1 - tail))
        for middle, values in zip(_growth(rounds, part), zip(*drawn, strict=True), strict=True)
    ]
    return Growth(*found)


def _growth(rounds: Sequence[Sequence[Spell]], part: str) -> tuple[float, float]:
    """Bytes a frame, and bytes a second of rest."""
    asked = [spell for spells in rounds for spell in spells if spell.frames]
    rest = [spell for spells in rounds for spell in spells if not spell.frames]
    by_time = sum(_grown(spell, part) for spell in rest) / sum(spell.seconds for spell in rest)
    more = sum(_grown(spell, part) - by_time * spell.seconds for spell in asked)
    return more / sum(spell.frames for spell in asked), by_time


def _grown(spell: Spell, part: str) -> float:
    return spell.grown.get(part, 0.0) if part else sum(spell.grown.values())


def growing(spells: Sequence[Spell], most: int = 5) -> dict[str, Growth]:
    """The processes that were there throughout and grew most, by questions and time together."""
    there = set.intersection(*(set(spell.grown) for spell in spells))
    ordered = sorted(there, key=lambda name: -sum(spell.grown[name] for spell in spells))
    return {name: growth(spells, name) for name in ordered[:most]}


def measure(address: tuple[str, int], token: str, rounds: int, names: int) -> tuple[list[Spell], int]:
    """The spells, and how many questions were not answered with a 200. What is measured are the processes below this
    one; one that comes or goes grows by all it holds."""
    asked = requests(list(bodies(names)), token=token, budget_ms=BUDGET_MS)
    spells, failed = [], 0
    called: dict[str, str] = {}
    before, began = _resident(called), time.monotonic()
    for loaded in ORDER * rounds:
        frames = 0
        if loaded:
            outcome = closed_loop(address, asked, names, CONNECTIONS, SPELL_S - CALM_S)
            frames = outcome.statuses[200]
            failed += outcome.statuses.total() - frames + outcome.lost
        time.sleep(max(0.0, began + SPELL_S - time.monotonic()))
        now, ended = _resident(called), time.monotonic()
        grown = {name: float(now.get(name, 0) - before.get(name, 0)) for name in {*before, *now}}
        spells.append(Spell(frames, ended - began, grown))
        before, began = now, ended
    return spells, failed


def _resident(names: dict[str, str]) -> dict[str, int]:
    """Resident bytes of each process below this one, by the name under which it was first seen: Ray's change theirs."""
    found = resident_below(os.getpid())
    return {names.setdefault(name.partition(" ")[0], name): octets for name, octets in found.items()}


def warm(spells: Sequence[Spell]) -> Sequence[Spell]:
    """Without the rounds of the warm-up."""
    return spells[max(1, round(len(spells) / len(ORDER) * WARM)) * len(ORDER) :]


def results(spells: Sequence[Spell], failed: int) -> list[Result]:
    """The rows of the report."""
    every = growth(spells)
    return [
        Result("frames answered", "frames", [sum(spell.frames for spell in spells)]),
        Result("questions not answered", "frames", [failed], goal="0"),
        Result("growth by questions", "MiB a million frames", _a_million(every), goal="zero within its interval"),
        Result("growth at rest", "MiB an hour", _an_hour(every)),
        *(
            row
            for name, its in growing(spells).items()
            for row in (
                Result(f"{name}, by questions", "MiB a million frames", _a_million(its)),
                Result(f"{name}, at rest", "MiB an hour", _an_hour(its)),
            )
        ),
    ]


def _a_million(its: Growth) -> list[float]:
    return [value * 1e6 / 2**20 for value in its.questions]


def _an_hour(its: Growth) -> list[float]:
    return [value * 3600 / 2**20 for value in its.time]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=positive, default=3600.0, help="rounded to rounds of four spells")
    parser.add_argument("--names", type=count, default=16, help="in a frame")
    parser.add_argument("--out", type=writable, help="where the report goes, as JSON")
    given = parser.parse_args(arguments)
    rounds = round(given.seconds / SPELL_S / len(ORDER))
    if rounds < LEAST_ROUNDS:
        least = LEAST_ROUNDS * len(ORDER) * SPELL_S
        parser.error(f"argument --seconds: {given.seconds:g}: expected {least:.0f} or more, for {LEAST_ROUNDS} rounds")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as cluster:
        spells, failed = measure(cluster.address, cluster.resolver, rounds, given.names)
        held = sum(resident_below(os.getpid()).values())
    counted = warm(spells)
    report = Report(
        "Soak",
        command_line(),
        [Result("resident at the end", "MiB", [held / 2**20]), *results(counted, failed)],
        describe_machine("ray", "tensorflow"),
        ["Growth: the middle, and between which bounds it lies."],
    )
    report.save(given.out)
    print(report.text())
    return 1 if failed or growth(counted).questions.low > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
