"""What the plugin costs a CoreDNS: the same Corefile with and without it, in ABBA order.

    python -m loadtest.plugin_bench [--quick] [--out FILE]

Warm: every question is in both caches before anything counts. Long chain: the same behind what operators run before the
plugin and beside it (metadata, prometheus, errors, log, rewrite), with the verdict in each line of the log. 5 % new: a
resolver's traffic, Zipf with one name in twenty asked once, after 60,000 queries of the same. New: nearly every name is
new, so that each waits for a verdict. In these two no run asks what one before it asked.
The cluster is a recorded one (`loadtest.recorded`), so that what is measured is the plugin; it runs in a process of its
own, beside dnsperf.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from loadtest.arguments import report_parser
from loadtest.compare import PER_CPU_SECOND, SLICE_S, compare, results
from loadtest.dns_load import write_queries
from loadtest.dnsperf import CannotCompare, Plan
from loadtest.processes import program
from loadtest.profiles import Profile, flat
from loadtest.recorded import Recording
from loadtest.stats import Report, Result, command_line, describe_machine
from loadtest.traffic import queries
from serve_app import golang
from serve_app.local.ports import free_port

WARM, LONG = "warm", "long chain"
# as many questions as both caches hold with room to spare: *cache* has 256 shards of 39 by default
KNOWN = Profile(benign=1_500, infected=0, one_time_share=0.0, service_share=0.0, malicious_share=0.0)
PROFILES = {
    WARM: KNOWN,
    LONG: KNOWN,
    "5 % new": Profile(benign=20_000, infected=0),
    "new names": Profile(benign=20_000, infected=0, one_time_share=0.95, service_share=0.0),
}
PAIRS = {WARM: 17, LONG: 8, "5 % new": 6, "new names": 6}
LATENCIES = 2000  # queries of the latency run: of 500 the 99.9th percentile is little else than the longest
RATES = {WARM: 2000, LONG: 2000, "5 % new": 2000, "new names": 500}  # queries a second of the latency run
# Traffic that goes on: the queries that come before anything counts, and those of one run, more than fit into it.
WARMED, PART, WARM_S = {"5 % new": 60_000, "new names": 2_000}, 25_000, 10.0
WARM_GOAL = 0.95
GOAL = f"{WARM_GOAL} of the bare queries a CPU second"
STANZA = """    verdict http://127.0.0.1:{port} {{
        token {folder}/token
        resolver bench
        mode enforce
        timeout 1s
    }}
"""
LONG_BEFORE = """    metadata
    prometheus 127.0.0.1:{metrics}
    errors
    log . "{{remote}} {{name}} {{type}} {{rcode}} {{duration}}{verdict}"
"""
LONG_AFTER = """    rewrite name exact gone.example.net here.example.net
"""
COREFILE = """. {{
    bind 127.0.0.1
{before}{stanza}    cache 300
{after}    template IN A . {{
        answer "{{{{ .Name }}}} 60 IN A 192.0.2.1"
    }}
    template ANY ANY . {{
        authority ". 60 IN SOA a.invalid. b.invalid. 1 3600 600 86400 60"
    }}
}}
"""


def corefiles(folder: Path, port: int, long: bool = False) -> tuple[str, str]:
    """Paths of the bare Corefile and of the one with the plugin."""
    (folder / "token").write_text("a-token\n")
    for name, stanza in (("bare", ""), ("verdict", STANZA.format(port=port, folder=folder))):
        shown = " {/verdict/action} {/verdict/source}" if stanza else ""
        before = LONG_BEFORE.format(metrics=free_port(), verdict=shown) if long else ""
        filled = COREFILE.format(before=before, stanza=stanza, after=LONG_AFTER if long else "")
        (folder / f"{name}.Corefile").write_text(filled)
    return str(folder / "bare.Corefile"), str(folder / "verdict.Corefile")


@contextmanager
def recorded_cluster(folder: Path) -> Iterator[int]:
    """A recorded cluster that calls every name benign, on a port of its own and on dnsperf's core."""
    Recording({"epoch": 1, "generation": "0" * 32, "model": "recorded"}, {}).save(folder / "verdicts.jsonl")
    port = free_port()
    command = [sys.executable, "-m", "loadtest.recorded", "serve", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--verdicts", str(folder / "verdicts.jsonl")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
            assert process.stdout is not None
            if not process.stdout.readline():
                raise CannotCompare("the recorded cluster did not start")
            yield port
        finally:
            process.terminate()


def scenario(name: str, folder: Path, port: int, pairs: int, seconds: float) -> list[Result]:
    """One kind of traffic, measured `pairs` times on each side."""
    file = folder / "queries.txt"
    count = 200_000
    write_queries(str(file), itertools.islice(queries(flat(PROFILES[name])), count))
    once: Path | None = None
    parts: tuple[Path, ...] = ()
    if name in WARMED:
        parts = split(file, [WARMED[name], *[PART] * (round(seconds / SLICE_S) + 1)])
    else:
        once = folder / "once.txt"
        once.write_text("".join(f"{line}\n" for line in sorted(set(file.read_text().splitlines()))))
    bare, ours = corefiles(folder, port, name == LONG)
    latency_s = max(1.0, LATENCIES / RATES[name])
    plan = Plan(file, seconds, latency_s, RATES[name], warm_s=WARM_S if parts else 1.0, once=once, parts=parts)
    a, b = compare(bare, ours, plan, pairs, str(golang.build()))
    found = results((f"{name}, bare", f"{name}, with verdict"), a, b)
    if name != WARM:
        return found
    return [replace(row, goal=GOAL) if row.unit == PER_CPU_SECOND and row.against else row for row in found]


def split(file: Path, counts: Sequence[int]) -> tuple[Path, ...]:
    """Files of so many of the queries each, one after another."""
    lines = file.read_text().splitlines(keepends=True)
    if sum(counts) > len(lines):
        raise ValueError(f"{file}: {len(lines)} queries, expected at least {sum(counts)}")
    ends = list(itertools.accumulate(counts))
    found = []
    for number, (count, end) in enumerate(zip(counts, ends, strict=True)):
        found.append(file.with_name(f"{file.name}.{number}"))
        found[-1].write_text("".join(lines[end - count : end]))
    return tuple(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = report_parser("plugin_bench", __doc__, quick="one short pair")
    options = parser.parse_args(arguments)
    seconds = 1.0 if options.quick else 2.0
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch, recorded_cluster(Path(scratch)) as port:
        for name in PROFILES:
            try:
                found += scenario(name, Path(scratch), port, 1 if options.quick else PAIRS[name], seconds)
            except CannotCompare as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1
    report = Report("CoreDNS with and without the plugin", command_line(), found, describe_machine())
    print(report.text())
    report.save(options.out)
    return 0


if __name__ == "__main__":
    program(main)
