"""The files of a spool: entries of 4 octets length, 4 octets CRC-32 of the payload, and the payload."""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from verdicts.files import sync_directory

MAX_ENTRY_BYTES = 64 << 20
_HEADER = struct.Struct("<II")
HEADER_BYTES = _HEADER.size


def entry(payload: bytes) -> bytes:
    """A payload as it stands in the file. Raises ValueError."""
    if len(payload) > MAX_ENTRY_BYTES:
        raise ValueError(f"entry of {len(payload)} octets, expected at most {MAX_ENTRY_BYTES}")
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def entries(path: Path, offset: int, end: int | None) -> Iterator[tuple[bytes, int]]:
    """(payload, offset behind it) of each whole entry; the first that is torn, or never reached the disk (a file that
    was made longer is zeros there), ends the segment, a damaged one is passed over."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while end is None or offset < end:
            header = file.read(HEADER_BYTES)
            if len(header) < HEADER_BYTES:
                return
            length, checksum = _HEADER.unpack(header)
            if not 0 < length <= MAX_ENTRY_BYTES:
                return
            payload = file.read(length)
            if len(payload) < length:
                return
            offset += HEADER_BYTES + length
            if zlib.crc32(payload) == checksum:
                yield payload, offset


def begun(path: Path) -> int:
    """A new segment's file, its name on disk: only then does a sync of the file keep what is written to it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        sync_directory(path.parent)
    except OSError:
        os.close(file)
        with suppress(OSError):  # so that the next one writes the name anew, and no sync passes for want of a change
            path.unlink()
        raise
    return file
