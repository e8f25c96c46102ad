"""How long the dashboard's questions take on an SQLite store of millions of rows.

    python -m loadtest.store_bench --rows 10000000 --store build/bench.db

fills the store through its own `append` where it is not full yet (half an hour on two cores), asks every question
the dashboard asks, and prints the median and the longest time of each. Exits 1 when one takes over 300 ms.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from verdicts.observations import Batch, Observation
from verdicts.records import Record, records_of
from verdicts.store import Filter, Promise
from verdicts.store.sqlite import SqliteStore

DAYS = 7
DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
BATCH_ROWS = 1000
NAMES, CLIENTS = 2_000_000, 5000
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


def fill(store: SqliteStore, rows: int) -> None:
    """Append until there are `rows`, spread over DAYS, through the same call as the log itself."""
    have = store._all("SELECT count(*) FROM records")[0][0]
    end = int(time.time() * 1000) - MINUTE
    drawn = population(have)
    began, done = time.monotonic(), have
    while done < rows:
        records: list[Record] = []
        promises: list[Promise] = []
        for number in range(done // BATCH_ROWS, done // BATCH_ROWS + 20):
            at = end - int((1 - number * BATCH_ROWS / rows) * DAYS * DAY)
            batch = Batch("edge-1", BOOT, number + 1)
            batch.rows = [next(drawn) for _ in range(BATCH_ROWS)]
            for place, row in enumerate(batch.rows):
                row.first = at + place
                row.last = row.first
            records += records_of(batch)
            promises.append(Promise("edge-1", BOOT, number + 1, at, 0, 0, BATCH_ROWS))
        store.append(records, promises)
        done += len(records)
        if done % 500_000 < 20_000 or done >= rows:
            rate = (done - have) / (time.monotonic() - began)
            print(f"{done:,} of {rows:,} rows, {rate:,.0f} rows/s", file=sys.stderr, flush=True)


def questions(store: SqliteStore) -> dict[str, Callable[[], object]]:
    """The dashboard's questions by page and range, each over data that is there."""
    last = store._all("SELECT max(time) FROM records")[0][0] + 1
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

        ask("histogram by tier", lambda s=span, i=interval: store.histogram(s, i))
        ask("histogram of unknown", lambda s=unknown, i=interval: store.histogram(s, i))
        ask("totals by tier", lambda s=span, w=width: store.histogram(s, DAY * (1 + w // DAY)))
        ask("totals by reason", lambda s=unknown, w=width: store.histogram(s, DAY * (1 + w // DAY), "reason"))
        ask("latest records", lambda s=span: store.search(s, 100))
        ask("latest malicious", lambda s=bad: store.search(s, 100))
        ask("score from 0.95", lambda w=width: store.search(Filter(last - w, last, min_score=0.95), 100))
        ask("wildcard", lambda w=width: store.search(Filter(last - w, last, name="*site77*"), 100))
        ask("suffix", lambda w=width: store.search(Filter(last - w, last, name=".site7.com"), 100))
        ask("top names", lambda s=span: store.top(s, "qname"))
        ask("top malicious names", lambda s=bad: store.top(s, "qname"))
        ask("top registered domains", lambda s=span: store.top(s, "registered"))
        ask("top clients", lambda s=span: store.top(s, "client"))
        ask("top malicious clients", lambda s=bad: store.top(s, "client"))
        ask("vetting queue", lambda s=bad: store.top(s, "qname", 100, "clients"))
        ask("would block", lambda s=would: store.top(s, "qname", 20, "clients"))
        ask("one client, histogram", lambda s=one, i=interval: store.histogram(s, i))
        ask("one client, records", lambda s=one: store.search(s, 100))
        ask("one client, malicious names", lambda s=one_bad: store.top(s, "qname", 12))
        ask("one client, NXDOMAIN names", lambda s=one_nx: store.top(s, "qname", 12))
        ask("one popular domain, histogram", lambda s=domain, i=interval: store.histogram(s, i))
        ask("one popular domain, clients", lambda s=domain: store.top(s, "client", 10))
        ask("one popular domain, names", lambda s=domain: store.top(s, "qname", 12))
        ask("one popular name, records", lambda s=exact: store.search(s, 100))
    asked["hour: reconciliation"] = lambda: list(store.reconcile(last - HOUR, last))
    asked["day: reconciliation"] = lambda: list(store.reconcile(last - DAY, last))
    return asked


def measure(asked: dict[str, Callable[[], object]], only: str) -> int:
    """Ask everything several times, print a table, return how many questions missed the goal."""
    missed = 0
    for title, question in asked.items():
        if only not in title:
            continue
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            question()
            times.append((time.perf_counter() - began) * 1000)
            if times[-1] > 10 * GOAL_MS:
                break
        median = statistics.median(times)
        missed += median > GOAL_MS
        print(f"{title:45} {median:8.1f} ms median {max(times):8.1f} ms longest{'  over' if median > GOAL_MS else ''}")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--store", type=Path, default=Path("build/store_bench.db"))
    parser.add_argument("--only", default="", help="only questions whose title holds this text")
    arguments = parser.parse_args()
    store = SqliteStore(arguments.store)
    store.initialise()
    fill(store, arguments.rows)
    print(f"{arguments.store}: {arguments.store.stat().st_size / 2**20:,.0f} MiB")
    sys.exit(1 if measure(questions(store), arguments.only) else 0)


if __name__ == "__main__":
    main()
