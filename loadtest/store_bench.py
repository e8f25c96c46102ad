"""How long the dashboard's questions take on a store of millions of rows.

    python -m loadtest.store_bench --rows 10000000 --store build/bench.db
    python -m loadtest.store_bench --rows 10000000 --store http://127.0.0.1:9200

fills an empty store with seven equal days through the log's own `append` (in SQLite the first day; the other six are
copies of it), asks every question the dashboard asks, and prints the median and the longest time of each. Exits 1 when
a median is over 300 ms. Of an SQLite store each is asked once before that of a cold disk: by new connections, with no
page of the file in memory. A filling that was interrupted is completed by the next run.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from loadtest.arguments import count, report_parser
from loadtest.cold import ask_cold
from loadtest.processes import program
from loadtest.stats import Report, Result, command_line, describe_machine
from verdicts.observations import Batch, Observation
from verdicts.records import Record, records_of
from verdicts.store import Filter, Promise, Store, open_store
from verdicts.store.elastic import ElasticStore
from verdicts.store.sqlite import SqliteStore
from verdicts.store.sqlite_schema import ROW_BITS

DAYS = 7
DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
BATCH_ROWS = 1000
NAMES, CLIENTS = 2_000_000, 5000
CALL_BATCHES = 100
DAY_BATCHES = 1_000_000  # numbers of batches set apart for each day
COPY_CACHE_KIB = 2 << 20
GOAL_MS = 300
REPEATS = 5
BOOT = "b" * 32


def population(seed: int) -> Iterator[Observation]:
    """Rows like a resolver's: Zipf-like names and clients, a twentieth asked once, a hundredth malicious."""
    draw = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    while True:
        rank = int(NAMES ** draw.random()) if draw.random() > 0.05 else draw.randrange(10**9)  # first: a 20th of all
        client = int(CLIENTS * draw.random() ** 2)  # the busiest: 1.4 %
        tier, label, source, rcode, score = "none", "benign", "model", "NOERROR", draw.random() * 0.3
        kind = draw.random()
        name = f"h{rank % 7}.site{rank}.com"
        if kind < 0.01:
            tier, label = ("block" if kind < 0.002 else "alert"), "malicious"
            name = "".join(draw.choices(letters, k=14)) + ".net"
            rcode, score = ("NXDOMAIN" if draw.random() < 0.8 else "NOERROR"), 0.7 + draw.random() * 0.3
        elif kind < 0.02:
            label, source = "unknown", "none"
        elif kind < 0.1:
            rcode = "NXDOMAIN"
        yield Observation(
            name, draw.choice(("A", "A", "AAAA", "HTTPS")), f"10.{client // 250}.{client % 250}.9", label, 0, 0,
            count=1 + (draw.random() < 0.2), tier=tier, action="nxdomain" if tier == "block" else "passthru",
            source=source, model="m1", rcode=rcode, reason="timeout" if label == "unknown" else "", score=score,
            generated=score, latency_sum=900, latency_max=900, rule="x" if label == "malicious" else "",
        )  # fmt: skip


def fill(store: Store, rows: int, today: bool = False) -> None:
    """Seven days of rows, the newest of them yesterday or today; each step that an earlier run has done is passed
    over."""
    newest_day = int(time.time() * 1000) - (0 if today else DAY)
    if isinstance(store, SqliteStore):
        fill_sqlite(store, rows, newest_day)
        return
    newest = store.search(Filter(0, int(time.time() * 1000)), 1).records
    midnight = (newest[0].time if newest else newest_day) // DAY * DAY
    for back in range(DAYS):
        start = midnight - back * DAY
        there = sum(1 for _ in store.reconcile(start, start + DAY))
        append_day(store, rows // DAYS, start, there, str(back) + BOOT[1:])
        print(f"day {back + 1} of {DAYS}", file=sys.stderr, flush=True)
    assert isinstance(store, ElasticStore)
    store.client.indices.refresh(index=f"{store.settings.prefix}-*")
    while store.roll_up(int(time.time() * 1000)):  # as a VerdictLog does with what is over
        store.client.indices.refresh(index=f"{store.settings.prefix}-*")


def fill_sqlite(store: SqliteStore, rows: int, newest_day: int) -> None:
    """One day of rows through the log's own `append`, and that day copied to the six before it; each step that an
    earlier run has done is passed over."""
    missing = [back for back in range(1, DAYS) if not _batches(store, back)]
    if len(missing) == DAYS - 1:
        append_day(store, rows // DAYS, _first_midnight(store, newest_day), _batches(store, 0), BOOT)
    store._open_writer(create=False).execute(f"PRAGMA cache_size = -{COPY_CACHE_KIB}")  # a day's indices at once
    for back in missing:
        copy_day(store, back)
        print(f"day {back + 1} of {DAYS}", file=sys.stderr, flush=True)
    if missing or not store._all("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'"):
        with store._transaction() as db:
            db.execute("ANALYZE")
    _list_askers(store)


def _batches(store: SqliteStore, back: int) -> int:
    """How many batches there are of the day that lies `back` days before the appended one."""
    found = store._all("SELECT count(*) FROM batches WHERE id / ? = ?", DAY_BATCHES, back)
    return int(found[0][0])


def _list_askers(store: SqliteStore) -> None:
    """Let the log list who asked on the days before, which it does bit by bit with its appends."""
    before = None
    while (
        there := store._all("SELECT value, (SELECT count(*) FROM askers) FROM meta WHERE name = 'askers'")
    ) != before:
        before = there
        store.append([])


def _first_midnight(store: SqliteStore, newest_day: int) -> int:
    """When the appended day began: the one that an interrupted run began to fill, or that of `newest_day`."""
    began: int | None = store._all("SELECT min(time) FROM batches")[0][0]
    return (newest_day if began is None else began) // DAY * DAY


def append_day(store: Store, rows: int, midnight: int, there: int, boot: str) -> None:
    """Append `rows` spread over one day, of today over what has passed of it, several batches at once; the first
    `there` batches are only drawn again."""
    if there >= rows // BATCH_ROWS:
        return
    drawn = population(1)
    width = min(DAY, int(time.time() * 1000) - midnight) - MINUTE
    began = time.monotonic()
    for first in range(0, rows, BATCH_ROWS * CALL_BATCHES):
        records: list[Record] = []
        promises: list[Promise] = []
        for number in range(first // BATCH_ROWS, min(first + BATCH_ROWS * CALL_BATCHES, rows) // BATCH_ROWS):
            at = midnight + number * BATCH_ROWS * width // rows
            batch = Batch("edge-1", boot, number + 1)
            batch.rows = [next(drawn) for _ in range(BATCH_ROWS)]
            for place, row in enumerate(batch.rows):
                row.first = at + place * width // rows
                row.last = row.first
            records += records_of(batch)
            promises.append(Promise("edge-1", boot, number + 1, at, 0, 0, BATCH_ROWS))
        if promises and promises[-1].batch > there:  # in SQLite one call is one transaction: all of its batches or none
            store.append(records, promises)
    appended = rows - there * BATCH_ROWS
    print(f"{appended / (time.monotonic() - began):,.0f} rows/s through append", file=sys.stderr, flush=True)


def copy_day(store: SqliteStore, back: int) -> None:
    """Copy the appended day to `back` days before it, with every roll-up."""
    shift, offset = back * DAY, back * DAY_BATCHES
    with store._transaction() as db:
        db.execute(
            "INSERT INTO batches (id, resolver, boot, batch, time, seen, discarded, rows)"  # the rest is counted
            " SELECT id + ?, resolver, ? || substr(boot, 2), batch, time - ?, seen, discarded, rows"
            f" FROM batches WHERE id < {DAY_BATCHES}",
            (offset, str(back), shift),
        )
        db.execute(
            f"INSERT INTO records SELECT id + (? << {ROW_BITS}), time - ?, last - ?, count, dim, qname, registered,"
            " subdomain, suffix, client, rule, score, generated, latency_sum, latency_max, extra"
            f" FROM records WHERE id < {DAY_BATCHES} << {ROW_BITS}",
            (offset, shift, shift),
        )
        db.execute("DELETE FROM meta WHERE name = 'askers'")  # which days have lists is found anew
        today = store._all("SELECT max(time) FROM days")[0][0]
        for table, keys, values in (
            ("minutes", "", "dim, count, score, generated, last - :shift"),
            ("hours", "", "dim, count, score, generated, last - :shift"),
            ("tops", "field, key, ", "class, parent, count, enforced, score, generated, last - :shift"),
            ("days", "field, key, ", "class, count, enforced, score, generated, last - :shift"),
            ("bad", "", "qname, client, dim, registered, count, score, generated, last - :shift"),
            ("suspect", "", "qname, client, dim, registered, count, score, generated, last - :shift"),
            ("asked", "field, key, ", "class, client, count, enforced, score, generated, last - :shift"),
        ):
            db.execute(
                f"INSERT INTO {table} SELECT {keys}time - :shift, {values} FROM {table} WHERE time >= :today",
                {"shift": shift, "today": today},
            )


def questions(store: Store) -> dict[str, Callable[[], object]]:
    """The dashboard's questions by page and range, each over data that is there."""
    last = store.search(Filter(0, int(time.time() * 1000)), 1).records[0].time + 1
    asked: dict[str, Callable[[], object]] = {}
    for label, width, interval in (("hour", HOUR, MINUTE), ("day", DAY, 15 * MINUTE), ("week", 7 * DAY, 2 * HOUR)):
        span = Filter(last - width, last)
        bad = Filter(last - width, last, label=("malicious",))
        unknown = Filter(last - width, last, label=("unknown",))
        would = Filter(last - width, last, tier=("block",), enforced=False)
        client = store.top(bad, "client", 1)[0].key
        name = store.top(span, "qname", 3)[2].key
        one = Filter(last - width, last, client=client)
        domain = Filter(last - width, last, registered=name.partition(".")[2])
        exact = Filter(last - width, last, name=name)
        one_bad = Filter(last - width, last, client=client, label=("malicious",))
        one_nx = Filter(last - width, last, client=client, rcode=("NXDOMAIN",))

        def ask(title: str, question: Callable[[], object], label: str = label) -> None:
            asked[f"{label}: {title}"] = question

        ask("histogram by tier", partial(store.histogram, span, interval))
        ask("histogram of unknown", partial(store.histogram, unknown, interval))
        ask("totals by tier", partial(store.histogram, span, DAY * (1 + width // DAY)))
        ask("totals by reason", partial(store.histogram, unknown, DAY * (1 + width // DAY), "reason"))
        ask("by verdict and tier, all", partial(store.cube, span, interval, ("label", "tier")))
        ask("by verdict and tier, one client", partial(store.cube, one, interval, ("label", "tier")))
        ask("latest records", partial(store.search, span, 100))
        ask("latest malicious", partial(store.search, bad, 100))
        ask("score from 0.95", partial(store.search, Filter(last - width, last, min_score=0.95), 100))
        ask("wildcard", partial(store.search, Filter(last - width, last, name="*site77*"), 100))
        ask("suffix", partial(store.search, Filter(last - width, last, name=".site7.com"), 100))
        ask("top names", partial(store.top, span, "qname"))
        ask("top malicious names", partial(store.top, bad, "qname"))
        ask("top registered domains", partial(store.top, span, "registered"))
        ask("top clients", partial(store.top, span, "client"))
        ask("top malicious clients", partial(store.top, bad, "client"))
        ask("vetting queue", partial(store.top, bad, "qname", 100, "clients"))
        ask("would block", partial(store.top, would, "qname", 20, "clients"))
        ask("one client, histogram", partial(store.histogram, one, interval))
        ask("one client, records", partial(store.search, one, 100))
        ask("one client, malicious names", partial(store.top, one_bad, "qname", 12))
        ask("one client, NXDOMAIN names", partial(store.top, one_nx, "qname", 12))
        ask("one popular domain, histogram", partial(store.histogram, domain, interval))
        ask("one popular domain, clients", partial(store.top, domain, "client", 10))
        ask("one popular domain, names", partial(store.top, domain, "qname", 12))
        ask("one popular name, records", partial(store.search, exact, 100))
    asked["hour: reconciliation"] = lambda: list(store.reconcile(last - HOUR, last, kept=True))
    asked["day: reconciliation"] = lambda: list(store.reconcile(last - DAY, last, kept=True))
    return asked


def measure(store: Store, asked: dict[str, Callable[[], object]], only: str) -> tuple[int, list[Result]]:
    """Ask everything several times, print a table; how many questions missed the goal, and the figures."""
    missed, found = 0, []
    for title, question in asked.items():
        if only not in title:
            continue
        cold = ask_cold(store, question)
        times, spent = [], []
        for _ in range(REPEATS):
            began, cpu = time.perf_counter(), time.thread_time()
            question()
            times.append((time.perf_counter() - began) * 1000)
            spent.append((time.thread_time() - cpu) * 1000)
            if times[-1] > 10 * GOAL_MS:
                break
        median = statistics.median(times)
        missed += median > GOAL_MS
        line = f"{title:45} {median:8.1f} ms median {max(times):8.1f} ms longest {statistics.median(spent):8.1f} ms CPU"
        line += f" {cold}" if cold else ""
        print(line + ("  over" if median > GOAL_MS else ""), flush=True)
        note = f"{statistics.median(spent):.0f} ms of processor time" + (f"; first {cold}" if cold else "")
        found.append(Result(title, "ms", times, goal=f"{GOAL_MS} ms", note=note))
    return missed, found


def described(store: Store) -> str:
    """How large the store is."""
    if isinstance(store, SqliteStore):
        octets, rows = store.path.stat().st_size, store._all("SELECT count(*) FROM records")[0][0]
    else:
        assert isinstance(store, ElasticStore)
        stats = store.client.indices.stats(index=f"{store.settings.prefix}-log-*", metric=["store", "docs"])
        octets = stats["_all"]["primaries"]["store"]["size_in_bytes"]
        rows = stats["_all"]["primaries"]["docs"]["count"]
    return f"{octets / 2**20:,.0f} MiB, {rows:,} rows"


def main() -> None:
    parser = report_parser("store_bench", __doc__, quick="100,000 rows in a store of their own")
    parser.add_argument("--rows", type=count, default=10_000_000)
    parser.add_argument("--store", default="build/store_bench.db", help="a file, or the URL of an Elasticsearch")
    parser.add_argument("--only", default="", help="only questions whose title holds this text")
    parser.add_argument("--today", action="store_true", help="fill an empty store up to now, not to the last midnight")
    arguments = parser.parse_args()
    if arguments.rows < DAYS * BATCH_ROWS:
        parser.error(f"argument --rows: {arguments.rows}: expected {DAYS * BATCH_ROWS:,} or more, a batch a day")
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "quick.db") if arguments.quick else arguments.store
        if "://" not in place:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        try:
            store = open_store(place if "://" in place else f"sqlite://{Path(place).absolute()}")
        except ValueError as error:
            parser.error(f"argument --store: {error}")
        store.initialise()
        fill(store, 100_000 if arguments.quick else arguments.rows, arguments.today)
        size = f"{place}: {described(store)}"
        print(size)
        missed, found = measure(store, questions(store), arguments.only)
        store.close()
    if not found:
        parser.error(f"argument --only: {arguments.only}: expected part of a question's title")
    machine = describe_machine()
    Report("The dashboard's questions to a store", command_line(), found, machine, [size]).save(arguments.out)
    sys.exit(1 if missed and not arguments.out else 0)


if __name__ == "__main__":
    program(main)
