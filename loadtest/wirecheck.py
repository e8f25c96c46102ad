"""Whether an answer of the cluster is one: judged before it counts as a success."""

import json
import zlib
from typing import Any

FIELDS = ("label", "score", "generated", "tier", "action", "cache_ttl", "source")
LABELS = ("benign", "malicious")
TIERS = ("none", "alert", "block")


def frame_problem(status: int, body: bytes, count: int, request: bytes | None = None) -> str:
    """Why the answer to a frame of `count` names, whose body was `request`, is a failure; empty when it is none."""
    document, problem = _document(status, body)
    if problem:
        return problem
    if request is not None and document.get("asked", (asked := zlib.crc32(request))) != asked:
        return "the answer to another request"
    verdicts = document.get("verdicts")
    if not isinstance(verdicts, list) or len(verdicts) != count:
        return f"{len(verdicts) if isinstance(verdicts, list) else 'no'} verdicts for {count} names"
    if not isinstance(document.get("epoch"), int):
        return "no epoch"
    return next((found for found in map(verdict_problem, verdicts) if found), "")


def single_problem(status: int, body: bytes) -> str:
    """The same for one name asked by `/v1/verdict`."""
    document, problem = _document(status, body)
    return problem or verdict_problem(document.get("verdict", document))


def acknowledgement_problem(body: bytes) -> str:
    """The same for a batch of observations that was answered with 200."""
    document, problem = _document(200, body)
    return problem or ("" if isinstance(document.get("epoch"), int) else "no epoch")


def verdict_problem(verdict: Any) -> str:
    """Why one verdict breaks the contract."""
    if not isinstance(verdict, dict):
        return "a verdict that is no object"
    missing = [field for field in FIELDS if field not in verdict]
    if missing:
        return f"verdict without {', '.join(missing)}"
    if verdict["label"] not in LABELS or verdict["tier"] not in TIERS:
        return f"label {verdict['label']!r}, tier {verdict['tier']!r}"
    if not all(isinstance(verdict[k], int | float) and 0 <= verdict[k] <= 1 for k in ("score", "generated")):
        return "score or generated outside 0 to 1"
    return ""


def _document(status: int, body: bytes) -> tuple[dict[str, Any], str]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}, f"{status}, and no JSON"
    if status != 200:
        return {}, f"{status} {document.get('code', '') if isinstance(document, dict) else ''}".strip()
    return (document, "") if isinstance(document, dict) else ({}, "JSON that is no object")
