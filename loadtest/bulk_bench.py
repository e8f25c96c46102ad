"""What the log costs against a bare bulk write of the same records, in ABBA order.

    python -m loadtest.bulk_bench [--quick] [--out FILE] [--elastic http://127.0.0.1:9200]

Bare: the records in bulks into a table without roll-ups, promises or reconciliation (SQLite), or by the client's own
`parallel_bulk` into an index with dynamic mapping (Elasticsearch). Ours: the reports are fsynced in the spool, read
back, checked, and appended to the store. Elasticsearch is measured only where one is named; indices of the bench's
own are made there and removed.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtest.profiles import Profile, flat
from loadtest.stats import Report, Result, command_line, compare, describe_machine
from loadtest.traffic import Query, queries
from verdicts.drain import BULK_BYTES, entry, unpack
from verdicts.ecs import document_of
from verdicts.observations import Batch, Observation
from verdicts.records import Record, records_of
from verdicts.spool import Spool
from verdicts.store import Store, open_store

ROWS = 500  # of a report: a second of a busy resolver
BULK = 5000  # records of a bare bulk
SPOOL_LIMIT = 1 << 30


class Cost(NamedTuple):
    """Records a second by the clock, CPU microseconds of this process a record, octets on disk a record."""

    rate: float
    cpu_us: float
    octets: float


def batches(count: int, seed: int = 0) -> list[Batch]:
    """Reports as a resolver sends them: traffic's names, rows of one query each."""
    now = int(time.time() * 1000)
    made = queries(flat(Profile(rate=1000, benign=20_000)), seed)
    boot = uuid.uuid4().hex
    rows = [[_row(next(made), now + number) for _ in range(ROWS)] for number in range(count)]
    return [Batch("bench", boot, number + 1, seen=ROWS, rows=found) for number, found in enumerate(rows)]


def _row(query: Query, now: int) -> Observation:
    return Observation(
        query.qname, query.qtype, query.client, "benign", now, now, source="model", model="m", rcode="NOERROR",
        score=0.01, generated=0.02, latency_sum=900, latency_max=900, addresses=["192.0.2.1"],
    )  # fmt: skip


def through_the_log(reports: Sequence[Batch], folder: Path, store: Store) -> None:
    """Spool, read back, append: what VerdictLog does with reports."""
    spool = Spool(folder / "spool", SPOOL_LIMIT)
    for report in reports:
        spool.append(entry(report.rows[0].first, msgspec.json.encode(report)))
    while True:
        entries, position = spool.read(BULK_BYTES)
        if not entries:
            break
        records, promises, bad = unpack(entries)
        if bad or store.append(records, promises):
            raise RuntimeError("the store refused records of the bench")
        spool.trim(position)
    spool.close(remove=True)


def bare_sqlite(records: Sequence[Record], path: Path) -> None:
    """The records into one table, a transaction a bulk, synced like ours."""
    fields = Record.__struct_fields__
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"CREATE TABLE records ({', '.join(f'{name}' for name in fields)}, PRIMARY KEY (id))")
    database.execute("CREATE INDEX by_time ON records (time)")
    marks = ", ".join("?" * len(fields))
    for start in range(0, len(records), BULK):
        rows = ([_plain(getattr(r, name)) for name in fields] for r in records[start : start + BULK])
        database.execute("BEGIN IMMEDIATE")
        database.executemany(f"INSERT INTO records VALUES ({marks})", rows)
        database.execute("COMMIT")
    database.close()


def _plain(value: object) -> object:
    return ",".join(value) if isinstance(value, list) else value


def bare_elastic(records: Sequence[Record], url: str, index: str) -> None:
    """The records by the client's own bulk helper, mapping left to the server."""
    from elasticsearch import Elasticsearch
    from elasticsearch.helpers import parallel_bulk

    client = Elasticsearch(url)
    actions: Iterator[dict[str, object]] = (
        {"_op_type": "create", "_index": index, "_id": record.id, "_source": document_of(record)} for record in records
    )
    for accepted, said in parallel_bulk(client, actions, thread_count=2):
        if not accepted:
            raise RuntimeError(str(said))
    client.close()


def timed(work: Callable[[], None], count: int, path: Path | None = None) -> Cost:
    """The cost of writing `count` records."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    taken, used = time.perf_counter() - start, time.process_time() - cpu
    octets = sum(p.stat().st_size for p in path.parent.glob(path.name + "*")) if path else 0
    return Cost(count / taken, used / count * 1e6, octets / count)


def on_sqlite(reports: Sequence[Batch], pairs: int) -> list[Result]:
    """Both ways into SQLite, each time into a new file."""
    records = [record for report in reports for record in records_of(report)]

    def bare() -> Cost:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bare.db"
            return timed(lambda: bare_sqlite(records, path), len(records), path)

    def ours() -> Cost:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.db"
            store = open_store(f"sqlite:///{path}")
            store.initialise()
            try:
                return timed(lambda: through_the_log(reports, Path(folder), store), len(records), path)
            finally:
                store.close()

    return results("SQLite", *compare(bare, ours, pairs))


def on_elastic(reports: Sequence[Batch], pairs: int, url: str) -> list[Result]:
    """Both ways into Elasticsearch, each time into indices of their own."""
    from elasticsearch import Elasticsearch

    records = [record for report in reports for record in records_of(report)]
    client = Elasticsearch(url)

    def bare() -> Cost:
        index = f"bench-bare-{uuid.uuid4().hex[:8]}"
        try:
            return timed(lambda: bare_elastic(records, url, index), len(records))
        finally:
            client.indices.delete(index=index, ignore_unavailable=True)

    def ours() -> Cost:
        prefix = f"bench{uuid.uuid4().hex[:8]}"
        store = open_store(f"{url}?prefix={prefix}")
        store.initialise()
        try:
            with tempfile.TemporaryDirectory() as folder:
                return timed(lambda: through_the_log(reports, Path(folder), store), len(records))
        finally:
            store.close()
            names = [name for name in client.indices.get(index=f"{prefix}*")]
            if names:
                client.indices.delete(index=",".join(names))

    try:
        return results("Elasticsearch", *compare(bare, ours, pairs))
    finally:
        client.close()


def results(kind: str, bare: Sequence[Cost], ours: Sequence[Cost]) -> list[Result]:
    """The figures of one store, ours against bare."""
    found = []
    for unit, column in (("records/s", 0), ("CPU us/record", 1), ("octets/record", 2)):
        left, right = [float(cost[column]) for cost in bare], [float(cost[column]) for cost in ours]
        if all(left):
            found.append(Result(f"{kind}, bare bulk", unit, left))
            found.append(Result(f"{kind}, spool and log", unit, right, "bare", left))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bulk_bench", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few records, one pair")
    parser.add_argument("--out", metavar="FILE", help="where the report goes, as JSON")
    parser.add_argument("--elastic", metavar="URL", help="an Elasticsearch of yours to measure too")
    options = parser.parse_args(arguments)
    reports, pairs = batches(20 if options.quick else 200), 1 if options.quick else 7
    found = on_sqlite(reports, pairs)
    if options.elastic:
        found += on_elastic(reports, pairs, options.elastic)
    machine = describe_machine("elasticsearch", "msgspec")
    report = Report("The log against a bare bulk write", command_line(), found, machine)
    report.save(options.out)
    print(report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
