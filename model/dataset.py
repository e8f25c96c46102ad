"""All lists as one corpus: each name once, labelled, encoded, and in exactly one part.

Rules, in order:
1. A name on a benign and on a malicious or DGA list is contested and left out of everything.
2. A name on a DGA list and on a feed is DGA. Of equal kinds, a list that teaches is preferred to one that judges.
3. Parts go by registered domain, with a fixed salt: 75 % teach, 8 % tune (calibration, thresholds), 17 % judge.
   A name of a judging list never teaches: in the teaching share it judges (a tenth of all tunes). No name judges or
   tunes whose registered domain teaches, for a family below a free host as for any other: it is left out.
4. Umbrella names first seen since 2026-01 judge, and their registered domains neither teach nor tune.
5. A family held out judges; its names leave every other list, by name and by the feeds' own family column. One that
   lists give to several families teaches and tunes only if none of them is held out.
"""

import hashlib
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from publicsuffixlist import PublicSuffixList

from model.encoding import Rows, encoder
from model.families import Family
from model.formats import BadRow, read
from model.sources import KINDS, Source
from verdicts.names import ineligible, split, strip_service

ENCODING = "segments-96"
SALT = b"verdict-1:"
TEACH, TUNE, JUDGE, LEFT_OUT = 0, 1, 2, 3
TEACH_PERCENT, TUNE_PERCENT = 75, 8
IDLE_TUNE_PERCENT = 10  # of the names of judging lists that lie in the teaching share
SINCE = "2026-01"  # Umbrella names first seen from here on judge
RARE_SNAPSHOTS = 2  # Umbrella names seen in this many versions or fewer
STRATA = ("umbrella-new", "umbrella-rare", "rdns", "university-bank", "china", "pooled")
BENIGN, DGA, FEED = range(3)
ENOUGH = 50  # benign and DGA names of a part; fewer give no figure that means anything


class Corpus(NamedTuple):
    """N distinct names. Families and sources are indices into the lists at the end; -1: none."""

    names: list[str]
    x: Rows  # (N, 96)
    kind: NDArray[np.int8]  # BENIGN, DGA, FEED
    part: NDArray[np.int8]  # TEACH, TUNE, JUDGE, LEFT_OUT
    source: NDArray[np.int16]
    family: NDArray[np.int32]  # of DGA names, and of feeds that tell
    registered: NDArray[np.int64]  # a hash of the registered domain
    strata: NDArray[np.uint8]  # bit i: stratum i of STRATA
    private: NDArray[np.bool_]  # below a private public suffix, such as github.io
    sources: list[Source]
    families: list[str]

    def where(self, kind: int, part: int) -> NDArray[np.int64]:
        """Indices of the names of this kind in this part."""
        return np.flatnonzero((self.kind == kind) & (self.part == part))

    def digest(self, part: int) -> str:
        """SHA-256 of a part's names and kinds, sorted."""
        rows = sorted(f"{self.names[i]} {self.kind[i]}\n" for i in np.flatnonzero(self.part == part))
        return hashlib.sha256("".join(rows).encode()).hexdigest()

    def digest_of_source(self, source: int) -> str:
        """SHA-256 of the names used of a source, sorted, a line each."""
        used = np.flatnonzero((self.source == source) & (self.part != LEFT_OUT))
        return hashlib.sha256("".join(sorted(f"{self.names[i]}\n" for i in used)).encode()).hexdigest()


class TooFew(ValueError):
    """Lists without names, or without enough of them; the message says which."""


class Entry(NamedTuple):
    """What is known of a name while lists are read."""

    kind: int
    source: int
    family: str
    strata: int
    others: frozenset[str] = frozenset()  # families that other lists give it to


def collect(
    sources: list[Source], data: str | Path, progress: Callable[[dict[str, Any]], None] = lambda line: None
) -> dict[str, Entry | None]:
    """Every eligible name of the lists; None: contested. `progress` gets a line a list. Raises `BadRow`, `TooFew`."""
    found: dict[str, Entry | None] = {}
    for number, source in enumerate(sources):
        progress({"reading": source.path, "list": number + 1, "of": len(sources)})
        empty = True
        for row in read(located(data, source), source.form):
            empty = False
            name = strip_service(row.name)
            if ineligible(name):
                continue
            try:
                strata = _strata(source, row.columns)
            except (KeyError, ValueError) as error:
                raise BadRow(
                    f"{located(data, source)}:{row.line}: {error}, expected first_seen and snapshots, a number"
                ) from error
            entry = Entry(KINDS.index(source.kind), number, row.family, strata)
            found[name] = resolve(found[name], entry, sources) if name in found else entry
        if empty:  # a download that failed, most likely
            raise TooFew(f"{located(data, source)}: no names, expected some")
    return found


def require(corpus: Corpus, *parts: str) -> None:
    """Raise `TooFew` unless these parts (teach, tune, judge) have benign and DGA names enough."""
    shares = {"teach": TEACH_PERCENT, "tune": TUNE_PERCENT, "judge": 100 - TEACH_PERCENT - TUNE_PERCENT}
    split_as = ", ".join(f"{share} % {part}" for part, share in shares.items())
    needed = ENOUGH * 100 // min(shares[part] for part in parts)
    for part in parts:
        for kind, what in ((BENIGN, "benign"), (DGA, "DGA")):
            counts = {name: len(corpus.where(kind, number)) for number, name in enumerate(shares)}  # TEACH, TUNE, JUDGE
            if counts[part] < ENOUGH:
                others = ", ".join(f"{count} to {name}" for name, count in counts.items() if name != part)
                held = ", and families that are held out judge alone" if kind == DGA else ""
                raise TooFew(
                    f"lists: {counts[part]} {what} names to {part} ({others}), expected {ENOUGH} or more; of the "
                    f"registered domains {split_as}{held}, so it takes some {needed} names"
                )


def resolve(old: Entry | None, new: Entry, sources: list[Source]) -> Entry | None:
    """One entry of two for the same name (rules 1 and 2)."""
    if old is None or (BENIGN in (old.kind, new.kind) and old.kind != new.kind):
        return None
    if old.kind != new.kind:
        keep = old if old.kind == DGA else new
    else:
        keep = new if sources[old.source].use == "judge" and sources[new.source].use == "teach" else old
        keep = keep._replace(strata=old.strata | new.strata, family=keep.family or old.family or new.family)
    others = (old.others | new.others | {old.family, new.family}) - {keep.family, ""}
    return keep._replace(others=others or frozenset())  # one empty set for all


def _strata(source: Source, columns: dict[str, str]) -> int:
    bits = 1 << STRATA.index("pooled") if source.kind == "benign" else 0
    if source.stratum == "umbrella":
        if columns["first_seen"] >= SINCE:
            bits |= 1 << STRATA.index("umbrella-new")
        if int(columns["snapshots"]) <= RARE_SNAPSHOTS:
            bits |= 1 << STRATA.index("umbrella-rare")
    elif source.stratum:
        bits |= 1 << STRATA.index(source.stratum)
    return bits


def build(found: dict[str, Entry | None], sources: list[Source], families: dict[str, Family], held_out: int) -> Corpus:
    """The corpus with fold `held_out` held out (-1: none)."""
    names = [name for name, entry in found.items() if entry is not None]
    entries = [entry for entry in found.values() if entry is not None]
    parts = [split(name) for name in names]
    registered = np.array([domain_hash(part.registered) for part in parts], np.uint64)
    called = [_called(entry, sources, families) for entry in entries]
    vocabulary = sorted(set(called) - {""})
    index = {family: number for number, family in enumerate(vocabulary)}
    kind = np.array([entry.kind for entry in entries], np.int8)
    source = np.array([entry.source for entry in entries], np.int16)
    family = np.array([index.get(name, -1) for name in called], np.int32)
    strata = np.array([entry.strata for entry in entries], np.uint8)
    teaches = np.array([s.use == "teach" for s in sources])[source]
    part = assign(registered, teaches, (strata & 1).astype(bool))
    part[kind == DGA] = np.where(teaches, part, JUDGE)[kind == DGA]
    out = np.zeros(len(vocabulary) + 1, bool)
    held = {name for name, family in families.items() if family.fold in (held_out, -1)}
    for name, number in index.items():
        out[number] = name in held
    away = out[family]  # family -1 reads the last cell, which is False
    part[away & (kind == DGA)] = JUDGE
    part[away & (kind == FEED)] = LEFT_OUT
    judged = (kind == DGA) & (part == JUDGE)
    part[judged & np.isin(registered, registered[part == TEACH])] = LEFT_OUT
    part[np.array([not held.isdisjoint(entry.others) for entry in entries], bool) & (part != JUDGE)] = LEFT_OUT
    return Corpus(
        names, encoder(ENCODING)(names), kind, part, source, family, registered.astype(np.int64), strata,
        np.array(["." in p.suffix and _private(p.suffix) for p in parts]), sources, vocabulary,
    )  # fmt: skip


def assign(registered: NDArray[np.uint64], teaches: NDArray[np.bool_], judged: NDArray[np.bool_]) -> NDArray[np.int8]:
    """The part of each name by rules 3 and 4; `judged` names go to JUDGE with all of their registered domain."""
    bucket = registered % np.uint64(100)
    part = np.where(bucket < TEACH_PERCENT, TEACH, np.where(bucket < TEACH_PERCENT + TUNE_PERCENT, TUNE, JUDGE))
    part = part.astype(np.int8)
    part[np.isin(registered, registered[judged])] = JUDGE
    taught = np.unique(registered[(part == TEACH) & teaches])
    idle = (part == TEACH) & ~teaches
    spare = np.where(bucket[idle] < IDLE_TUNE_PERCENT, TUNE, JUDGE)
    part[idle] = np.where(np.isin(registered[idle], taught), LEFT_OUT, spare)
    return part


def domain_hash(registered: str) -> int:
    """A fixed 63-bit hash of a registered domain."""
    return int.from_bytes(hashlib.blake2b(SALT + registered.encode(), digest_size=8).digest(), "big") >> 1


def members(sources: list[Source], data: str | Path) -> dict[str, set[str]]:
    """The names of each DGA family, a name in every family that lists it."""
    families: dict[str, set[str]] = {}
    for source in sources:
        if source.kind == "dga":
            for row in read(located(data, source), source.form):
                families.setdefault(row.family, set()).add(row.name)
    families.pop("", None)
    return families


def located(data: str | Path, source: Source) -> str | Path:
    """Where a source lies below a data folder or URL."""
    return f"{str(data).rstrip('/')}/{source.path}" if "://" in str(data) else Path(data) / source.path


def _called(entry: Entry, sources: list[Source], families: dict[str, Family]) -> str:
    """The family of a name; generated names of a list that tells none are one family, called as the list."""
    if not entry.family and sources[entry.source].kind == "dga":
        return sources[entry.source].path
    return families[entry.family].name if entry.family in families else entry.family


@lru_cache(maxsize=1)
def _icann() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)


@cache
def _private(suffix: str) -> bool:
    return bool(_icann().publicsuffix(suffix) != suffix)
