"""`python -m dashboard.demo`: the dashboard on made-up traffic, to try it out; stops with Ctrl-C."""

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from dashboard import sample
from dashboard.accounts import hashed
from dashboard.client import Client
from dashboard.data import Data, reader_of
from dashboard.sample_control import SampleControl
from dashboard.server import quiet, serve
from dashboard.settings import Settings
from dashboard.signin import signin_of
from verdicts.incidents import Rules, incidents_of
from verdicts.observations import Batch, Observation
from verdicts.records import records_of
from verdicts.store import Document, Promise, Store, Unavailable, open_store

STATES = ("full", "empty", "slow", "dead")
SUSPECT = "login-docs-verify.example.net"
SLOW_S = 4.0  # before each answer of a slow store
PASSWORDS = {"ada": "analyst", "vic": "viewer", "root": "admin"}  # name: role; the password is the name


def suspicious(now: int) -> Batch:
    """The name that the pictures look up, as a few clients asked for it in a day."""
    times = [now - 3_600_000 * hours for hours in (1, 2, 2, 5, 9, 9, 14, 20)]
    rows = [
        Observation(
            SUSPECT, "A", f"192.0.2.{16 + at % 3}", "malicious", time, time, tier="alert", score=0.59, generated=0.24,
            source="model", model="cnn-2026-11-20" if at < 6 else "seed", rcode="NOERROR", addresses=["203.0.113.9"],
            rule="score>=0.55", action="passthru",
        )
        for at, time in enumerate(times)
    ]  # fmt: skip
    return Batch("office", "e" * 32, 1, mode="monitor", version="0.1.0", seen=len(rows), rows=rows)


def infected(now: int, client: str, number: int) -> Batch:
    """Generated names that one client asked for within an hour, most of which do not exist."""
    rows = [
        Observation(
            f"x{at}q7vk{client.rpartition('.')[2]}mzt.top", "A", client, "malicious", time, time + 60_000, tier="alert",
            score=0.9, generated=0.8 + at / 100, source="model", model="cnn-2026-11-20",
            rcode="NOERROR" if at == 9 else "NXDOMAIN",
            addresses=["203.0.113.9"] if at == 9 else [], rule="generated>=0.7", action="passthru", count=2 + at % 5,
        )
        for at, time in enumerate(range(now - 3_600_000, now - 180_000, 244_000))
    ]  # fmt: skip
    return Batch(
        "office", "e" * 32, number, mode="monitor", version="0.1.0", seen=sum(row.count for row in rows), rows=rows
    )


def prepare(store: Store, now: int) -> None:
    """A day of traffic, some decisions, and two incidents."""
    store.initialise()
    hour = 3_600_000
    sample.fill(store, now - 24 * hour, now - 3 * hour, step=60_000, rows=14)
    sample.fill(store, now - 3 * hour, now, step=10_000, rows=12, hostile=True)
    batch = suspicious(now)
    promise = Promise(batch.resolver, batch.boot, batch.batch, now, batch.seen, 0, len(batch.rows))
    store.append(list(records_of(batch)), [promise])
    store.commit(
        [
            Document(
                "list", "blocklist/tracker.example.net", {"note": "seen in a report", "expires": None, "author": "ada"}
            )
        ],
        "ada",
        "seen in a report",
    )
    store.commit(
        [
            Document(
                "list",
                "benign/cdn.example.org",
                {"note": "content network", "expires": now + 720 * hour, "author": "ada"},
            )
        ],
        "ada",
        "content network",
    )
    store.commit(
        [
            Document(
                "list",
                "honeypot/drop-zone.example.net",
                {"note": "who calls?", "expires": now + 24 * hour, "author": "root"},
            )
        ],
        "root",
        "who calls?",
    )
    store.commit(
        [Document("list", "blocklist/shop.example.com", {"note": "typing error", "expires": None})],
        "ada",
        "typing error",
    )
    store.commit([Document("list", "blocklist/shop.example.com", None)], "root", "undo")
    for number, (key, client, state, who) in enumerate((
        ("192.0.2.31-1", "192.0.2.31", "open", ""),
        ("192.0.2.87-1", "192.0.2.87", "acknowledged", "ada"),
    )):  # fmt: skip
        batch = infected(now, client, 2 + number)
        found = list(records_of(batch))
        store.append(found, [Promise("office", batch.boot, batch.batch, now, batch.seen, 0, len(batch.rows))])
        body = msgspec.to_builtins(incidents_of(client, found, Rules())[0]) | {"state": state, "assignee": who}
        store.commit([Document("incident", key, {**body, "state": "open", "assignee": ""})], "verdict", "")
        if who:
            store.commit([Document("incident", key, {**body, "state": "open"})], "root", "on duty today")
            store.commit([Document("incident", key, body)], who, "asked the owner of the laptop")


async def keep_coming(store: Store) -> None:
    """New traffic each second."""
    second = int(time.time()) * 1000 - 1000
    while True:
        # Each second once, however late: a number left out is a batch that a resolver lost.
        while second + 1000 <= time.time() * 1000:
            for batch in sample.batches(second, second + 1000, rows=1):
                promise = Promise(
                    batch.resolver, batch.boot, batch.batch, second, batch.seen, batch.discarded, len(batch.rows)
                )
                await asyncio.to_thread(store.append, list(records_of(batch)), [promise])
            second += 1000
        await asyncio.sleep(1)


class Slowly(Data):
    """Waits before each question."""

    def _put(self, question: Any) -> Any:
        time.sleep(SLOW_S)
        return super()._put(question)


def dead() -> Store:
    """A store that nobody reaches."""
    raise Unavailable("store: connection refused (made up)")


async def run(directory: Path, port: int, state: str = "full") -> None:
    """Serve until interrupted."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # from the start, or its folder would be left
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    url = f"sqlite:///{directory / 'demo.db'}"
    store = open_store(url)
    store.initialise()
    if state != "empty":
        await asyncio.to_thread(prepare, store, int(time.time()) * 1000)
    accounts = directory / "accounts"
    accounts.write_text("".join(f"{name} {role} {hashed(name)}\n" for name, role in PASSWORDS.items()))
    data = (Slowly if state == "slow" else Data)(dead if state == "dead" else reader_of(url))
    client = Client("http://control.example", lambda: "made-up", SampleControl(store))
    settings = Settings(store_url=url, control_url="http://control.example", port=port, password_file=accounts)
    signin = signin_of(settings)
    server = serve(settings, data, client, signin)
    server.start()
    print(f"demo: http://127.0.0.1:{server.port}/ (users {', '.join(PASSWORDS)}; the password is the name)", flush=True)
    traffic = asyncio.create_task(keep_coming(store) if state != "empty" else asyncio.sleep(0))
    asyncio.get_running_loop().set_exception_handler(quiet)
    await stopped.wait()
    traffic.cancel()
    server.stop(wait=False)
    data.close()
    await client.close()
    store.close()


@click.command()
@click.option("--port", default=8055, show_default=True, help="0: any free one.")
@click.option("--store", "state", type=click.Choice(STATES), default="full", show_default=True, help="What to see.")
def main(port: int, state: str) -> None:
    """Serve the dashboard on made-up traffic."""
    with tempfile.TemporaryDirectory(prefix="verdict-demo-") as directory:
        asyncio.run(run(Path(directory), port, state))
    os._exit(0)  # what the store's threads still do is of no use


if __name__ == "__main__":
    main()
