"""A frame of names before the model: normalised, matched with the lists, sorted into decided and to be asked.

The common frame (all names plain, eligible and unlisted) is recognised by a few operations over the whole of its
octets, so that no Python runs for each name; any other frame is taken name by name.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from verdicts.names import SPECIAL_USE, SPECIAL_USE_ZONES, BadName, ineligible, normalise
from verdicts.policy import ListHit

FEW = 16  # fewer names than this are quicker taken one by one
MALFORMED = "malformed"  # the rule of a name that is no name

_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-_.\n"
_DOT, _END, _UNDERSCORE = 0x2E, 0x0A, 0x5F


def _words(ends: Iterable[str], width: int) -> NDArray[np.uint64]:
    """The last `width` octets of each text as one number."""
    return np.frombuffer(b"".join(end.encode()[-width:] for end in ends), f"<u{width}").astype(np.uint64)


# A name whose last octets are not among these needs no look at its labels.
_LAST_FOUR = _words((".arpa", *(f".{top}" for top in sorted(SPECIAL_USE))), 4)
_LAST_EIGHT = _words(SPECIAL_USE_ZONES, 8)
_32, _48, _TWO = np.uint64(32), np.uint64(48), np.uint64(0xFFFF)
# By two octets each, of the four the last and of the eight the first, it is quickly seen that nearly no name has them.
_OF_FOUR, _OF_EIGHT = np.zeros((2, 1 << 16), bool)
_OF_FOUR[_LAST_FOUR >> np.uint64(16)] = True
_OF_EIGHT[_LAST_EIGHT & _TWO] = True


class Frame(NamedTuple):
    """A frame's names, normalised (as they came where malformed), and what is known of them without the model.

    `raw`: the names, line by line. `suspects`: the names that may be ineligible; no other is.
    """

    names: list[str]
    raw: bytes
    malformed: frozenset[int]
    suspects: list[int]


class Sorted(NamedTuple):
    """`asked` None: all names, in order. `payload`: the names for the model, line by line."""

    hits: Mapping[int, ListHit]
    ineligible: Mapping[int, str]
    asked: list[int] | None
    payload: bytes


def frame_of(names: list[str]) -> Frame:
    """Normalise a frame; a name that is no name stays as it came."""
    raw = "\n".join(names).encode("utf-8", "surrogatepass")
    suspects = _suspects(raw, len(names)) if len(names) >= FEW else None
    if suspects is not None:
        return Frame(names, raw, frozenset(), suspects)
    normal: list[str] = []
    malformed: set[int] = set()
    for index, name in enumerate(names):
        try:
            normal.append(normalise(name))
        except BadName:
            normal.append(name)
            malformed.add(index)
    raw = "\n".join(normal).encode("utf-8", "surrogatepass")
    return Frame(normal, raw, frozenset(malformed), [i for i in range(len(normal)) if i not in malformed])


def sort_frame(frame: Frame, hits: Mapping[int, ListHit]) -> Sorted:
    """Part the names that lists or rules decide from those the model is asked for."""
    refused = dict.fromkeys(frame.malformed, MALFORMED)
    for index in frame.suspects:
        reason = ineligible(frame.names[index]) if index not in hits else None
        if reason is not None:
            refused[index] = reason
    if not refused and not hits:
        return Sorted({}, {}, None, frame.raw)
    if hits and frame.malformed:
        hits = {index: hit for index, hit in hits.items() if index not in frame.malformed}
    asked = [index for index in range(len(frame.names)) if index not in refused and index not in hits]
    return Sorted(hits, refused, asked, "\n".join([frame.names[index] for index in asked]).encode())


def _suspects(raw: bytes, count: int) -> list[int] | None:
    """The names that may be ineligible; None unless `raw` is `count` lines that `normalise` would leave as they are."""
    if raw.translate(None, _PLAIN):
        return None
    padded = b"\0" * 8 + raw + b"\n"
    octets = np.frombuffer(padded, np.uint8, offset=8)
    # Methods and slices: numpy's functions for the same take three times as long for so few numbers.
    cuts = ((octets == _DOT) | (octets == _END)).nonzero()[0]
    is_end = octets[cuts] == _END
    ends = cuts[is_end]
    if len(ends) != count:
        return None
    labels = cuts[1:] - cuts[:-1]  # with the octet that ends each; all but the first
    starts = ends + 1
    starts[1:] = starts[:-1]
    starts[0] = 0
    first = int(cuts[0]) + 1
    if min(first, labels.min()) <= 1 or max(first, labels.max()) > 64 or (ends - starts).max() > 253:
        return None
    single = is_end.copy()  # the first cut of a name is its end
    single[1:] &= is_end[:-1]
    found = single[is_end] | (octets[starts] == _UNDERSCORE) | _ends_like_special(padded, ends)
    return found.nonzero()[0].tolist()  # type: ignore[no-any-return]


def _ends_like_special(padded: bytes, ends: NDArray[np.intp]) -> NDArray[np.bool_]:
    """For each name whether its last octets are those of a special-use zone; `padded` begins 8 octets early."""
    windows: NDArray[np.uint64] = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))  # 8 octets from each on
    eight = windows[ends]
    found: NDArray[np.bool_] = _OF_FOUR[eight >> _48] | _OF_EIGHT[eight & _TWO]
    if found.any():
        some = eight[found][:, None]
        found[found] = ((some >> _32) == _LAST_FOUR).any(axis=1) | (some == _LAST_EIGHT).any(axis=1)
    return found
