"""Does the cluster grow with the questions it answers? Its memory after spells of questions against spells of rest.

    python -m loadtest.soak [--seconds 3600] [--names 16] [--out FILE]

Spells of SPELL_S with a load that does not change stand beside spells without one (asked, rest, rest, asked), since
processes of Ray grow for most of an hour whether anybody asks or not. The growth of whole rounds of four spells is told
by their questions (MiB a million frames); so is what the asked spells grew by more than those of rest, where what is
given back at rest counts too, and the growth at rest (MiB an hour). Each has an interval by what each round changes of
it (the jackknife, with Student's t: rounds are few). The first quarter, in which buffers and pools fill, does not
count. Ends with 1 when the growth lies above zero, or a question was not answered.
"""

import math
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loadtest.arguments import count, positive, report_parser
from loadtest.cluster_bench import bodies
from loadtest.clusters import running
from loadtest.frames import closed_loop, patience, requests
from loadtest.processes import program, resident_below
from loadtest.stats import Report, Result, command_line, describe_machine, student

SPELL_S = 90.0
CALM_S = 2.0  # of each, at its end, without questions: what is in flight has ended before memory is read
CONNECTIONS = 8
BUDGET_MS = 30_000
WARM = 0.25  # of the rounds
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
    """All of it, and what goes by questions, in bytes a frame; what goes by time in bytes a second."""

    whole: Slope
    questions: Slope
    time: Slope


def growth(spells: Sequence[Spell], part: str = "") -> Growth:
    """Of all processes together, or of one. Needs two rounds at least, in each of which questions were answered."""
    rounds = [spells[start : start + len(ORDER)] for start in range(0, len(spells), len(ORDER))]
    if len(rounds) < 2 or len(rounds[-1]) < len(ORDER):
        raise ValueError(f"{len(spells)} spells: expected {2 * len(ORDER)} or another multiple of {len(ORDER)}")
    count = len(rounds)
    without = [_growth([*rounds[:i], *rounds[i + 1 :]], part) for i in range(count)]
    found = []
    for middle, values in zip(_growth(rounds, part), zip(*without, strict=True), strict=True):
        wide = student(count - 1) * (count - 1) / math.sqrt(count) * statistics.stdev(values)
        found.append(Slope(middle, middle - wide, middle + wide))
    return Growth(*found)


def _growth(rounds: Sequence[Sequence[Spell]], part: str) -> tuple[float, float, float]:
    asked = [spell for spells in rounds for spell in spells if spell.frames]
    rest = [spell for spells in rounds for spell in spells if not spell.frames]
    by_time = sum(_grown(spell, part) for spell in rest) / sum(spell.seconds for spell in rest)
    frames = sum(spell.frames for spell in asked)
    more = sum(_grown(spell, part) - by_time * spell.seconds for spell in asked)
    return sum(_grown(spell, part) for spell in [*asked, *rest]) / frames, more / frames, by_time


def _grown(spell: Spell, part: str) -> float:
    return spell.grown.get(part, 0.0) if part else sum(spell.grown.values())


def growing(spells: Sequence[Spell], most: int = 5) -> dict[str, Growth]:
    """The processes that were there throughout and grew most."""
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
            outcome = closed_loop(address, asked, names, CONNECTIONS, SPELL_S - CALM_S, lost_s=patience(BUDGET_MS))
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
        Result("growth", "MiB a million frames", _mib(every.whole, 1e6), goal="zero within its interval"),
        Result("growth by questions", "MiB a million frames", _mib(every.questions, 1e6)),
        Result("growth at rest", "MiB an hour", _mib(every.time, 3600)),
        *(
            Result(f"growth of {name}", "MiB a million frames", _mib(its.whole, 1e6))
            for name, its in growing(spells).items()
        ),
    ]


def _mib(slope: Slope, times: float) -> list[float]:
    return [value * times / 2**20 for value in slope]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = report_parser("soak", __doc__)
    parser.add_argument("--seconds", type=positive, default=3600.0, help="rounded to rounds of four spells")
    parser.add_argument("--names", type=count, default=16, help="in a frame")
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
    print(report.text())
    report.save(given.out)
    return 1 if failed or growth(counted).whole.low > 0 else 0


if __name__ == "__main__":
    program(main)
