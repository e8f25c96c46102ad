"""What is known of a verdict, as facts for a page: as it would be now, and as it was recorded."""

from typing import Any

from dashboard.rows import log_row


def facts_of_verdict(verdict: dict[str, Any], explained: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """A verdict of the control API as facts: what the model alone says, where a list decides; the nearest family."""
    nearest = (explained or {}).get("nearest")
    alone = (explained or {}).get("alone") if (explained or {}).get("entry") else None
    return [
        {
            "label": "Now",
            "value": verdict.get("tier", "none"),
            "kind": "tier",
            "more": f"\u2192 {verdict.get('action', 'passthru')}",
        },
        {"label": "Decided by", "value": verdict.get("source", "")},
        {"label": "Rule", "value": verdict.get("rule", "") or "\u2013", "kind": "code"},
        *([{"label": "Without the list", "value": alone.get("tier", "none"), "kind": "tier"}] if alone else []),
        {
            "label": "Malicious",
            "value": (alone or verdict).get("score", 0.0),
            "kind": "score",
            "more": "calibrated probability",
        },
        {
            "label": "Machine-made",
            "value": (alone or verdict).get("generated", 0.0),
            "kind": "score",
            "more": "calibrated probability",
        },
        *([{"label": "Resembles", "value": str(nearest.get("family", ""))}] if isinstance(nearest, dict) else []),
    ]


def facts_of_record(record: Any) -> list[dict[str, Any]]:
    """The latest record of a name as facts."""
    row = log_row(record)
    done = row["enforced"] or row["action"] == "passthru"  # what passes is done whatever the mode
    facts = [
        {
            "label": "Last time",
            "value": row["tier"],
            "kind": "tier",
            "more": f"\u2192 {row['action']}" + ("" if done else " (not enforced)"),
        },
        {"label": "When", "value": row["time"], "kind": "time"},
        {"label": "Decided by", "value": row["source"]},
        {"label": "Rule", "value": row["rule"] or "\u2013", "kind": "code"},
        {"label": "Model", "value": row["model"] or "\u2013"},
        {"label": "Malicious", "value": row["score"], "kind": "score", "more": "calibrated probability"},
        {"label": "Machine-made", "value": row["generated"], "kind": "score", "more": "calibrated probability"},
        {"label": "Reply", "value": row["rcode"] or "\u2013"},
    ]
    return facts + ([{"label": "No verdict", "value": row["reason"]}] if row["reason"] else [])
