"""What a vetted list of a million names costs: to load, to match, to follow a change of it, to import.

    python -m loadtest.lists_bench [--entries 1000000] [--store sqlite,elastic] [--quick] [--out FILE]

On both stores. Each figure stands beside what the same names cost without us: a plain dict, `executemany` into a bare
table, the client's `parallel_bulk` into an index of the same mapping. Processes of their own load, as an ingress
replica does that starts. `--url` names an Elasticsearch; without it one is started from Maven Central's archive.
"""

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import msgspec
from elasticsearch import Elasticsearch, helpers

from loadtest.arguments import count as whole_number
from loadtest.arguments import report_parser
from loadtest.log_bench import elastic_url, store_at
from loadtest.processes import program
from loadtest.stats import Report, Result, command_line, compare, describe_machine
from verdicts.follower import Follower
from verdicts.list_formats import Row, parse
from verdicts.list_holders import Direct
from verdicts.lists import Lists, entry
from verdicts.store import Document, open_store
from verdicts.store.elastic_schema import index_body

LIST = "blocklist"
STORES = {"sqlite": "SQLite", "elastic": "Elasticsearch"}
FRAME = 1024
PIECE = 10_000  # entries of a turn, ours and theirs: what one commit holds
PAIRS, CHANGES = 7, 10
STARTS = 2  # of a million entries: no figure of a second is told by more
IMPORT_GOAL_S = 60.0


class Cost(NamedTuple):
    """Seconds of this process's processor time, and by the clock."""

    cpu: float
    wall: float


def cost_of(work: Callable[[], object]) -> Cost:
    """What a piece of work takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def listed(entries: int, seed: int = 0) -> list[str]:
    """Distinct names as feeds list them."""
    draw = random.Random(f"listed {seed}")
    tops = ("com", "net", "org", "ru", "info", "xyz", "top", "co.uk", "com.br")
    found: dict[str, None] = {}
    while len(found) < entries:
        found[f"{'www.' if draw.random() < 0.3 else ''}site-{draw.randbytes(5).hex()}.{draw.choice(tops)}"] = None
    return list(found)


def imported(url: str, rows: list[Row]) -> None:
    """Import as `verdict lists import` does."""
    with closing(Direct(url, "bench", 1)) as holder:
        assert sum(holder.add(LIST, rows, "feed", None)) == len(rows)


def executed(path: Path, documents: list[Document]) -> None:
    """The same documents into a bare table, in one transaction."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE bare (kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID")
        rows = [(d.kind, d.key, msgspec.json.encode(d.body).decode()) for d in documents]
        with db:
            db.executemany("INSERT INTO bare VALUES (?, ?, ?)", sorted(rows))


def sent(client: Elasticsearch, index: str, documents: list[Document]) -> None:
    """The same documents by the client's own helper, with our mapping."""
    client.indices.create(index=index, **index_body("bare", "state", 1, 0))
    actions = (
        {
            "_op_type": "index", "_index": index, "_id": f"{d.kind}:{d.key}",
            "_source": {
                "kind": d.kind, "key": d.key, "epoch": 1, "time": 1, "author": "bench", "note": "feed",
                "present": True, "body": msgspec.json.encode(d.body).decode(),
            },
        }
        for d in documents
    )  # fmt: skip
    for _ in helpers.parallel_bulk(client, actions, chunk_size=1000):
        pass
    client.indices.refresh(index=index)


def paired(name: str, url: str, bare: Callable[[list[Document]], object], piece: int, pairs: int) -> list[Result]:
    """An import of `piece` entries against a bare write of as many, in ABBA order, each turn of names of its own.

    Before that each once, which does not count.
    """
    turn = count(1)

    def ours() -> Cost:
        drawn = [Row(suffix) for suffix in listed(piece, next(turn))]
        return cost_of(lambda: imported(url, drawn))

    def theirs() -> Cost:
        drawn = [entry(LIST, suffix, "feed", None, 1, "bench") for suffix in listed(piece, next(turn))]
        return cost_of(lambda: bare(drawn))

    theirs(), ours()  # a server that has just started compiles what it runs
    raw, import_ = compare(theirs, ours, pairs)
    found: list[Result] = []
    for place, unit in enumerate(("entries/CPU-s", "entries/s")):
        left, right = ([piece / cost[place] for cost in side] for side in (raw, import_))
        found.append(Result(f"{name}: bare write", unit, left))
        found.append(Result(f"{name}: import", unit, right, "bare write", left))
    return found


def whole(name: str, url: str, rows: list[Row]) -> list[Result]:
    """An import of the whole list into an empty store; then of a tenth of it, all of which is there."""
    tenth = sorted(rows)[: len(rows) // 10]
    first = cost_of(lambda: imported(url, rows))
    again = cost_of(lambda: imported(url, tenth))
    note = f"{len(rows):,} entries; {first.cpu:.1f} s of this process's processor"
    goal = f"{IMPORT_GOAL_S:g} s a million"
    rates = [len(rows) / first.wall], [len(tenth) / again.wall]
    return [
        Result(f"{name}: import of the whole list", "s", [first.wall], goal=goal, note=note),
        Result(f"{name}: import of the whole list", "entries/s", rates[0]),
        Result(f"{name}: of what is there already", "entries/s", rates[1], "the first time", rates[0]),
    ]


class Started(msgspec.Struct):
    """What a process that begins with a list measured: seconds, and MiB that it grew by."""

    seconds: float
    mib: float
    entries: int


def start(url: str, snapshot: Path) -> Started:
    """Follow a store once from nothing, or from a snapshot that is there; what an ingress replica does first."""
    command = [sys.executable, "-m", "loadtest.lists_bench", "--start", url, str(snapshot)]
    # In a session of its own Ctrl-C does not reach it, which would say so a second time: `run` ends it.
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300, start_new_session=True)
    return msgspec.json.decode(done.stdout, type=Started)


def started(url: str, snapshot: Path) -> Started:
    """`start`, in the process that does it."""
    before = resident()
    began = time.perf_counter()
    follower = Follower(url, snapshot)
    if not follower.loaded:
        follower.poll()
    seconds = time.perf_counter() - began
    found = Started(seconds, (resident() - before) / 2**20, len(follower.view.lists))
    follower.save()
    follower.close()
    return found


def resident() -> int:
    """Octets of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def starting(name: str, url: str, folder: Path, rows: list[Row], runs: int) -> list[Result]:
    """From the store and from the snapshot, each beside a dict of the same names made of a list of them."""
    stores: list[Started] = []
    snapshots: list[Started] = []
    plain: list[float] = []
    for run in range(runs):
        snapshot = folder / f"snapshot-{name}-{run}"
        stores.append(start(url, snapshot))
        snapshots.append(start(url, snapshot))
        plain.append(cost_of(lambda: {row.name: 4 for row in rows}).wall)
        assert stores[-1].entries == snapshots[-1].entries == len(rows)
    found = []
    for what, side in (("the store", stores), ("the snapshot", snapshots)):
        seconds = [item.seconds for item in side]
        note = f"{max(item.mib for item in side):.0f} MiB more resident"
        found.append(Result(f"{name}: start from {what}", "s", seconds, "a plain dict", plain, "5 s", note))
    return found


def matching(rows: list[Row], runs: int) -> list[Result]:
    """A frame of names of which half are listed, two labels below; against the look-up of the names alone in a dict."""
    lists = Lists.of_keys((f"{LIST}/{row.name}" for row in rows), {})
    plain = {row.name: 4 for row in rows}
    half = [f"a.b.{row.name}" for row in random.Random(0).sample(rows, FRAME // 2)]
    frame = [name for pair in zip(half, listed(FRAME // 2, -1), strict=True) for name in pair]
    turns = range(20)

    def theirs() -> float:
        return cost_of(lambda: [[plain.get(name) for name in frame] for _ in turns]).cpu

    def ours() -> float:
        return cost_of(lambda: [lists.match_frame(frame) for _ in turns]).cpu

    assert sum(hit is not None for hit in lists.match_frame(frame)) == FRAME // 2
    each = FRAME * len(turns) / 1e6
    raw, match = ([cost / each for cost in side] for side in compare(theirs, ours, runs))
    return [
        Result("a dict's look-up", "us/name", raw),
        Result("match by suffix", "us/name", match, "a dict's look-up", raw, "10 us"),
    ]


def following(name: str, url: str, folder: Path) -> list[Result]:
    """From a change of one entry to the list that holds it, with all others there; and what it costs the replica."""
    with closing(open_store(url)) as store, closing(Follower(url, folder / f"snapshot-{name}-0")) as follower:
        follower.poll()
        seconds: list[float] = []
        for number in range(CHANGES):
            suffix = f"change-{number}.org"
            store.commit([entry(LIST, suffix, "report", None, 1, "bench")], "bench")
            seconds.append(cost_of(follower.poll).wall)
            assert follower.view.lists.holds(LIST, suffix)
    note = "of one entry among all; a replica asks each quarter of a second"
    return [Result(f"{name}: a change followed", "s", seconds, goal="2 s", note=note)]


@contextmanager
def opened(kind: str, elastic: str) -> Iterator[tuple[str, Callable[[list[Document]], object], Path]]:
    """A new store of this kind, set up: its URL, how the same documents are written without us, and a folder."""
    turn = count()
    with tempfile.TemporaryDirectory(prefix="verdict-lists-") as scratch:
        folder = Path(scratch)
        if kind == "sqlite":
            url = f"sqlite:///{folder.resolve()}/verdict.db"
            with closing(open_store(url)) as store:
                store.initialise()
            yield url, lambda documents: executed(folder / f"bare-{next(turn)}.db", documents), folder
            return
        with store_at(elastic or elastic_url()) as found:
            url = f"{found.settings.hosts[0]}/?prefix={found.settings.prefix}&replicas=0&timeout=120"
            client, prefix = found.client, found.settings.prefix
            yield url, lambda documents: sent(client, f"{prefix}-bare-{next(turn)}", documents), folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = report_parser("lists_bench", __doc__, quick="few entries, one run")
    parser.add_argument("--entries", type=whole_number, default=1_000_000)
    parser.add_argument("--store", default=",".join(STORES), help="of sqlite, elastic; comma-separated (%(default)s)")
    parser.add_argument("--url", default=os.environ.get("VERDICT_TEST_ELASTIC_URL", ""))
    parser.add_argument("--start", nargs=2, metavar=("URL", "SNAPSHOT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.start:
        print(msgspec.json.encode(started(options.start[0], Path(options.start[1]))).decode())
        return 0
    kinds = [kind.strip() for kind in options.store.split(",")]
    if unknown := set(kinds) - set(STORES):
        parser.error(f"--store {', '.join(sorted(unknown))}: expected some of {', '.join(STORES)}")
    if options.entries < FRAME:
        parser.error(f"--entries {options.entries}: expected at least {FRAME:,}, which a frame takes")
    entries, pairs, runs = (5000, 1, 1) if options.quick else (options.entries, PAIRS, STARTS)
    rows = [Row(name) for name in listed(entries)]
    found = matching(rows, pairs)
    reading = cost_of(lambda: parse((row.name for row in rows), "plain"))
    found.append(Result("read the file's names", "s", [reading.wall], note="normalise, refuse public suffixes, once"))
    for kind in kinds:
        with opened(kind, options.url) as (url, bare, _):
            found += paired(STORES[kind], url, bare, min(PIECE, entries), pairs)
        with opened(kind, options.url) as (url, _, folder):  # one that never held anything
            found += whole(STORES[kind], url, rows)
            found += starting(STORES[kind], url, folder, rows, runs)
            found += following(STORES[kind], url, folder)
    machine = describe_machine("elasticsearch", "msgspec")
    report = Report(f"Vetted lists of {entries:,} names", command_line(), found, machine)
    print(report.text())
    report.save(options.out)
    return 0


if __name__ == "__main__":
    program(main)
