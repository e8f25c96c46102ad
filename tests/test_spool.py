"""The spool keeps what it acknowledged, through torn tails, its limit and dead processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from verdicts import spool as spooling
from verdicts.spool import Spool, SpoolFull, claim_orphans, new_spool

LIMIT = 64 << 20


def drained(spool: Spool, max_bytes: int = 1 << 20) -> list[bytes]:
    found: list[bytes] = []
    while True:
        entries, position = spool.read(max_bytes)
        if not entries:
            return found
        found += entries
        spool.trim(position)


def test_entries_come_back_in_order_and_the_disk_is_free_again(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, LIMIT, segment_bytes=1000)
    wanted = [b"%d" % i * 100 for i in range(50)]
    for entry in wanted:
        spool.append(entry)
    assert drained(spool, 700) == wanted
    assert spool.empty


def test_what_was_not_trimmed_is_read_again(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, LIMIT)
    spool.append(b"a")
    spool.read(10)
    assert spool.read(10)[0] == []
    spool.rewind()
    assert spool.read(10)[0] == [b"a"]


def test_a_successor_reads_what_a_dead_process_left(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, LIMIT)
    spool.append(b"a")
    spool.close()
    [orphan] = claim_orphans(tmp_path, LIMIT)
    assert drained(orphan) == [b"a"]
    orphan.close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_spool_in_use_is_no_orphan(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, LIMIT)
    spool.append(b"a")
    assert claim_orphans(tmp_path, LIMIT) == []


@pytest.mark.parametrize("cut", range(1, 21))
def test_a_torn_tail_costs_the_torn_entry_alone(tmp_path: Path, cut: int) -> None:
    spool = new_spool(tmp_path, LIMIT)
    for entry in (b"first", b"second", b"torn-off-here"):  # the last one is 8 + 13 octets
        spool.append(entry)
    spool.close()
    [segment] = tmp_path.glob("*/*.seg")
    os.truncate(segment, segment.stat().st_size - cut)
    [orphan] = claim_orphans(tmp_path, LIMIT)
    assert drained(orphan) == [b"first", b"second"]


@pytest.mark.parametrize(("place", "left"), [(-1, [b"first", b"second"]), (10, [b"second", b"third"])])
def test_a_damaged_entry_is_told_and_costs_no_other(
    tmp_path: Path, place: int, left: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    spool = new_spool(tmp_path, LIMIT)
    for entry in (b"first", b"second", b"third"):
        spool.append(entry)
    spool.close()
    [segment] = tmp_path.glob("*/*.seg")
    raw = bytearray(segment.read_bytes())
    raw[place] ^= 1
    segment.write_bytes(raw)
    [orphan] = claim_orphans(tmp_path, LIMIT)
    assert drained(orphan) == left
    assert f"{segment}: 13 octets are no whole entry" in caplog.text


def test_a_tail_of_zeros_is_no_entry(tmp_path: Path) -> None:
    """A file system may have made the file longer, and lost power before it wrote the octets."""
    spool = new_spool(tmp_path, LIMIT)
    spool.append(b"a")
    spool.close()
    [segment] = tmp_path.glob("*/*.seg")
    os.truncate(segment, segment.stat().st_size + 4096)
    [orphan] = claim_orphans(tmp_path, LIMIT)
    assert drained(orphan) == [b"a"]
    assert orphan.empty


def test_segments_end_while_somebody_always_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing could be trimmed before the spool is full."""
    real = os.fsync

    def slow(file: int) -> None:
        time.sleep(0.001)
        real(file)

    spool = new_spool(tmp_path, LIMIT, segment_bytes=5000)
    monkeypatch.setattr(spooling.os, "fsync", slow)

    def write() -> None:
        for _ in range(30):
            spool.append(b"x" * 492)

    threads = [threading.Thread(target=write) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(path.stat().st_size for path in tmp_path.glob("*/*.seg")) <= 5500
    assert len(drained(spool)) == 16 * 30


def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    """Whoever claims it would not see it, and would remove it with the folder."""
    spool = new_spool(tmp_path, LIMIT)
    spool.append(b"a")
    spool.close()
    [orphan] = claim_orphans(tmp_path, LIMIT)
    with pytest.raises(SpoolFull, match="closed"):
        spool.append(b"late")
    assert drained(orphan) == [b"a"]


def test_who_waits_for_a_sync_is_not_cut_off_by_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = new_spool(tmp_path, LIMIT)
    spool.append(b"opens the segment")
    began, go = threading.Event(), threading.Event()
    real = os.fsync

    def slow(file: int) -> None:
        began.set()
        go.wait(5)
        real(file)

    monkeypatch.setattr(spooling.os, "fsync", slow)
    done: list[bytes] = []

    def write(payload: bytes) -> None:
        spool.append(payload)
        done.append(payload)

    threads = [threading.Thread(target=write, args=(b"%d" % i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    assert began.wait(5)
    while len(spool.read(1 << 20)[0]) == 0 or spool._size < 25 + 5 * 9:  # all have written, and wait
        spool.rewind()
        time.sleep(0.001)
    closing = threading.Thread(target=spool.close)
    closing.start()
    go.set()
    closing.join()
    for thread in threads:
        thread.join()
    assert sorted(done) == [b"%d" % i for i in range(5)]


def test_a_successor_writes_behind_no_torn_tail(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "one", LIMIT)
    spool.append(b"a")
    spool.close()
    [segment] = (tmp_path / "one").glob("*.seg")
    with segment.open("ab") as file:
        file.write(b"\x05\x00")
    again = Spool(tmp_path / "one", LIMIT)
    again.append(b"b")
    assert drained(again) == [b"a", b"b"]


def test_a_full_spool_refuses_and_takes_again_when_it_was_drained(tmp_path: Path) -> None:
    spool = new_spool(tmp_path, 1000)
    taken = 0
    with pytest.raises(SpoolFull, match="limit 1000"):
        while True:
            spool.append(b"x" * 92)
            taken += 1
    assert taken == 10 and spool.size <= 1000
    assert len(drained(spool)) == 10
    spool.append(b"x" * 92)


def test_the_limit_is_that_of_all_spools_of_a_node_however_many_have_died(tmp_path: Path) -> None:
    for _ in range(3):  # each of a process that dies, while the store is away
        spool = new_spool(tmp_path, 1000)
        with pytest.raises(SpoolFull, match=f"spools in {tmp_path}: .* limit 1000"):
            while True:
                spool.append(b"x" * 92)
        spool.close()
        assert sum(path.stat().st_size for path in tmp_path.glob("*/*.seg")) == spool.octets_of_all() == 1000
    spool = new_spool(tmp_path, 1000)
    with pytest.raises(SpoolFull):
        spool.append(b"x" * 92)
    for orphan in claim_orphans(tmp_path, 1000):
        drained(orphan)
        orphan.close(remove=True)
    spool.append(b"x" * 92)
    assert spool.octets_of_all() == 100


def test_many_threads_share_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    real = os.fsync
    gate = threading.Event()

    def slow(file: int) -> None:
        if syncs:
            gate.wait(5)
        syncs.append(file)
        real(file)

    spool = new_spool(tmp_path, LIMIT)
    spool.append(b"opens the segment")
    monkeypatch.setattr(spooling.os, "fsync", slow)
    threads = [threading.Thread(target=spool.append, args=(b"%d" % i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    written = 0
    while written < 21:  # all have written, and wait
        written += len(spool.read(1 << 20)[0])
        time.sleep(0.001)
    gate.set()
    for thread in threads:
        thread.join()
    assert len(syncs) < 20
    spool.rewind()
    assert len(drained(spool)) == 21


_WRITER = """
import sys
from pathlib import Path
from verdicts.spool import new_spool
spool = new_spool(Path(sys.argv[1]), 1 << 26)
for number in range(10**9):
    spool.append(b"%d" % number)
    print(number, flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(50):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read()
        whole = rest[: rest.rfind("\n") + 1].split()  # the last line may be cut
        acknowledged = int([str(acknowledged), *whole][-1])
        [orphan] = claim_orphans(tmp_path, LIMIT)
        found = [int(entry) for entry in drained(orphan)]
        orphan.close(remove=True)
        assert found[: acknowledged + 1] == list(range(acknowledged + 1))
