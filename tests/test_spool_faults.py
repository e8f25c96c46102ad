"""The spool keeps what it acknowledged where the disk refuses: a sync, a write, its undoing, a new name."""

import os
import resource
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.test_spool import LIMIT, drained
from verdicts import segments
from verdicts import spool as spooling
from verdicts.spool import SpoolFull, new_spool


def test_a_sync_that_fails_acknowledges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = new_spool(tmp_path, LIMIT)
    spool.append(b"good")

    def broken(file: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(spooling.os, "fsync", broken)
        with pytest.raises(SpoolFull, match="disk refused"):
            spool.append(b"never promised")
    spool.append(b"after")
    found = drained(spool)
    assert found[0] == b"good" and found[-1] == b"after"


def test_a_disk_without_room_refuses_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: write(2) comes back short, then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    spool = new_spool(tmp_path, LIMIT)
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        with pytest.raises(SpoolFull, match="File too large"):
            while True:
                entry = b"%06d" % len(taken) * 100
                spool.append(entry)
                taken.append(entry)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    spool.append(b"room again")
    assert len(taken) > 10 and drained(spool) == [*taken, b"room again"]


def test_nothing_is_written_behind_a_torn_entry_while_another_thread_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses the rest of a write, and to cut off what is there of it."""
    spool = new_spool(tmp_path, LIMIT)
    began, go = threading.Event(), threading.Event()
    write, sync = os.write, os.fsync
    torn: list[bytes] = []

    def slow(file: int) -> None:
        began.set()
        go.wait(5)
        sync(file)

    def refusing(file: int, octets: bytes) -> int:
        if bytes(octets).endswith(b"torn"):
            torn.append(bytes(octets))
            return write(file, octets[:10])
        if torn and torn[0].endswith(octets):
            raise OSError(5, "Input/output error")
        return write(file, octets)

    def no_cut(file: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    spool.append(b"opens the segment")
    monkeypatch.setattr(spooling.os, "fsync", slow)
    monkeypatch.setattr(spooling.os, "write", refusing)
    monkeypatch.setattr(spooling.os, "ftruncate", no_cut)
    acknowledged: list[bytes] = [b"opens the segment"]

    def keep(payload: bytes) -> None:
        with suppress(SpoolFull):
            spool.append(payload)
            acknowledged.append(payload)

    def begin(payload: bytes) -> threading.Thread:
        thread = threading.Thread(target=keep, args=(payload,))
        thread.start()
        return thread

    threads = [begin(b"synced meanwhile")]
    assert began.wait(5)
    threads.append(begin(b"torn"))
    while not torn:
        time.sleep(0.001)
    threads += [begin(b"later %d" % i) for i in range(4)]
    time.sleep(0.1)
    go.set()
    for thread in threads:
        thread.join()
    assert len(acknowledged) == 6 and b"torn" not in acknowledged
    assert sorted(drained(spool)) == sorted(acknowledged)


def test_nothing_is_acknowledged_in_a_file_whose_name_is_not_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = new_spool(tmp_path, LIMIT)
    sync = segments.sync_directory
    named: list[set[str]] = []

    def broken(directory: Path) -> None:
        raise OSError(5, "Input/output error")

    def noting(directory: Path) -> None:
        sync(directory)
        named.append({path.name for path in directory.glob("*.seg")})

    with monkeypatch.context() as patch:
        patch.setattr(segments, "sync_directory", broken)
        with pytest.raises(SpoolFull, match="Input/output error"):
            spool.append(b"never promised")
    monkeypatch.setattr(segments, "sync_directory", noting)
    spool.append(b"after")
    assert named == [{path.name for path in tmp_path.glob("*/*.seg")}] != [set()]
    assert drained(spool) == [b"after"]
