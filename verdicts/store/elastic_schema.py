"""Index templates with explicit mappings, and which index a time belongs to.

Six sets of indices below one prefix: `PREFIX-log-DAY` (records), `PREFIX-rollup-DAY` (their counts, see
`elastic_counts`), `PREFIX-batches-DAY` (what reports promised), `PREFIX-dead-DAY` (what Elasticsearch refused),
`PREFIX-state` (the documents people decide) and `PREFIX-history` (their commits). Only field types that every
distribution has: date, keyword, ip, long, half_float, boolean, and alias for a value that ECS has under two names.

A row is some 80 octets on disk, and half of that are structures for questions; so a log index has those alone that a
question needs. A name is found by its registered domain, which is indexed, and then by its values; a score by its
values within a time.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Rotation = Literal["day", "hour"]
ROTATIONS: tuple[Rotation, ...] = ("day", "hour")
PRIORITY = 500  # above the built-in templates
SCHEMA_VERSION = 2

_KEYWORD = {"type": "keyword", "ignore_above": 1024}
_KEPT = {"type": "keyword", "index": False, "doc_values": False}  # read back, never searched
_SHOWN = {"type": "keyword", "index": False, "ignore_above": 1024}  # aggregated, not searched by
_LONG = {"type": "long", "index": False}
_FOUND = {"type": "keyword", "doc_values": False}  # searched, not aggregated
_SCORE = {"type": "half_float", "index": False}
_DATE = {"type": "date", "format": "epoch_millis||strict_date_optional_time"}


def _alias(path: str) -> dict[str, Any]:
    """A second name of a field: in queries and aggregations as good as the first, and no octet on disk."""
    return {"type": "alias", "path": path}


def _tree(fields: dict[str, Any]) -> dict[str, Any]:
    """Dotted names as nested `properties`."""
    root: dict[str, Any] = {}
    for path, mapping in fields.items():
        *parents, leaf = path.split(".")
        node = root
        for parent in parents:
            node = node.setdefault(parent, {"properties": {}})["properties"]
        node[leaf] = mapping
    return root


LOG_FIELDS = {
    "@timestamp": _DATE,
    "ecs.version": _KEPT,
    "event.kind": _FOUND, "event.category": _FOUND, "event.type": _SHOWN, "event.action": _alias("verdict.action"),
    "event.outcome": _SHOWN, "event.dataset": _SHOWN,
    "dns.question.name": _SHOWN, "dns.question.type": _KEYWORD, "dns.question.registered_domain": _KEYWORD,
    "dns.question.subdomain": _KEPT, "dns.question.top_level_domain": _KEYWORD,
    "dns.response_code": _KEYWORD, "dns.resolved_ip": {"type": "ip"},
    "client.ip": {"type": "ip"}, "client.address": _KEYWORD, "source.ip": _alias("client.ip"),
    "observer.name": _KEYWORD, "observer.type": _KEPT,
    "verdict.label": _KEYWORD, "verdict.score": _SCORE, "verdict.generated": _SCORE, "verdict.tier": _KEYWORD,
    "verdict.action": _KEYWORD, "verdict.enforced": {"type": "boolean"}, "verdict.source": _KEYWORD,
    "verdict.rule": _KEYWORD, "verdict.model": _KEYWORD, "verdict.reason": _KEYWORD, "verdict.mode": _KEYWORD,
    "verdict.count": _LONG, "verdict.first": _alias("@timestamp"), "verdict.last": {**_DATE, "index": False},
    "verdict.latency_sum": _LONG, "verdict.latency_max": _LONG,
    "verdict.boot": _KEYWORD, "verdict.batch": {"type": "long"}, "verdict.row": _LONG,
    "verdict.targets": _KEYWORD, "verdict.target_of": _KEYWORD, "verdict.odd_addresses": _KEPT,
    "ml_is_dga.malicious_prediction": _LONG,
    "ml_is_dga.malicious_probability": _alias("verdict.generated"),
}  # fmt: skip
# The fields of few values: what the roll-up counts by, and how a `Filter` calls each.
ROLLED = {
    "resolver": "observer.name", "mode": "verdict.mode", "qtype": "dns.question.type", "label": "verdict.label",
    "tier": "verdict.tier", "action": "verdict.action", "enforced": "verdict.enforced", "source": "verdict.source",
    "model": "verdict.model", "reason": "verdict.reason", "rcode": "dns.response_code",
}  # fmt: skip
ROLLUP_FIELDS = {
    **{path: LOG_FIELDS[path] for path in ("@timestamp", *ROLLED.values(), "verdict.count")}, "rows": _LONG,
}  # fmt: skip
BATCH_FIELDS = {
    "@timestamp": _DATE, "resolver": _KEYWORD, "boot": _KEYWORD, "batch": {"type": "long"}, "seen": _LONG,
    "discarded": _LONG, "rows": _LONG,
}  # fmt: skip
DEAD_FIELDS = {
    "@timestamp": _DATE, "resolver": _KEYWORD, "boot": _KEYWORD, "batch": {"type": "long"}, "row": _LONG,
    "reason": _KEPT, "record": _KEPT,
}  # fmt: skip
STATE_FIELDS = {
    "kind": _KEYWORD, "key": {"type": "keyword"}, "epoch": {"type": "long"}, "time": _DATE, "author": _KEPT,
    "note": _KEPT, "present": {"type": "boolean"}, "expires": {"type": "long"}, "body": _KEPT,
    "sequence": _LONG, "generation": _KEPT,
}  # fmt: skip
HISTORY_FIELDS = {
    "sequence": {"type": "long"}, "part": {"type": "long"}, "parts": _LONG, "uuid": _KEPT, "moves": {"type": "boolean"},
    "time": _DATE, "author": _KEPT, "note": _KEPT, "kinds": _KEYWORD, "keys": {"type": "keyword"}, "changes": _KEPT,
}  # fmt: skip
SETS = {
    "log": LOG_FIELDS, "rollup": ROLLUP_FIELDS, "batches": BATCH_FIELDS, "dead": DEAD_FIELDS, "state": STATE_FIELDS,
    "history": HISTORY_FIELDS,
}  # fmt: skip
ROTATED = ("log", "batches", "dead", "rollup")


def template(prefix: str, name: str, shards: int, replicas: int) -> dict[str, Any]:
    """The index template of one set: settings, mapping and alias."""
    return {
        "index_patterns": [f"{prefix}-{name}-*" if name in ROTATED else f"{prefix}-{name}"],
        "priority": PRIORITY,
        "version": SCHEMA_VERSION,
        "template": index_body(prefix, name, shards, replicas),
    }


def index_body(prefix: str, name: str, shards: int, replicas: int) -> dict[str, Any]:
    """What an index of a set is created with."""
    settings: dict[str, Any] = {
        "number_of_shards": shards if name == "log" else 1,
        "number_of_replicas": replicas,
        # Said, so that an index that nobody searched lately is refreshed too. A commit refreshes what it wrote itself:
        # more often makes many small segments, which cost an import of a list a third more.
        "refresh_interval": "1s" if name in ROTATED else "-1",
        "codec": "best_compression",
    }
    body: dict[str, Any] = {
        "settings": {"index": settings},
        "mappings": {
            "dynamic": "strict" if name != "log" else False,
            "_meta": {"verdict": SCHEMA_VERSION},
            "properties": _tree(SETS[name]),
        },
    }
    if name in ROTATED:
        body["aliases"] = {f"{prefix}-{name}": {}}
    return body


def index_of(prefix: str, name: str, time: int, rotation: Rotation) -> str:
    """The index that a time (Unix milliseconds) belongs to."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return f"{prefix}-{name}-{moment:%Y.%m.%d}" + (f".{moment:%H}" if rotation == "hour" else "")


def end_of(index: str) -> int | None:
    """The time (Unix milliseconds) at which a rotated index ends; None for a name that is none."""
    found = re.fullmatch(r".*-(\d{4})\.(\d\d)\.(\d\d)(?:\.(\d\d))?", index)
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    try:
        begin = datetime(year, month, day, int(found[4] or 0), tzinfo=UTC)
    except ValueError:
        return None
    return int((begin + (timedelta(hours=1) if found[4] else timedelta(days=1))).timestamp() * 1000)
