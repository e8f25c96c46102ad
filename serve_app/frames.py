"""A frame of names before the model: normalised, matched with the lists, sorted into decided and to be asked.

The common frame (all names plain, eligible and unlisted) is recognised by a few operations over the whole of its
octets, so that no Python runs for each name; any other frame is taken name by name.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from verdicts.names import SPECIAL_USE, SPECIAL_USE_ZONES, BadName, ineligible, normalise
from verdicts.policy import ListHit

MALFORMED = "malformed"  # the rule of a name that is no name

_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-_.\n"
_TELLING = tuple(f"{end}\n".encode() for end in (".arpa", *(f".{top}" for top in SPECIAL_USE), *SPECIAL_USE_ZONES))
_DOT, _END = 0x2E, 0x0A


class Frame(NamedTuple):
    """A frame's names, normalised (as they came where malformed), and what is known of them without the model."""

    names: list[str]
    malformed: frozenset[int]
    plain: bool  # every name is letters, digits, `-`, `_` and dots


class Sorted(NamedTuple):
    """`asked` None: all names, in order. `payload`: the names for the model, `"\\n"`-joined."""

    hits: Mapping[int, ListHit]
    ineligible: Mapping[int, str]
    asked: list[int] | None
    payload: bytes


def frame_of(names: list[str]) -> Frame:
    """Normalise a frame; a name that is no name stays as it came."""
    raw = "\n".join(names).encode("utf-8", "surrogatepass")
    if _all_plain(raw, len(names)):
        return Frame(names, frozenset(), True)
    normal: list[str] = []
    malformed: set[int] = set()
    for index, name in enumerate(names):
        try:
            normal.append(normalise(name))
        except BadName:
            normal.append(name)
            malformed.add(index)
    return Frame(normal, frozenset(malformed), False)


def sort_frame(frame: Frame, hits: Mapping[int, ListHit]) -> Sorted:
    """Part the names that lists or rules decide from those the model is asked for."""
    raw = "\n".join(frame.names).encode("utf-8", "surrogatepass")
    if frame.plain and not hits and not _needs_care(raw, frame.names):
        return Sorted({}, {}, None, raw)
    refused: dict[int, str] = {index: MALFORMED for index in frame.malformed}
    asked: list[int] = []
    payload: list[str] = []
    for index, name in enumerate(frame.names):
        if index in refused or index in hits:
            continue
        reason = ineligible(name)
        if reason is not None:
            refused[index] = reason
            continue
        asked.append(index)
        payload.append(name)
    return Sorted(hits, refused, asked, "\n".join(payload).encode())


def _all_plain(raw: bytes, count: int) -> bool:
    """True when `raw` is `count` names that `normalise` would return unchanged, joined by line ends."""
    if raw.translate(None, _PLAIN):
        return False
    octets = np.frombuffer(raw, np.uint8)
    cuts = np.flatnonzero((octets == _DOT) | (octets == _END))
    ends = cuts[octets[cuts] == _END]
    if len(ends) != count - 1:
        return False
    labels = np.diff(cuts, prepend=-1, append=len(octets))
    lengths = np.diff(ends, prepend=-1, append=len(octets))
    return bool(labels.min() > 1 and labels.max() <= 64 and lengths.max() <= 254)


def _needs_care(raw: bytes, names: list[str]) -> bool:
    """True when a name may be ineligible, or begins with a service label."""
    padded = b"\n" + raw + b"\n"
    return b"\n_" in padded or any(end in padded for end in _TELLING) or not all("." in name for name in names)
