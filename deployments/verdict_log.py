"""The VerdictLog deployment: keeps what resolvers report and what people decide (a thin shell over `Keeper`)."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deployments.logs import keep_written
from deployments.messages import unpack
from verdicts import privacy
from verdicts.keeper import Keeper
from verdicts.sinks import read_sinks
from verdicts.store import Epoch
from verdicts.watch import Watch

APPENDS_AT_ONCE = 32  # threads that wait for one sync together
COMMITS_AT_ONCE = 4  # threads of their own: however long the store takes for these, no report waits
LONG_COMMIT = 64 << 10  # octets, some hundred entries: those behind one go in one by one, and hold up no decision


class VerdictLog:
    """One replica. A replica of an SQLite store stands alone; of Elasticsearch there may be any number."""

    def __init__(
        self,
        store_url: str,
        spool_dir: str,
        spool_bytes: int,
        client_privacy: str = "whole",
        client_key_file: str = "",
        retention_days: float = 30.0,
        alerts_file: str = "",
    ) -> None:
        from ray.serve.metrics import Counter

        logging.raiseExceptions = False  # as in the ingress: a log that the disk refuses must not hold up reports
        keep_written()
        key = privacy.read_key(Path(client_key_file)) if client_privacy == "keyed" else b""
        anonymise = privacy.anonymiser(client_privacy, key)
        watch = Watch(read_sinks(Path(alerts_file)) if alerts_file else ())
        self._keeper = Keeper(store_url, spool_dir, spool_bytes, anonymise, retention_days, [watch])
        self._threads = ThreadPoolExecutor(APPENDS_AT_ONCE, "verdict-log")
        self._commit_threads = ThreadPoolExecutor(COMMITS_AT_ONCE, "verdict-commit")
        self._long_commit_thread = ThreadPoolExecutor(1, "verdict-long-commit")
        self._dead = Counter(
            "verdict_dead_letters", description="Rows that the store never takes, kept with the reason."
        )
        self._told = 0  # dead letters already handed over

    async def append(self, batch: bytes) -> None:
        """Return once the batch (JSON, checked) is synced in the spool. Raises `SpoolFull`."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._keeper.keep, batch)

    async def commit(self, documents: bytes, author: str, note: str = "", expect: int | None = None) -> Epoch:
        """Write all documents (packed by `messages.pack`) or none. Raises `Conflict`, `Unavailable` or
        `Misconfigured`."""
        threads = self._commit_threads if len(documents) <= LONG_COMMIT else self._long_commit_thread
        return await asyncio.get_running_loop().run_in_executor(
            threads, lambda: self._keeper.commit(unpack(documents), author, note, expect)
        )

    async def status(self) -> dict[str, Any]:
        """Spool depth, dead letters, the store's state and since when. Ingresses ask about once a second."""
        status = self._keeper.status()
        if status["dead"] > self._told:
            self._dead.inc(status["dead"] - self._told)
            self._told = status["dead"]
        return status

    async def __del__(self) -> None:
        """Serve awaits this when the replica ends."""
        await asyncio.to_thread(self._keeper.close)
