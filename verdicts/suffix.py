"""The public suffix of a name, fast: most names need two look-ups in a set.

`names.split` asks the library, which tries every parent of a name. The suffix of most names is settled by their
last two labels; only where a rule goes deeper is the library asked. Same rules, same answers; a test holds them
to each other.
"""

from functools import lru_cache
from typing import NamedTuple

from verdicts import names


class _Rules(NamedTuple):
    pairs: frozenset[str]  # public suffixes of two labels
    wild: frozenset[str]  # top-level domains with a rule `*.tld`
    deep: frozenset[str]  # last two labels under which a rule has three labels or more, or an exception


def suffix_length(name: str) -> int:
    """Characters of the public suffix of a normalised name (private suffixes count)."""
    if "\\" in name:
        return len(names.split(name).suffix)
    last = name.rfind(".")
    if last < 0:
        return len(name)
    rules = _rules()
    pair, top = name[name.rfind(".", 0, last) + 1 :], name[last + 1 :]
    if pair in rules.deep or top in rules.wild:
        return len(names.split(name).suffix)
    return len(pair) if pair in rules.pairs else len(top)


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    every = names._public_suffixes()._publicsuffix
    pairs = frozenset(rule for rule in every if rule.count(".") == 1)
    deep = frozenset(
        ".".join(rule.lstrip("!").split(".")[-2:]) for rule in every if rule.count(".") > 1 or rule[0] == "!"
    )
    return _Rules(pairs, frozenset(pair[2:] for pair in pairs if pair.startswith("*.")), deep)
