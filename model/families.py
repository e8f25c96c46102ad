"""Families of generated names: aliases, shapes, and the five folds that decide which are held out.

The folds are fixed in `splits/families.json` before any training, so that no result chose them.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from verdicts.names import split

SPLITS = Path(__file__).parent / "splits"
FOLDS = 5
ALIAS_SHARE = 0.05  # of the smaller family's names
APART = frozenset(["charbot"])  # an academic generator of adversarial names: judged, never taught
WORD_LISTS = frozenset(["matsnu", "rovnix", "gozi", "nymaim2", "volatilecedar", "suppobox", "pizd", "bigviktor",
                        "ngioweb", "banjori", "downloader", "unnamed_downloader", "beebone"])  # fmt: skip


class Family(msgspec.Struct, frozen=True):
    """A family, with its aliases under one name. `fold` -1: judged apart, in no fold."""

    name: str
    fold: int
    shape: str
    names: int
    aliases: list[str] = []


def plan(members: Mapping[str, set[str]]) -> list[Family]:
    """Merge aliases and deal the families of each shape, largest first, to the folds."""
    merged = merge(members)
    dealt: dict[str, int] = {}
    families = []
    for name, aliases in sorted(merged.items(), key=lambda item: (-_size(members, item[1]), item[0])):
        rows = set().union(*(members[alias] for alias in aliases))
        shape = shape_of(name, rows)
        turn = dealt.get(shape, OFFSET.get(shape, 0))
        fold = -1 if name in APART else turn % FOLDS
        dealt[shape] = turn + (name not in APART)
        families.append(Family(name, fold, shape, len(rows), sorted(set(aliases) - {name})))
    return families


# Where the dealing of each shape begins, so that the largest families do not all fall into one fold.
OFFSET = {"letters": 1, "spoken": 2, "words": 4, "mixed": 3, "hex": 2}


def merge(members: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """Families of which two share more than 5 % of the smaller one's names are one, under the largest one's name."""
    parent = {name: name for name in members}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    ordered = sorted(members, key=lambda name: (-len(members[name]), name))
    place = {name: number for number, name in enumerate(ordered)}
    for i, larger in enumerate(ordered):
        for smaller in ordered[i + 1 :]:
            shared = len(members[larger] & members[smaller])
            if shared > ALIAS_SHARE * len(members[smaller]):
                first, second = sorted((root(larger), root(smaller)), key=place.__getitem__)
                parent[second] = first
    groups: dict[str, list[str]] = {}
    for name in ordered:
        groups.setdefault(root(name), []).append(name)
    return groups


def shape_of(name: str, rows: set[str]) -> str:
    """What a family's labels look like: words, hex, mixed (letters and digits), spoken (many vowels), letters."""
    if name in WORD_LISTS:
        return "words"
    text = "".join(split(row).registered.partition(".")[0] for row in sorted(rows)[:2000])
    digits = sum(map(str.isdigit, text)) / len(text)
    vowels = sum(text.count(vowel) for vowel in "aeiou") / len(text)
    if digits > 0.45:
        return "hex"
    if digits > 0.05:
        return "mixed"
    return "spoken" if vowels > 0.28 else "letters"


def write_plan(families: list[Family], file: Path) -> None:
    """Fix the folds."""
    rows = [json.dumps(msgspec.to_builtins(family)) for family in families]
    file.write_text("[\n " + ",\n ".join(rows) + "\n]\n")


def read_plan(file: Path = SPLITS / "families.json") -> dict[str, Family]:
    """The fixed folds, by family and by each alias."""
    families = msgspec.json.decode(file.read_bytes(), type=list[Family])
    return {name: family for family in families for name in (family.name, *family.aliases)}


def _size(members: Mapping[str, set[str]], aliases: list[str]) -> int:
    return sum(len(members[alias]) for alias in aliases)
