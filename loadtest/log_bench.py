"""What the verdict log costs on a real Elasticsearch.

Its append against the client's own `parallel_bulk`, in ABBA order on the same documents, and a row on disk against the
default dynamic mapping:

    python -m loadtest.log_bench [--rows 20000] [--quick] [--out FILE]

`--url` names a server; without it one is started from Maven Central's archive. Each turn uses a prefix of its own
and removes its indices at the end. Exits 1 when a goal is missed.
"""

import os
import random
import statistics
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import msgspec
from elasticsearch import helpers

from loadtest.arguments import count as whole
from loadtest.arguments import report_parser
from loadtest.processes import program
from loadtest.stats import Report, Result, command_line, compare, describe_machine
from loadtest.store_bench import population
from verdicts.ecs import document_of
from verdicts.observations import Batch
from verdicts.records import Record, records_of
from verdicts.store import Misconfigured, Unavailable
from verdicts.store.elastic import ElasticStore
from verdicts.store.elastic_schema import SETS, index_of

BATCH_ROWS = 500
BOOT = "c" * 32
RATE_GOAL, BYTES_GOAL = 0.9, 0.35


def batch_of(number: int, at: int) -> Batch:
    """Batch `number`, the same whenever it is made: a resolver repeats what was not acknowledged.

    As in real reports, a name's two scores are the name's alone, with six decimals, and of several queries the last
    comes later than the first.
    """
    drawn = population(number)
    batch = Batch("edge-1", BOOT, number, rows=[next(drawn) for _ in range(BATCH_ROWS)])
    for place, row in enumerate(batch.rows):
        row.first = row.last = at + number * 10 + place % 10
        own = random.Random(row.qname)
        row.last += own.randrange(1000) if row.count > 1 else 0
        low, high = (0.7, 1.0) if row.label == "malicious" else (0.0, 0.3)
        row.score, row.generated = round(own.uniform(low, high), 6), round(own.uniform(low, high), 6)
    batch.seen = sum(row.count for row in batch.rows)
    return batch


def rate(url: str, rows: int, pairs: int) -> list[Result]:
    """Rows a processor second of the client and rows a second, both ways, of `rows` rows a turn."""
    turn = count()
    bulk, append = compare(
        lambda: theirs(url, drawn_records(rows, next(turn))), lambda: ours(url, drawn_records(rows, next(turn))), pairs
    )
    found = []
    for place, unit in enumerate(("rows/CPU-s", "rows/s")):
        left, right = [rows / cost[place] for cost in bulk], [rows / cost[place] for cost in append]
        found.append(Result("parallel_bulk", unit, left))
        goal = f"{RATE_GOAL} of parallel_bulk" if place == 0 else ""
        found.append(Result("append", unit, right, "parallel_bulk", left, goal=goal))
    return found


def ours(url: str, records: list[Record]) -> tuple[float, float]:
    """Seconds of processor time and by the clock."""
    with store_at(url) as store:
        store.append(records[:1])
        cpu, wall = time.process_time(), time.perf_counter()
        store.append(records)
        return time.process_time() - cpu, time.perf_counter() - wall


def theirs(url: str, records: list[Record]) -> tuple[float, float]:
    """Elastic's helper with the same documents, ids and index, made and sent in one go."""
    with store_at(url) as store:
        store.append(records[:1])
        prefix = store.settings.prefix
        cpu, wall = time.process_time(), time.perf_counter()
        actions = (
            {
                "_op_type": "create", "_index": index_of(prefix, "log", record.time, "day"), "_id": record.id,
                "_source": document_of(record),
            }
            for record in records
        )  # fmt: skip
        for _ in helpers.parallel_bulk(store.client, actions, raise_on_error=False, chunk_size=500):
            pass
        return time.process_time() - cpu, time.perf_counter() - wall


def whole_document(record: Record) -> dict[str, Any]:
    """The document with everything in it that contract 3 names, as somebody would index it who leaves the mapping to
    the server: what ours answers for by an alias, by another field or by the id stands in it."""
    document = document_of(record, row=True)
    document["client"] = {"address": record.client, "ip": record.client}
    document["source"] = {"ip": record.client}
    document["event"]["action"] = record.action
    document["verdict"] |= {"first": record.time, "last": record.last}
    document["ml_is_dga"]["malicious_probability"] = record.generated
    return document


def bytes_a_row(url: str, rows: int) -> list[Result]:
    """Octets on disk after a merge into one segment, against the whole documents under the default mapping."""
    records = drawn_records(rows, 9)
    with store_at(url) as store:
        store.append(records)
        mine = size(store, f"{store.settings.prefix}-log-*")
        plain = f"{store.settings.prefix}-plain"
        for start in range(0, len(records), 2000):
            lines: list[Any] = []
            for record in records[start : start + 2000]:
                lines += [{"create": {"_id": record.id}}, whole_document(record)]
            store.client.bulk(index=plain, operations=lines)
        default = size(store, plain)
    left, right = [default / len(records)], [mine / len(records)]
    note = f"{len(records):,} rows, one segment"
    return [
        Result("default dynamic mapping", "octets/row", left, note=note),
        Result("the log's mapping", "octets/row", right, "default", left, goal=f"{BYTES_GOAL} of default", note=note),
    ]


def size(store: ElasticStore, index: str) -> int:
    store.client.indices.refresh(index=index)
    store.client.options(request_timeout=600).indices.forcemerge(index=index, max_num_segments=1)
    store.client.indices.flush(index=index)
    stats = store.client.indices.stats(index=index, metric="store")
    return int(stats["_all"]["primaries"]["store"]["size_in_bytes"])


def drawn_records(rows: int, boot: int) -> list[Record]:
    at = int(time.time() * 1000) - 600_000
    found: list[Record] = []
    for number in range(1, rows // BATCH_ROWS + 1):
        found += records_of(msgspec.structs.replace(batch_of(number, at), boot=f"{boot:032x}"))
    return found


@contextmanager
def store_at(url: str) -> Iterator[ElasticStore]:
    """A store under a prefix of its own, removed afterwards."""
    store = ElasticStore(f"{url}/?prefix=b{uuid.uuid4().hex[:12]}&replicas=0&timeout=120")
    store.initialise()
    try:
        yield store
    finally:
        store.client.indices.delete(index=f"{store.settings.prefix}-*")
        for name in SETS:
            store.client.indices.delete_index_template(name=f"{store.settings.prefix}-{name}")
        store.close()


def elastic_url() -> str:
    """A server of our own, started once and run as an operator would."""
    from tests.elastic import operated_url

    return operated_url()


def kept(results: Sequence[Result]) -> bool:
    """Whether both goals are met."""
    ratio = {result.unit: statistics.median(a / b for a, b in zip(result.values, result.against, strict=True))
             for result in results if result.goal}  # fmt: skip
    return ratio["rows/CPU-s"] >= RATE_GOAL and ratio["octets/row"] <= BYTES_GOAL


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    parser = report_parser("log_bench", __doc__, quick="few rows, one pair")
    parser.add_argument("--url", default=os.environ.get("VERDICT_TEST_ELASTIC_URL", ""))
    parser.add_argument(
        "--rows", type=whole, default=20_000, help="of a turn; five times as many for their size on disk"
    )
    options = parser.parse_args(arguments)
    if options.rows < BATCH_ROWS:
        parser.error(f"--rows {options.rows}: expected {BATCH_ROWS} or more")
    url = options.url or elastic_url()
    rows, pairs = (2000, 1) if options.quick else (options.rows, 6)
    try:
        found = rate(url, rows, pairs) + bytes_a_row(url, 5 * rows)
    except (Unavailable, Misconfigured, ValueError) as error:
        parser.error(f"--url {url}: {error}")
    machine = describe_machine("elasticsearch", "msgspec")
    report = Report("The log against a bare bulk write", command_line(), found, machine)
    print(report.text())
    report.save(options.out)
    return 0 if options.quick or kept(found) else 1


if __name__ == "__main__":
    program(main)
