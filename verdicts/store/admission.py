"""What no store takes: decided before a record is written, the same for every store."""

import re

from verdicts.observations import MAX_ROWS
from verdicts.records import Record

FUTURE_MS = 24 * 3_600_000  # a resolver's clock may be ahead by this much
PAST_MS = 400 * 24 * 3_600_000  # an older time is a clock that was never set
MAX_COUNT = 2**53  # exact in JSON

_ID = re.compile(r"(?s)(.+)-([0-9a-f]{1,64})-([0-9]{1,16})-([0-9]{1,5})").fullmatch


def parse_id(text: str) -> tuple[str, str, int, int] | None:
    """Resolver, boot, batch and row of a record's id; None when it is not one."""
    found = _ID(text)
    if found is None or int(found[4]) >= MAX_ROWS:
        return None
    return found[1], found[2], int(found[3]), int(found[4])


def refusal(record: Record, now: int) -> str | None:
    """Why a record can never be stored, or None; `now` in Unix milliseconds."""
    if parse_id(record.id) is None:
        return f"id {record.id!r}: expected RESOLVER-BOOT-BATCH-ROW"
    if not now - PAST_MS <= record.time <= now + FUTURE_MS:
        return f"time {record.time}: expected within 400 days before and one day after {now}"
    if not record.time <= record.last <= now + FUTURE_MS:
        return f"last {record.last}: expected from {record.time} to one day after {now}"
    if max(record.count, record.latency_sum, record.latency_max) > MAX_COUNT:
        return "count or latency: expected at most 2**53"
    return None
