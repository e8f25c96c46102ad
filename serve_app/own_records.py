"""The records of questions asked at the ingress itself (`POST /v1/verdict`), reported as a resolver reports its own."""

import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec

from verdicts.observations import MAX_ROWS, Batch, Observation
from verdicts.policy import Verdict

BATCH_ROWS = 5_000  # of the longest, some 45 MB: what one message of Serve and one entry of the spool (64 MiB) take


class OwnRecords:
    """Gathers rows and appends them as batches; what does not fit is discarded and counted.

    A batch that could not be appended is kept and appended again as it was, so that it is stored once.
    """

    def __init__(self, append: Callable[[bytes], Awaitable[None]], resolver: str) -> None:
        self._append = append
        self._resolver = resolver
        self._boot = secrets.token_hex(16)
        self._number = 0
        self._rows: list[Observation] = []
        self._pending: bytes | None = None
        self._discarded = 0
        self._reported = 0  # discarded rows that wait to be counted as a metric

    def add(self, qname: str, client: str, verdict: Verdict, model: str, latency_us: int) -> None:
        """Note one answered question."""
        if len(self._rows) >= MAX_ROWS:
            self._discarded += 1
            self._reported += 1
            return
        now = int(time.time() * 1000)
        self._rows.append(
            Observation(
                qname=qname, qtype="", client=client, label=verdict.label, first=now, last=now,
                action=verdict.action, source=verdict.source, rule=verdict.rule, model=model, tier=verdict.tier,
                score=verdict.score, generated=verdict.generated, latency_sum=latency_us, latency_max=latency_us,
            )
        )  # fmt: skip

    async def flush(self) -> None:
        """Append what gathered; raises what the log raises, and tries again at the next call."""
        if self._pending is None:
            if not self._rows and not self._discarded:
                return
            rows, discarded = self._rows[:BATCH_ROWS], self._discarded
            self._rows, self._discarded, self._number = self._rows[BATCH_ROWS:], 0, self._number + 1
            batch = Batch(
                self._resolver, self._boot, self._number, mode="ask", seen=len(rows) + discarded,
                discarded=discarded, rows=rows,
            )  # fmt: skip
            self._pending = msgspec.json.encode(batch)
        await self._append(self._pending)
        self._pending = None

    def take_discarded(self) -> int:
        """How many rows were discarded since the last call."""
        count, self._reported = self._reported, 0
        return count
