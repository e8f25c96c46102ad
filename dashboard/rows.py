"""What the store returns, as rows and charts of the components."""

from collections.abc import Iterable, Sequence
from typing import Any

from verdicts.records import Record
from verdicts.store import Bucket, Top

Row = dict[str, Any]

LOG_COLUMNS: list[dict[str, str]] = [
    {"key": "time", "label": "Time", "kind": "time"},
    {"key": "qname", "label": "Name", "kind": "name"},
    {"key": "qtype", "label": "Type", "kind": "word"},
    {"key": "client", "label": "Client", "kind": "client"},
    {"key": "tier", "label": "Tier", "kind": "tier"},
    {"key": "action", "label": "Action", "kind": "action"},
    {"key": "count", "label": "Queries", "kind": "count"},
]
SERIES = (("none", "passed"), ("unknown", "unknown"), ("alert", "alert"), ("block", "block"))  # from the ground up


def shown_tier(label: str, tier: str) -> str:
    """The tier as pages show it: a query without a verdict is `unknown`, not `none`."""
    return "unknown" if label == "unknown" else tier


def log_row(record: Record) -> Row:
    """One record as a row of the query log."""
    return {
        "time": record.time,
        "qname": record.qname,
        "qtype": record.qtype,
        "client": record.client,
        "resolver": record.resolver,
        "label": record.label,
        "tier": shown_tier(record.label, record.tier),
        "action": record.action,
        "enforced": record.enforced,
        "source": record.source,
        "rule": record.rule,
        "model": record.model,
        "reason": record.reason,
        "rcode": record.rcode,
        "score": record.score,
        "generated": record.generated,
        "count": record.count,
        "id": record.id,
    }


def top_row(top: Top) -> Row:
    """One row of a ranking."""
    return {
        "key": top.key,
        "count": top.count,
        "clients": top.clients,
        "score": top.score,
        "generated": top.generated,
        "last": top.last,
        "tier": top.tier,
        "enforced_count": top.enforced,
        "uncertain": uncertain(top.score),
    }


def uncertain(score: float) -> bool:
    """True for a score that says little either way; shown in red and with a sign."""
    return 0.2 < score < 0.8


def chart_of(start: int, end: int, interval: int, tiers: Iterable[Bucket], unknown: Iterable[Bucket]) -> dict[str, Any]:
    """Stacked series by tier; what is unknown is taken out of tier `none`, where the store counts it."""
    first = start - start % interval
    size = (end - first + interval - 1) // interval
    values = {key: [0] * size for key, _ in SERIES}
    for bucket in tiers:
        _put(values.get(bucket.key, values["none"]), (bucket.time - first) // interval, bucket.count)
    for bucket in unknown:
        _put(values["unknown"], (bucket.time - first) // interval, bucket.count)
        _put(values.get(bucket.key, values["none"]), (bucket.time - first) // interval, -bucket.count)
    series = [{"key": key, "label": label, "values": values[key]} for key, label in SERIES]
    return {"start": first, "end": first + size * interval, "interval": interval, "series": series}


def plain_chart(
    start: int, end: int, interval: int, buckets: Sequence[Bucket], names: dict[str, str]
) -> dict[str, Any]:
    """Series by any field; `names` gives key and colour of each value, in order from the ground up."""
    first = start - start % interval
    size = (end - first + interval - 1) // interval
    series = []
    for key, colour in names.items():
        values = [0] * size
        for bucket in buckets:
            if bucket.key == key:
                _put(values, (bucket.time - first) // interval, bucket.count)
        series.append({"key": colour, "label": key or "(none)", "values": values})
    return {"start": first, "end": first + size * interval, "interval": interval, "series": series}


def _put(values: list[int], at: int, count: int) -> None:
    if 0 <= at < len(values):
        values[at] += count


def share_rows(totals: dict[str, int], limit: int = 12) -> list[Row]:
    """Counts by value, largest first."""
    ranked = sorted(totals.items(), key=lambda item: -item[1])[:limit]
    return [{"key": key or "(none)", "count": count} for key, count in ranked]
