"""Why a name got its score: which characters moved it, and which known family it resembles."""

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from model.encoding import CLASSES, SEGMENT
from model.scorer import Scorer
from verdicts.names import normalise, split, strip_service
from verdicts.policy import Thresholds, tier_of

PROFILES = Path(__file__).parent / "profiles.json"
SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789-_"
LONGEST = 40  # longer labels count as this long
UNSEEN = 1e-3  # probability of a length or suffix that a family never showed


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the labels of a family look like: shares of symbols, of lengths 1 to 40, of public suffixes."""

    symbols: list[float]
    lengths: list[float]
    suffixes: dict[str, float]


def explain(scorer: Scorer, name: str, thresholds: Thresholds | None = None) -> dict[str, Any]:
    """Explain one name. Raises `verdicts.names.BadName`.

    Returns `name`, `score`, `generated` (probabilities), `tier` and `rule` (by `thresholds`, else the artifact's),
    `head` (the one explained: the nearer to its threshold), `characters`, a list of `character` and `weight` (how
    much the head's logit falls when that character is hidden), and `nearest`, a known `family` with its `share` of
    the likelihood over all known families, or None where the name is not flagged as generated.
    """
    qname = normalise(name)
    asked = strip_service(qname)
    thresholds = thresholds or scorer.artifact.thresholds()
    row = scorer.encoding([asked])[0]
    length = min(len(asked), len(row))
    rows = np.repeat(row[None], length + 1, 0)  # (L + 1, W): the name, then the name with each character hidden
    at = np.arange(length)
    rows[at + 1, at] = hidden(scorer.encoding.name, row[:length])
    logits = scorer.logits(rows)
    generated, score = (float(v) for v in scorer.calibrated(logits[:1])[0])
    tier, rule = tier_of(thresholds, generated, score)
    column = _head(scorer, thresholds, generated, score)
    weights = logits[0, column] - logits[1:, column]
    characters: list[dict[str, Any]] = [{"character": c, "weight": 0.0} for c in qname]
    first = len(qname) - (length if ends(scorer.encoding.name) else len(asked))
    for character, weight in zip(characters[first:], weights, strict=False):
        character["weight"] = round(float(weight), 4)
    flagged = tier == "block" or rule.startswith("generated")
    return {
        "name": qname, "score": score, "generated": generated, "tier": tier, "rule": rule,
        "head": scorer.artifact.manifest.heads[column], "characters": characters,
        "nearest": nearest(asked) if flagged else None,
    }  # fmt: skip


def ends(encoding: str) -> bool:
    """Whether of a name that is too long the end is read, not the beginning."""
    return encoding == "segments-96"


def hidden(encoding: str, tokens: Any) -> Any:
    """The tokens that hide these characters, of the same shape: another character, in the same segment."""
    if encoding == "segments-96":
        return tokens // SEGMENT * SEGMENT + (CLASSES - 1)
    return np.full_like(tokens, ord("?"))


def nearest(name: str) -> dict[str, Any] | None:
    """The known family whose profile makes this name likeliest; None when no profiles are there."""
    parts = split(name)
    label = parts.registered.partition(".")[0]
    found = {family: likelihood(profile, label, parts.suffix) for family, profile in profiles().items()}
    if not found:
        return None
    best = max(found, key=lambda family: found[family])
    total = sum(math.exp(value - found[best]) for value in found.values())
    return {"family": best, "share": round(1 / total, 4)}


def likelihood(profile: Profile, label: str, suffix: str) -> float:
    """The log-likelihood of a label and its suffix under a profile."""
    value = math.log(max(profile.lengths[min(len(label), LONGEST) - 1], UNSEEN))
    value += math.log(max(profile.suffixes.get(suffix, 0.0), UNSEEN))
    for symbol in label:
        position = SYMBOLS.find(symbol)
        value += math.log(max(profile.symbols[position] if position >= 0 else 0.0, 1e-4))
    return value


@lru_cache(maxsize=1)
def profiles() -> dict[str, Profile]:
    """The families' profiles of this release."""
    if not PROFILES.exists():
        return {}
    return msgspec.json.decode(PROFILES.read_bytes(), type=dict[str, Profile])


def profile_of(names: list[str]) -> Profile:
    """The profile of a family's names."""
    parts = [split(name) for name in names]
    labels = [part.registered.partition(".")[0] for part in parts]
    text = "".join(labels)
    lengths = np.bincount([min(len(label), LONGEST) for label in labels], minlength=LONGEST + 1)[1:]
    suffixes: dict[str, int] = {}
    for part in parts:
        suffixes[part.suffix] = suffixes.get(part.suffix, 0) + 1
    common = sorted(suffixes, key=lambda suffix: -suffixes[suffix])[:30]
    return Profile(
        [round(text.count(symbol) / len(text), 5) for symbol in SYMBOLS],
        [round(float(n), 5) for n in lengths / len(labels)],
        {suffix: round(suffixes[suffix] / len(names), 5) for suffix in common},
    )


def write_profiles(families: dict[str, list[str]], file: Path) -> None:
    """Write the profiles of families, one a line."""
    rows = [f"{json.dumps(name)}: {msgspec.json.encode(profile_of(rows)).decode()}" for name, rows in families.items()]
    file.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def _head(scorer: Scorer, thresholds: Thresholds, generated: float, score: float) -> int:
    """The column of the head nearer to (or further past) its alert threshold."""
    heads = scorer.artifact.manifest.heads
    if len(heads) == 1:
        return 0
    limits = {"generated": thresholds.alert_generated or thresholds.block, "malicious": thresholds.alert_score}
    calibration = scorer.artifact.manifest.calibration

    def margin(head: str, probability: float) -> float:
        limit = limits[head]
        if limit is None:
            return -math.inf
        logit = calibration[head].logit
        return logit(min(max(probability, 1e-12), 1 - 1e-7)) - logit(min(max(limit, 1e-12), 1 - 1e-7))

    return (
        heads.index("generated")
        if margin("generated", generated) >= margin("malicious", score)
        else heads.index("malicious")
    )
