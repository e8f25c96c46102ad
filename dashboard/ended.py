"""The log-ins that ended by a log-out: a copy of their cookie opens nothing more, in any process of this dashboard."""

import hashlib
import os
import tempfile

_OCTETS = 16  # of a cookie's digest


class Ended:
    """A file without a name, which the processes that are forked after its making have in common.

    It ends with them, as every log-in does: the next start has another secret that signs cookies.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("ab", buffering=0)
        self._known: set[bytes] = set()
        self._read = 0

    def add(self, cookie: str) -> None:
        """End the log-in of a signed cookie, as it stands in the request."""
        if cookie not in self:
            self._file.write(_digest(cookie))  # appended in one piece, whoever else appends

    def __contains__(self, cookie: str) -> bool:
        while new := os.pread(self._file.fileno(), _OCTETS, self._read):
            self._known.add(new)
            self._read += _OCTETS
        return _digest(cookie) in self._known


def _digest(cookie: str) -> bytes:
    return hashlib.blake2b(cookie.encode(), digest_size=_OCTETS).digest()
