"""Names as rows of bytes: the one encoding for training and for serving.

Two encodings, known by name (contract 5). `codepoints-256` is that of 2020: each character's code point, padded
with zeros to 256. `segments-96` says for each of the last 96 characters what it is and where it stands: a token is
the character's class (1 to 40) plus 64 times its segment (0 subdomain, 1 registered label, 2 public suffix), 0 pads.

Leading `_service` labels are taken off first (contract 2): they say what is spoken, not who is asked for.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from verdicts import names
from verdicts.suffix import suffix_length

Rows = NDArray[np.uint8]  # (N, W)

NEWLINE, UNDERSCORE = 10, 95
SEGMENT = 64  # tokens a segment
CLASSES = 41  # character classes: 0 pad, 26 letters, 10 digits, `-`, `_`, `.`, other


class UnknownEncoding(ValueError):
    """An encoding this version does not have."""


class Encoding(NamedTuple):
    """How names become rows of `width` bytes; `widths` are where rows may be cut when all beyond is zero."""

    name: str
    width: int
    widths: tuple[int, ...]
    # Newline-joined normalised names -> rows (N, w), as wide as the longest but at least so wide, and at most `width`.
    encode: Callable[[bytes, int], Rows]

    def encode_frame(self, frame: bytes) -> Rows:
        """Encode newline-joined normalised names, (N, W)."""
        return self.encode(frame, self.width)

    def encode_narrow(self, frame: bytes) -> Rows:
        """The same without the columns that are zero in every row, (N, w): a quarter of the octets to send."""
        return self.encode(frame, 1)

    def __call__(self, batch: Sequence[str]) -> Rows:
        """Encode normalised names, (N, W)."""
        return self.encode_frame("\n".join(batch).encode("ascii")) if batch else np.zeros((0, self.width), np.uint8)


def encoder(name: str) -> Encoding:
    """The encoding of this name; raises `UnknownEncoding`."""
    if name == "codepoints-256":
        return Encoding(name, 256, (256,), _codepoints)
    if name == "segments-96":
        return Encoding(name, 96, (16, 32, 48, 96), _segments)
    raise UnknownEncoding(f"encoding {names.shown(name)}: expected codepoints-256 or segments-96")


def encode_frame(frame: bytes, encoding: str) -> Rows:
    """Encode newline-joined normalised names, (N, W); an empty frame is one empty name."""
    return encoder(encoding).encode_frame(frame)


def joined(frames: Sequence[Rows]) -> Rows:
    """The rows of all frames, as wide as the widest."""
    width = max(frame.shape[1] for frame in frames)
    if all(frame.shape[1] == width for frame in frames):
        return frames[0] if len(frames) == 1 else np.concatenate(frames)
    rows, start = np.zeros((sum(map(len, frames)), width), np.uint8), 0
    for frame in frames:
        rows[start : start + len(frame), : frame.shape[1]] = frame
        start += len(frame)
    return rows


class Frame(NamedTuple):
    """Where the names of a frame lie: name i is `octets[starts[i]:ends[i]]`."""

    octets: NDArray[np.uint8]
    starts: NDArray[np.int64]  # (N,)
    ends: NDArray[np.int64]  # (N,)


def locate(frame: bytes) -> Frame:
    """Find the names of a newline-joined frame, each without its leading service labels."""
    octets = np.frombuffer(frame, np.uint8)
    breaks = np.flatnonzero(octets == NEWLINE)
    starts = np.concatenate(([0], breaks + 1))
    ends = np.concatenate((breaks, [len(octets)]))
    heads = octets[np.minimum(starts, max(len(octets) - 1, 0))] if len(octets) else np.zeros(len(starts), np.uint8)
    for row in np.flatnonzero((heads == UNDERSCORE) & (starts < ends)):  # rare in traffic
        kept = names.strip_service(frame[starts[row] : ends[row]].decode("ascii"))
        starts[row] = ends[row] - len(kept)
    return Frame(octets, starts, ends)


def _scatter(lengths: NDArray[np.int64], starts: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], ...]:
    """Flat positions in a (N, width) array and in the octets, of every character of the `lengths` from `starts` on."""
    if len(lengths) == 1:  # an idle question, for which each step of numpy counts
        running = np.arange(lengths[0])
        return running, running + starts[0]
    total = int(lengths.sum())
    before = np.cumsum(lengths) - lengths  # characters in the rows above
    running = np.arange(total)
    target = running + np.repeat(np.arange(len(lengths)) * width - before, lengths)
    source = running + np.repeat(starts - before, lengths)
    return target, source


def _codepoints(frame: bytes, least: int) -> Rows:
    located = locate(frame)
    lengths = np.minimum(located.ends - located.starts, 256)
    rows = np.zeros((len(lengths), max(least, int(lengths.max()))), np.uint8)
    target, source = _scatter(lengths, located.starts, rows.shape[1])
    rows.ravel()[target] = located.octets[source]
    return rows


def _segments(frame: bytes, least: int) -> Rows:
    located = locate(frame)
    label, suffix = _boundaries(frame, located)
    lengths = np.minimum(located.ends - located.starts, 96)
    starts = located.ends - lengths  # of a long name the end matters
    rows = np.zeros((len(starts), max(least, int(lengths.max()))), np.uint8)
    target, source = _scatter(lengths, starts, rows.shape[1])
    segment = (source >= np.repeat(label, lengths)).astype(np.uint8) + (source >= np.repeat(suffix, lengths))
    rows.ravel()[target] = classes()[located.octets[source]] + SEGMENT * segment
    return rows


def _boundaries(frame: bytes, located: Frame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where in the frame each name's registered label and its public suffix begin; (N,), (N,)."""
    text = frame.decode("ascii")
    label = np.empty(len(located.starts), np.int64)
    suffix = np.empty(len(located.starts), np.int64)
    for row, (start, end) in enumerate(zip(located.starts.tolist(), located.ends.tolist(), strict=True)):
        name = text[start:end]
        cut = end - suffix_length(name)
        if cut > start:
            head = text[start : cut - 1]
            label[row] = start + _label_start(head)
        else:
            label[row] = start
        suffix[row] = cut
    return label, suffix


def _label_start(head: str) -> int:
    if "\\" not in head:
        return head.rfind(".") + 1
    labels = names.labels_of(head)
    return len(head) - len(labels[-1]) if labels else 0


@lru_cache(maxsize=1)
def classes() -> NDArray[np.uint8]:
    """The class of each octet, (256,)."""
    table = np.full(256, CLASSES - 1, np.uint8)
    table[np.arange(ord("a"), ord("z") + 1)] = np.arange(1, 27)
    table[np.arange(ord("A"), ord("Z") + 1)] = np.arange(1, 27)
    table[np.arange(ord("0"), ord("9") + 1)] = np.arange(27, 37)
    table[[ord("-"), ord("_"), ord(".")]] = [37, 38, 39]
    return table
