"""Rows through a verdict log that is killed again and again, into an Elasticsearch that fails: none lost, none doubled.

    python -m loadtest.log_kills --rows 1000000 --kills 20

`--url` names a server; without it one is started from Maven Central's archive. The indices have a prefix of their
own and are removed at the end. Exits 1 when a row is missing or there twice.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtest.arguments import count
from loadtest.log_bench import BATCH_ROWS, batch_of, elastic_url, store_at
from loadtest.processes import program
from verdicts.keeper import Keeper
from verdicts.store import Misconfigured, Unavailable

SPOOL_BYTES = 1 << 30
STORM: list[str | int] = [429, "mixed", "reset", "half", 503]


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
    command = [sys.executable, "-m", "loadtest.log_kills", "--keeper", "--url", url, "--spool", spool, "--at", str(at)]
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


def main(given: Sequence[str] | None = None) -> int:
    """Kill, count, and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.log_kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default=os.environ.get("VERDICT_TEST_ELASTIC_URL", ""))
    parser.add_argument("--rows", type=count, default=200_000)
    parser.add_argument("--kills", type=count, default=20)
    for name, kind in (("--spool", Path), ("--at", int)):  # of a replica
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--keeper", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(given)
    if arguments.keeper:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        keeper(arguments.url, arguments.spool, arguments.at)
        return 0
    if arguments.kills > arguments.rows // BATCH_ROWS - 2:
        parser.error(f"--kills {arguments.kills}: expected at most one a batch of {BATCH_ROWS} rows, but the first two")
    url = arguments.url or elastic_url()
    try:
        return 0 if kills(url, arguments.rows, arguments.kills) else 1
    except (Unavailable, Misconfigured, ValueError) as error:
        parser.error(f"--url {url}: {error}")


if __name__ == "__main__":
    program(main)
