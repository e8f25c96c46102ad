"""Made-up traffic for tests, screenshots and trying the dashboard out; no name or address of it is anyone's.

Names lie under the domains that RFC 2606 reserves, addresses in the blocks that RFC 5737 and 3849 reserve.
"""

import random
import string
from collections.abc import Iterator
from typing import Any

from verdicts.observations import Batch, Observation
from verdicts.records import Record, records_of
from verdicts.store import Promise, Store

RESOLVERS = ("edge-1", "edge-2", "office")
BOOTS = {name: f"{number:032x}" for number, name in enumerate(RESOLVERS, 1)}
SECOND = 1000  # milliseconds
WORDS = ("mail", "shop", "cdn", "login", "static", "images", "api", "news", "weather", "video", "docs", "status")
ZONES = ("example.com", "example.net", "example.org")
HOSTILE = (
    "<script>alert(1)</script>.example.org",
    '"><img src=x onerror=alert(1)>.example.net',
    "\\000\\001\\027[31m.example.org",
    "\u202egro.elpmaxe\u202c.example.org",
    "=cmd|'/c calc'!a1.example.com",
    "@sum(1+1).example.com",
    ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 49, "example.org"]),
)  # 255 octets on the wire, the last


def observations(seed: int, second: int, rows: int = 24, hostile: bool = False) -> list[Observation]:
    """What one resolver saw in the second that begins at `second` (Unix milliseconds)."""
    draw = random.Random(seed * 1_000_003 + second // SECOND)
    result = [_observation(draw, second) for _ in range(rows)]
    if hostile:
        result += [
            _row(draw, second, name, f"198.51.100.{9 + i}", "alert", "malicious", 0.7) for i, name in enumerate(HOSTILE)
        ]
    return result


def batches(
    start: int, end: int, step: int = SECOND, rows: int = 24, seed: int = 1, hostile: bool = False, daily: bool = True
) -> Iterator[Batch]:
    """Reports of all resolvers from `start` to `end`, one each `step` milliseconds; with `daily` the rows of each
    follow the hour of day."""
    for number, second in enumerate(range(start, end, step), 1):
        for offset, resolver in enumerate(RESOLVERS):
            present = max(1, int(rows * _busy(second))) if daily else rows
            seen = observations(seed * 10 + offset, second, present, hostile and number % 40 == 0)
            discarded = 3 if offset == 2 and number % 97 == 0 else 0
            yield Batch(
                resolver=resolver,
                boot=f"{step:08x}{BOOTS[resolver][8:]}",  # whose numbers have no gap
                batch=second // step,
                epoch=12,
                mode="enforce" if offset < 2 else "monitor",
                version="0.1.0",
                seen=sum(row.count for row in seen) + discarded,
                discarded=discarded,
                rows=seen,
            )


def records(start: int, end: int, **options: Any) -> Iterator[Record]:
    """The same as records."""
    for batch in batches(start, end, **options):
        yield from records_of(batch)


def fill(store: Store, start: int, end: int, **options: Any) -> int:
    """Put made-up traffic into a store; return how many records."""
    total = 0
    pending: list[Record] = []
    promises: list[Promise] = []
    for batch in batches(start, end, **options):
        pending += records_of(batch)
        promises.append(
            Promise(
                batch.resolver,
                batch.boot,
                batch.batch,
                batch.rows[0].first if batch.rows else start,
                batch.seen,
                batch.discarded,
                len(batch.rows),
            )
        )
        if len(pending) > 5000:
            total += len(pending)
            store.append(pending, promises)
            pending, promises = [], []
    store.append(pending, promises)
    return total + len(pending)


def _busy(ms: int) -> float:
    hour = ms / 3_600_000 % 24
    return 0.35 + 0.65 * max(0.0, 1 - abs(hour - 13) / 9)


def _observation(draw: random.Random, second: int) -> Observation:
    kind = draw.random()
    client = f"192.0.2.{int(draw.triangular(2, 120, 20))}"
    if kind < 0.9:
        name = f"{draw.choice(WORDS)}{draw.choice(['', '', str(draw.randint(1, 9))])}.{draw.choice(ZONES)}"
        return _row(
            draw, second, name, client, "none", "benign", _steady(name) ** 6 * 0.3, draw.choice([1, 1, 1, 2, 3, 7])
        )
    if kind < 0.94:
        words = draw.choice(WORDS), draw.choice(WORDS), draw.choice(["secure", "update", "verify"])
        name = f"{'-'.join(words)}.{draw.choice(ZONES)}"
        return _row(draw, second, name, client, "alert", "malicious", 0.55 + 0.38 * _steady(name))
    if kind < 0.975:
        machine = "".join(draw.choices(string.ascii_lowercase + string.digits, k=draw.randint(14, 22)))
        return _row(
            draw,
            second,
            f"{machine}.{draw.choice(ZONES)}",
            f"192.0.2.{draw.choice([31, 31, 31, 87])}",
            "block",
            "malicious",
            draw.uniform(0.96, 1),
        )
    if kind < 0.99:
        name = draw.choice(["tracker", "phish", "drop-zone"]) + ".example.net"
        return _row(draw, second, name, client, "block", "malicious", 1.0, source="blocklist", rule=name)
    return _row(
        draw,
        second,
        f"slow{draw.randint(1, 30)}.example.com",
        client,
        "none",
        "unknown",
        0.0,
        reason=draw.choice(["timeout", "timeout", "breaker"]),
    )


def _steady(name: str) -> float:
    # 0 to 1, the same for each query of a name, as a model's score is.
    return random.Random(name).random()


def _row(
    draw: random.Random,
    second: int,
    name: str,
    client: str,
    tier: str,
    label: str,
    score: float,
    count: int = 1,
    source: str = "model",
    rule: str = "",
    reason: str = "",
) -> Observation:
    blocked = tier == "block" and draw.random() < 0.7
    generated = score if tier == "block" and source == "model" else score * 0.4
    first = second + draw.randrange(SECOND)
    rcode = "NXDOMAIN" if blocked or (tier == "block" and draw.random() < 0.8) else "NOERROR"
    return Observation(
        qname=name,
        qtype=draw.choice(["A", "A", "A", "AAAA", "AAAA", "HTTPS"]),
        client=client,
        label=label,
        first=first,
        last=first,
        count=count,
        action="nxdomain" if tier == "block" else "passthru",
        enforced=blocked,
        source="none" if label == "unknown" else source,
        rule=rule or ("generated>=0.95" if tier == "block" else "score>=0.55" if tier == "alert" else ""),
        model="" if label == "unknown" else "cnn-2026-11-20" if draw.random() < 0.8 else "seed",
        tier=tier,
        rcode=rcode,
        reason=reason,
        score=round(score, 4),
        generated=round(generated, 4),
        latency_sum=draw.randint(300, 9000) * count,
        latency_max=9000,
        addresses=[f"203.0.113.{draw.randint(1, 250)}"] if rcode == "NOERROR" else [],
    )
