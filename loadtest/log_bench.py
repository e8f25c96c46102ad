"""What the verdict log costs and what it survives, on a real Elasticsearch.

    python -m loadtest.log_bench kills --rows 1000000 --kills 20     none lost, none doubled
    python -m loadtest.log_bench rate --rows 200000                  against parallel_bulk on the same documents
    python -m loadtest.log_bench bytes --rows 200000                 a row on disk, against the default mapping

`--url` names a server; without it one is started from Maven Central's archive. Each mode uses a prefix of its own
and removes its indices at the end. Exits 1 when the goal is missed.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from elasticsearch import helpers

from loadtest.store_bench import population
from verdicts.ecs import document_of
from verdicts.keeper import Keeper
from verdicts.observations import Batch
from verdicts.records import Record, records_of
from verdicts.store.elastic import ElasticStore
from verdicts.store.elastic_schema import index_of

BATCH_ROWS = 500
BOOT = "c" * 32
RATE_GOAL, BYTES_GOAL = 0.9, 0.35
SPOOL_BYTES = 1 << 30
STORM: list[str | int] = [429, "mixed", "reset", "half", 503]


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


def keeper(url: str, spool: Path, at: int) -> None:
    """A VerdictLog replica: keeps the batches whose numbers come on standard input, and answers each when it is on
    disk; `status` asks for the depth of the spool."""
    replica = Keeper(url, spool, SPOOL_BYTES, retention_days=400)
    for line in sys.stdin:
        if line.strip() == "status":
            print(replica.status()["spool_bytes"], flush=True)
            continue
        replica.keep(msgspec.json.encode(batch_of(int(line), at)))
        print(line.strip(), flush=True)


def kills(url: str, rows: int, times: int) -> bool:
    """Rows through a replica that is killed again and again, and a server that answers 429 in storms."""
    from tests.fault_proxy import proxy_to

    draw = random.Random(5)
    at = int(time.time() * 1000) - 60_000
    batches = rows // BATCH_ROWS
    deaths = set(draw.sample(range(2, batches), min(times, batches - 2)))
    began = time.monotonic()
    with store_at(url) as store, proxy_to(url) as proxy, tempfile.TemporaryDirectory() as spool:
        target = f"{proxy.url}/?prefix={store.settings.prefix}&replicas=0"
        replica = start_keeper(target, spool, at)
        for number in range(1, batches + 1):
            if number % 50 == 0 and not proxy.faults:  # storms that piled up would be one long outage
                proxy.faults += draw.choices(STORM, k=draw.randrange(1, 6))
            if number in deaths:
                send(replica, number)
                time.sleep(draw.uniform(0, 0.3))  # it dies before, in or after the sync, the bulk or the trim
                replica.kill()
                replica.wait()
                replica = start_keeper(target, spool, at)
            while not (send(replica, number) and answer(replica) == str(number)):
                replica.wait()
                replica = start_keeper(target, spool, at)
        while send(replica, "status") and answer(replica) != "0":
            if not proxy.faults and draw.random() < 0.05:
                proxy.faults += draw.choices(STORM, k=draw.randrange(1, 6))
            time.sleep(0.5)
        replica.kill()
        replica.wait()
        store.client.indices.refresh(index=f"{store.settings.prefix}-*")
        found = store.client.count(index=f"{store.settings.prefix}-log-*")["count"]
        states = list(store.reconcile(at - 3_600_000, at + 86_400_000))
        missing = sum(state.missing for state in states)
        print(
            f"{batches * BATCH_ROWS:,} rows sent, {len(deaths)} kills, faults {dict(proxy.met)}: {found:,} documents,"
            f" {len(states):,} of {batches:,} batches, {missing:,} rows missing, {time.monotonic() - began:,.0f} s"
        )
        return bool(found == batches * BATCH_ROWS and missing == 0 and len(states) == batches)


def start_keeper(url: str, spool: str, at: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "loadtest.log_bench", "keeper", "--url", url, "--spool", spool, "--at", str(at)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def send(replica: "subprocess.Popen[str]", what: object) -> bool:
    assert replica.stdin is not None
    try:
        replica.stdin.write(f"{what}\n")
        replica.stdin.flush()
    except BrokenPipeError:
        return False
    return True


def answer(replica: "subprocess.Popen[str]") -> str:
    assert replica.stdout is not None
    return replica.stdout.readline().strip()


def rate(url: str, rows: int) -> bool:
    """CPU seconds of our append and of parallel_bulk on the same documents, in turns."""
    ratios = []
    for turn in range(4):
        records = drawn_records(rows // 4, turn)
        order = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        spent = {run.__name__: run(url, records) for run in order}
        ratios.append(spent["theirs"][0] / spent["ours"][0])
        for name, (cpu, wall) in sorted(spent.items()):
            print(f"turn {turn}: {name:6} {len(records) / cpu:9,.0f} rows/CPU-s {len(records) / wall:9,.0f} rows/s")
    ratios.sort()
    print(f"ours / parallel_bulk in rows per CPU second: median {(ratios[1] + ratios[2]) / 2:.2f}, all {ratios}")
    return (ratios[1] + ratios[2]) / 2 >= RATE_GOAL


def ours(url: str, records: list[Record]) -> tuple[float, float]:
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


def bytes_a_row(url: str, rows: int) -> bool:
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
    count = len(records)
    print(f"{mine / count:.1f} octets a row, default dynamic mapping {default / count:.1f}: {mine / default:.3f}")
    return mine / default <= BYTES_GOAL


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
        for name in ("log", "batches", "dead", "state", "history"):
            store.client.indices.delete_index_template(name=f"{store.settings.prefix}-{name}")
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mode", choices=["kills", "rate", "bytes", "keeper"])
    parser.add_argument("--url", default=os.environ.get("VERDICT_TEST_ELASTIC_URL", ""))
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--spool", type=Path)
    parser.add_argument("--at", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.mode == "keeper":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        keeper(arguments.url, arguments.spool, arguments.at)
        return
    if not arguments.url:
        from tests.elastic import shared_url

        arguments.url = shared_url()
    if arguments.mode == "kills":
        good = kills(arguments.url, arguments.rows, arguments.kills)
    else:
        good = (rate if arguments.mode == "rate" else bytes_a_row)(arguments.url, arguments.rows)
    print(json.dumps({"mode": arguments.mode, "rows": arguments.rows, "goal met": good}))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
