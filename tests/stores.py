"""Records, batches and stores as the tests of the log use them."""

import time
from pathlib import Path

import msgspec
import pytest

from verdicts.observations import Batch, Observation
from verdicts.records import Record, records_of
from verdicts.store import Filter, Promise, Store

BOOT = "0123456789abcdef" * 2
MINUTE = 60_000
SQLITE_ONLY = pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # the store of a test that both could have


def now() -> int:
    """Unix milliseconds."""
    return int(time.time() * 1000)


def observation(qname: str = "www.example.com", at: int | None = None, **fields: object) -> Observation:
    """One row with plausible values, changed by `fields`."""
    at = now() if at is None else at
    row = Observation(qname, "A", "192.0.2.1", "benign", at, at, rcode="NOERROR", source="model", model="seed-1")
    return msgspec.structs.replace(row, **fields)


def batch_of(rows: list[Observation], number: int = 1, resolver: str = "edge-1", boot: str = BOOT) -> Batch:
    """A batch that adds up."""
    return Batch(resolver, boot, number, seen=sum(row.count for row in rows), rows=rows)


def records(rows: list[Observation], number: int = 1, resolver: str = "edge-1") -> list[Record]:
    """The records of one batch."""
    return list(records_of(batch_of(rows, number, resolver)))


def promise(rows: list[Observation], number: int = 1, at: int | None = None, resolver: str = "edge-1") -> Promise:
    """What that batch promised."""
    return Promise(resolver, BOOT, number, at or now(), sum(row.count for row in rows), 0, len(rows))


def around(at: int, **fields: object) -> Filter:
    """A filter on the day around a time."""
    return msgspec.structs.replace(Filter(at - 12 * 60 * MINUTE, at + 12 * 60 * MINUTE), **fields)


def sqlite_url(folder: Path) -> str:
    """The URL of a store file in a folder."""
    return f"sqlite:///{folder}/verdict.db"


def settled(store: Store) -> None:
    """Make what was written visible to searches at once, which Elasticsearch does once a second."""
    client = getattr(store, "client", None)
    if client is not None:
        client.indices.refresh(index=f"{store.settings.prefix}-*")  # type: ignore[attr-defined]
