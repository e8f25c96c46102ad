"""The vetted lists as an index in memory: longest matching suffix, in microseconds with a million entries.

A `Lists` never changes: `apply` returns a new one, so that a reader on another thread sees one state or the next.
A list entry is a document of kind `list` with key `LIST/SUFFIX`; the prevalence list is documents of kind
`prevalence`, each a run of ranks, so that a million names are a hundred changes.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from verdicts import names
from verdicts.policy import LIST_NAMES, ListHit, ListName
from verdicts.store import Document, StateStore
from verdicts.suffix import suffix_length

LIST_KIND = "list"
PREVALENCE_KIND = "prevalence"
RUN_NAMES = 10_000  # names in one prevalence document
ABSENT_LOOKED_AT = 1000  # removals of one change: a person's, not a list's

# A name may hold any octet, but who means others than a host's writes them as escapes; unescaped they are a URL or the
# like.
_WRITTEN = re.compile(r"(?:[A-Za-z0-9._-]|\\(?:[0-9]{3}|[^0-9]))*").fullmatch
_BITS: dict[str, int] = {name: 1 << order for order, name in enumerate(LIST_NAMES)}
# By the bits set, the list that wins: the first in LIST_NAMES.
_WINNER: tuple[ListName, ...] = ("benign", *(next(n for n in LIST_NAMES if bits & _BITS[n]) for bits in range(1, 8)))


class BadEntry(ValueError):
    """A list entry that cannot be; the message names it and says what was expected."""


class Lists:
    """An index of suffixes and of prevalence ranks."""

    __slots__ = ("_entries", "_ranks", "_runs")

    def __init__(self, entries: dict[str, int] | None = None, runs: dict[str, dict[str, Any]] | None = None) -> None:
        self._entries = entries if entries is not None else {}  # suffix -> bits of the lists that hold it
        self._runs = runs if runs is not None else {}  # document key -> its body
        self._ranks = _ranks_of(self._runs)

    def __len__(self) -> int:
        return len(self._entries)

    def match(self, name: str) -> ListHit | None:
        """The entry with the longest suffix of a normalised name; a tie goes benign, honeypot, blocklist."""
        entries = self._entries
        if "\\" in name:  # an escaped dot ends no label
            for suffix in names.suffixes(name):
                if suffix in entries:
                    return ListHit(_WINNER[entries[suffix]], suffix)
            return None
        while name not in entries:
            dot = name.find(".") + 1
            if not dot:
                return None
            name = name[dot:]
        return ListHit(_WINNER[entries[name]], name)

    def match_frame(self, frame: Sequence[str]) -> list[ListHit | None]:
        """`match` for each name of a frame, in its order."""
        if not self._entries:
            return [None] * len(frame)
        match = self.match
        return [match(name) for name in frame]

    def rank(self, registered: str) -> int | None:
        """The prevalence rank of a registered domain (1: the most popular), None when it is not ranked."""
        return self._ranks.get(registered)

    def holds(self, list_name: str, suffix: str) -> bool:
        """True when this very entry is there."""
        return bool(self._entries.get(suffix, 0) & _BITS[list_name])

    def apply(self, documents: Iterable[Document]) -> "Lists":
        """The lists after these changes; a body of None removes. Other kinds are passed over."""
        entries, runs = self._entries.copy(), self._runs
        for document in documents:
            if document.kind == PREVALENCE_KIND:
                runs = {key: body for key, body in runs.items() if key != document.key}
                if document.body is not None:
                    runs[document.key] = document.body
            elif document.kind == LIST_KIND:
                list_name, _, suffix = document.key.partition("/")
                bit = _BITS.get(list_name, 0)  # a list of a newer release: it decides nothing here, and stops nothing
                bits = entries.get(suffix, 0) & ~bit
                if document.body is not None:
                    bits |= bit
                if bits:
                    entries[suffix] = bits
                else:
                    entries.pop(suffix, None)
        if runs is self._runs:
            return self._with(entries)
        return Lists(entries, runs)

    def _with(self, entries: dict[str, int]) -> "Lists":
        """These entries and the same ranks, which are not built again."""
        other = Lists.__new__(Lists)
        other._entries, other._runs, other._ranks = entries, self._runs, self._ranks
        return other

    @classmethod
    def of_keys(cls, keys: Iterable[str], runs: dict[str, dict[str, Any]]) -> "Lists":
        """The lists whose entries have these document keys."""
        entries: dict[str, int] = {}
        get, bits = entries.get, _BITS.get
        for key in keys:
            list_name, _, suffix = key.partition("/")
            if bit := bits(list_name):
                entries[suffix] = get(suffix, 0) | bit
        return cls(entries, runs)

    def dump(self) -> dict[str, Any]:
        """Everything, as a snapshot keeps it: the suffixes of each list in one text, and the prevalence runs."""
        entries, found = self._entries, set(self._entries.values())
        texts: dict[str, str] = {}
        for name, bit in _BITS.items():
            holding = {bits for bits in found if bits & bit}
            suffixes: Iterable[str] = () if not holding else entries
            if holding and holding != found:
                suffixes = [suffix for suffix, bits in entries.items() if bits & bit]
            texts[name] = "\n".join(suffixes)
        return {"entries": texts, "prevalence": self._runs}

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> "Lists":
        """The lists that `dump` gave."""
        entries: dict[str, int] = {}
        for name, text in dumped["entries"].items():
            bit = _BITS.get(name, 0)
            if not text or not bit:  # a list of a newer release decides nothing here
                continue
            if not entries:
                entries = dict.fromkeys(text.split("\n"), bit)
                continue
            for suffix in text.split("\n"):
                entries[suffix] = entries.get(suffix, 0) | bit
        return cls(entries, dict(dumped["prevalence"]))


def split_key(key: str) -> tuple[ListName, str]:
    """List and suffix of a document key `LIST/SUFFIX`."""
    list_name, slash, suffix = key.partition("/")
    if list_name not in _BITS or not slash or not suffix:
        raise BadEntry(f"list entry {key!r}: expected LIST/SUFFIX with LIST one of {', '.join(LIST_NAMES)}")
    return list_name, suffix  # type: ignore[return-value]


def entry(
    list_name: str, suffix: str, note: str = "", expires: int | None = None, created: int = 0, author: str = ""
) -> Document:
    """The document of one entry; `expires` and `created` are Unix milliseconds.

    Raises `BadEntry` for an unknown list and what `checked_suffix` refuses.
    """
    if list_name not in _BITS:
        raise BadEntry(f"list {list_name!r}: expected one of {', '.join(LIST_NAMES)}")
    normalised = checked_suffix(suffix)
    body = {
        "list": list_name, "suffix": normalised, "note": note, "created": created, "expires": expires, "author": author,
    }  # fmt: skip
    return Document(LIST_KIND, f"{list_name}/{normalised}", body)


def checked_suffix(name: str) -> str:
    """The normalised form of a name that may stand on a list; one in another script as resolvers are asked for it.

    Raises `BadEntry` for what is no name, an address, the root, and a public suffix, which would catch everybody
    registered below it.
    """
    try:
        normalised = names.normalise(names.asked(name))
    except names.BadName as error:
        raise BadEntry(str(error)) from error
    if "\\" in normalised and not _WRITTEN(name):
        raise BadEntry(f"name {names.shown(name)}: expected a domain name, of letters, digits, `-` and `_`")
    if normalised == "." or suffix_length(normalised) == len(normalised):
        raise BadEntry(f"name {names.shown(name)}: a public suffix, expected a name below one")
    if normalised[-1].isdigit() and normalised.replace(".", "").isdigit():
        raise BadEntry(f"name {names.shown(name)}: an address, expected a name")
    return normalised


def removal(list_name: str, suffix: str) -> Document:
    """The document that removes one entry, whatever its name looks like."""
    try:
        suffix = names.normalise(names.asked(suffix))
    except names.BadName:
        pass  # an entry that should not be there must be removable
    split_key(f"{list_name}/{suffix}")
    return Document(LIST_KIND, f"{list_name}/{suffix}", None)


def absent_of(store: StateStore, removals: Sequence[Document]) -> list[str]:
    """The suffixes among these removals that are on no such list; none is looked for among more than
    `ABSENT_LOOKED_AT`, which is an import taken back: to look would take longer than to remove."""
    if len(removals) > ABSENT_LOOKED_AT:
        return []
    return [split_key(each.key)[1] for each in removals if store.get(LIST_KIND, each.key) is None]


def prevalence(ranked: Sequence[str], runs: int = 0) -> Iterator[Document]:
    """The documents of a top list: registered domains, most popular first, behind `runs` others."""
    for number, start in enumerate(range(0, len(ranked), RUN_NAMES), runs):
        body = {"first": number * RUN_NAMES + 1, "names": "\n".join(ranked[start : start + RUN_NAMES])}
        yield Document(PREVALENCE_KIND, f"{number:05d}", body)


def ranking(store: StateStore, rows: Iterable[Any], first: int = 1, more: bool = False) -> list[Document]:
    """The documents that replace the prevalence list by these rows, which have a `rank` and a `name`.

    A list may come in parts, in order: the names of one take the ranks from `first` on (RUN_NAMES * n + 1), and with
    `more` what stands behind them stays, for the next part to replace. Raises `BadEntry` for another `first`.
    """
    runs, off = divmod(first - 1, RUN_NAMES)
    if off or first < 1:
        raise BadEntry(f"first {first}: expected {RUN_NAMES} * n + 1")
    found = list(prevalence([row.name for row in sorted(rows, key=lambda row: row.rank)], runs))
    last = found[-1].key if found else ""
    if more:
        return found
    return found + [Document(PREVALENCE_KIND, key, None) for key in store.keys(PREVALENCE_KIND) if key > last]


def ranked(runs: dict[str, dict[str, Any]]) -> list[str]:
    """The names of the prevalence documents with these bodies by key, most popular first.

    In steps of a document: one over a million names would hold up every other thread.
    """
    found: dict[str, None] = {}
    for key in sorted(runs):  # a name in two runs keeps its better rank
        found.update(dict.fromkeys(runs[key]["names"].split("\n")))
    return list(found)


def _ranks_of(runs: dict[str, dict[str, Any]]) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for key in sorted(runs, reverse=True):  # a name in two runs keeps its better rank
        body = runs[key]
        ranks.update((name, body["first"] + i) for i, name in enumerate(body["names"].split("\n")))
    return ranks
