"""Names that look made by the same machine, so that a person judges them once; pure.

Two rules, both to be read off the names: below the same registered domain they differ in their digits alone (`mail1`,
`mail27`); or they are machine-made, below the same domain or public suffix, of the same letters (digits or not,
hyphens or not) and of about the same length.
"""

import re
from collections.abc import Iterable
from typing import Any

from verdicts import names

Row = dict[str, Any]
MACHINE_MADE = 0.5  # probability from which the second rule speaks
LENGTHS = 4  # characters of length that count as about the same
_DIGITS = re.compile(r"[0-9]+")


def pattern(name: str, generated: float) -> str:
    """What a name shares with those alike: equal patterns, one group."""
    split = names.split(name)
    if generated < MACHINE_MADE:  # 163.com and 126.com are not alike: their registered domains differ
        return f"{_DIGITS.sub('#', split.subdomain)}.{split.registered}"
    # The machine's part: the subdomain where there is one, else the registered label, below its public suffix.
    below = split.registered if split.subdomain else split.suffix
    made = split.subdomain or split.registered.removesuffix(f".{split.suffix}")
    digits = "digits" if any(c.isdigit() for c in made) else "letters"
    return f"{below}/{digits}/{'-' in made}/{made.count('.')}/{len(made) // LENGTHS}"


def grouped(rows: Iterable[Row], limit: int) -> list[Row]:
    """The `limit` groups that matter most, by the sum of what their names matter; each with its `members`."""
    groups: dict[str, Row] = {}
    for row in rows:
        key = pattern(row["key"], row["generated"])
        if key in groups:
            groups[key]["members"].append(row)
        else:
            groups[key] = {**row, "members": [row]}
    return sorted(groups.values(), key=lambda group: -sum(row["matters"] for row in group["members"]))[:limit]


def laid_out(groups: Iterable[Row], opened: set[str]) -> list[Row]:
    """Rows for a table: a group as its first name with the number of the others; an opened one name by name."""
    rows: list[Row] = []
    for group in groups:
        first, *others = group["members"]
        shut = bool(others) and first["key"] not in opened
        row = {**first, "alike": len(others), "names": [first["key"]]}
        if shut:
            members = group["members"]
            row |= {"names": [m["key"] for m in members], "count": sum(m["count"] for m in members)}
            # Of the clients no more is known: the same ones may have asked for several.
            row |= {of: max(m[of] for m in members) for of in ("clients", "last")}
        rows.append(row)
        if not shut:
            rows += [{**other, "style": "member", "alike": 0, "names": [other["key"]]} for other in others]
    return rows
