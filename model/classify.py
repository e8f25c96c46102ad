"""Offline classification: names in, one line each out, in input order, in flat memory."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from model.explain import explain
from model.scorer import Scorer
from verdicts.names import BadName, ineligible, normalise, shown, strip_service
from verdicts.policy import Policy, Verdict, decide

CHUNK = 8192  # names scored together


class Judged(NamedTuple):
    """A name as it came, and its verdict (None: it is no domain name)."""

    name: str
    verdict: Verdict | None


def classify(names: Iterable[str], scorer: Scorer) -> Iterator[Judged]:
    """Judge names with a model alone, no lists; any number of names, any length of stream."""
    policy, thresholds = Policy(), scorer.artifact.thresholds()
    remaining = iter(names)
    while chunk := list(islice(remaining, CHUNK)):
        qnames = [_normalised(name) for name in chunk]
        reasons = [None if qname is None else ineligible(strip_service(qname)) for qname in qnames]
        asked = [q for q, reason in zip(qnames, reasons, strict=True) if q is not None and reason is None]
        scores = iter(scorer(scorer.encoding(asked)).tolist())
        for name, qname, reason in zip(chunk, qnames, reasons, strict=True):
            if qname is None:
                yield Judged(name, None)
            elif reason is not None:
                yield Judged(name, decide(policy, thresholds, None, reason))
            else:
                generated, score = next(scores)
                yield Judged(name, decide(policy, thresholds, None, None, generated, score))


def as_line(judged: Judged) -> str:
    """Name, label, score, generated, separated by tabs; what cannot be printed is escaped; no name: malformed."""
    verdict = judged.verdict
    name = judged.name if judged.name.isprintable() else shown(judged.name)
    if verdict is None:
        return f"{name}\tmalformed\t0\t0"
    return f"{name}\t{verdict.label}\t{verdict.score:.6g}\t{verdict.generated:.6g}"


def as_json(judged: Judged, scorer: Scorer, explained: bool) -> str:
    """One JSON object: the above, with tier and rule, and the explanation where it is asked for."""
    verdict = judged.verdict
    if verdict is None:
        return json.dumps({"name": judged.name, "label": "malformed", "rule": "malformed"})
    found: dict[str, Any] = {
        "name": judged.name, "label": verdict.label, "score": verdict.score, "generated": verdict.generated,
        "tier": verdict.tier, "rule": verdict.rule,
    }  # fmt: skip
    if explained and verdict.source == "model":
        found["explanation"] = explain(scorer, judged.name)
    return json.dumps(found)


def as_picture(explanation: dict[str, Any]) -> str:
    """The explanation for a terminal: below the name a mark for each character that raised (+) or lowered (-) it."""
    weights = [character["weight"] for character in explanation["characters"]]
    strongest = max((abs(weight) for weight in weights), default=0) or 1.0
    marks = "".join(_mark(weight / strongest) for weight in weights)
    nearest = explanation["nearest"]
    family = f"; nearest family {nearest['family']} ({nearest['share']:.0%})" if nearest else ""
    return f"  {explanation['name']}\n  {marks}\n  head {explanation['head']}, tier {explanation['tier']}{family}"


def _mark(share: float) -> str:
    if share >= 0.33:
        return "#" if share >= 0.66 else "+"
    return "=" if share <= -0.66 else "-" if share <= -0.33 else " "


def _normalised(name: str) -> str | None:
    try:
        return normalise(name[:-1] if name.endswith(".") and not name.endswith("\\.") and len(name) > 1 else name)
    except BadName:
        return None
