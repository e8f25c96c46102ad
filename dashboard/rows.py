"""What the store returns, as rows and charts of the components."""

from collections.abc import Iterable
from typing import Any

from verdicts.records import Record
from verdicts.store import Cell, Top

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
        "uncertain": uncertain(record.score),
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


def counts_of(cells: Iterable[Cell], at: int = 0) -> dict[str, int]:
    """Queries by the values of one field, the one at place `at` of those that were asked for."""
    counts: dict[str, int] = {}
    for cell in cells:
        counts[cell.keys[at]] = counts.get(cell.keys[at], 0) + cell.count
    return counts


def chart_of(start: int, end: int, interval: int, cells: Iterable[Cell]) -> dict[str, Any]:
    """Stacked series by tier as pages show it, from counts by label, tier and perhaps more."""
    first = start - start % interval
    size = (end - first + interval - 1) // interval
    values = {key: [0] * size for key, _ in SERIES}
    for cell in cells:
        label, tier, *_ = cell.keys
        _put(values.get(shown_tier(label, tier), values["none"]), (cell.time - first) // interval, cell.count)
    series = [{"key": key, "label": label, "values": values[key]} for key, label in SERIES]
    return {"start": first, "end": first + size * interval, "interval": interval, "series": series}


def _put(values: list[int], at: int, count: int) -> None:
    if 0 <= at < len(values):
        values[at] += count


def share_rows(totals: dict[str, int], limit: int = 12) -> list[Row]:
    """Counts by value, largest first."""
    ranked = sorted(totals.items(), key=lambda item: -item[1])[:limit]
    return [{"key": key or "(none)", "count": count} for key, count in ranked]
