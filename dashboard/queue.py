"""Which names are worth a person's minute today, in which order; one pure function."""

from collections.abc import Collection, Iterable
from typing import Any

from verdicts import names
from verdicts.store import Top

DAILY = 50  # names a day, unless the person sets another number
CANDIDATES = 500


def queue(tops: Iterable[Top], decided: Collection[str], listed: Collection[str] = frozenset()) -> list[dict[str, Any]]:
    """The names to vet, the most important first: clients times score.

    `decided`: names with a label or a decision; `listed`: those with a list entry, in a set that may hold a million.
    What lies under one of either is left out.
    """
    settled = frozenset(decided)
    rows: list[dict[str, Any]] = []
    for top in tops:
        if any(suffix in settled or suffix in listed for suffix in [top.key, *names.suffixes(top.key)]):
            continue
        score = max(top.score, top.generated)
        rows.append(
            {
                "key": top.key,
                "count": top.count,
                "clients": top.clients,
                "score": top.score,
                "generated": top.generated,
                "tier": top.tier,
                "last": top.last,
                "matters": round(max(1, top.clients) * score, 2),
                "uncertain": 0.2 < top.score < 0.8,
            }
        )
    rows.sort(key=lambda row: (-row["matters"], -row["count"], row["key"]))
    return rows
