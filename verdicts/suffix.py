"""The public suffix of a name, fast: most names need two look-ups in a set.

`names.split` asks the library, which tries every parent of a name. The suffix of most names is settled by their
last two labels; only where a rule goes on with the label before them is the library asked. Same rules, same answers; a
test holds them to each other.
"""

from functools import lru_cache
from typing import NamedTuple

from verdicts import names


class _Rules(NamedTuple):
    pairs: frozenset[str]  # public suffixes of two labels
    wild: frozenset[str]  # top-level domains with a rule `*.tld`
    deep: dict[str, frozenset[str]]  # last two labels -> the labels before them with which rules go on


def suffix_length(name: str) -> int:
    """Characters of the public suffix of a normalised name (private suffixes count)."""
    if "\\" in name:
        return len(names.split(name).suffix)
    last = name.rfind(".")
    if last < 0:
        return len(name)
    rules = _rules()
    start = name.rfind(".", 0, last) + 1
    pair, top = name[start:], name[last + 1 :]
    if top in rules.wild:
        return len(names.split(name).suffix)
    if (further := rules.deep.get(pair)) is not None:
        third = name[name.rfind(".", 0, start - 1) + 1 : start - 1] if start else ""
        if third in further or "*" in further:
            return len(names.split(name).suffix)
    return len(pair) if pair in rules.pairs else len(top)


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    every = names._public_suffixes()._publicsuffix
    pairs = frozenset(rule for rule in every if rule.count(".") == 1)
    deep: dict[str, set[str]] = {}
    for rule in every:
        labels = rule.lstrip("!").split(".")
        if len(labels) > 2:
            deep.setdefault(".".join(labels[-2:]), set()).add(labels[-3])
        elif rule[0] == "!":
            deep.setdefault(rule[1:], set()).add("*")
    wild = frozenset(pair[2:] for pair in pairs if pair.startswith("*."))
    return _Rules(pairs, wild, {pair: frozenset(labels) for pair, labels in deep.items()})
