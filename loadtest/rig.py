"""What chaos is done to: `verdict up --only cluster` and a CoreDNS, with a faulty wire between them.

    client -> CoreDNS, plugin verdict -> FaultProxy -> cluster -> store

Everything is real and of this repository, on free ports of loopback. `rig` starts all of it in a home of its own, and
nothing is left of it; `beside` starts the CoreDNS and the wire beside a `verdict up` that runs already.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from loadtest.prober import ask
from loadtest.processes import command_of
from loadtest.proxy import FaultProxy
from serve_app import golang
from serve_app.descendants import descendants
from serve_app.local.corefile import corefile
from serve_app.local.options import Home, Options
from serve_app.local.ports import free_port
from serve_app.local.prepare import RESOLVER
from verdicts import dnswire
from verdicts.store import Filter, open_store

START_S = 600.0
STILL_S = 3.0  # the plugin reports each second
DISK_MIB = 512
COREFILE, COREDNS_LOG = "chaos.Corefile", "chaos-coredns.log"


class NotRunning(Exception):
    """A part of the rig did not come up; the message ends with the last lines of its log."""


class Books(NamedTuple):
    """What the log holds of one resolver: queries seen, counted in records, discarded; rows missing and dead."""

    seen: int
    counted: int
    discarded: int
    missing: int
    dead: int

    def minus(self, other: "Books") -> "Books":
        return Books(*(a - b for a, b in zip(self, other, strict=True)))


@dataclass
class Rig:
    """The running parts. `home` is the home of `verdict up`, `root` its process; `folder` holds the CoreDNS's files."""

    home: Path
    folder: Path
    dns_port: int
    http_port: int
    proxy: FaultProxy
    binary: Path
    root: int
    coredns: "subprocess.Popen[bytes]"
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    answered: int = 0  # queries of `ask` that were answered
    _still: tuple[Books | None, float] = (None, 0.0)  # what the log held, and since when (monotonic) it holds that

    def ask(self, qname: str) -> dnswire.Reply | None:
        """One query outside the load, accounted for."""
        reply = ask(self.dns_port, qname)
        self.answered += reply is not None
        self._still = (None, 0.0)
        return reply

    @property
    def corefile(self) -> Path:
        return self.folder / COREFILE

    def start_coredns(self) -> None:
        """Start CoreDNS again and wait for its first answer."""
        self.coredns = _start_coredns(self.binary, self.folder)
        self.await_answer()

    def await_answer(self) -> None:
        """Wait until CoreDNS answers."""
        log = self.folder / COREDNS_LOG
        wait_until(lambda: self.ask("wikipedia.org") is not None, 20, lambda: NotRunning(f"CoreDNS: {_tail(log)}"))

    def processes(self, title: str) -> list[int]:
        """The processes of the cluster whose command line holds `title`, such as `ServeReplica:verdict:Classifier`."""
        return [pid for pid in descendants(self.root) if title in command_of(pid)]

    def books(self) -> Books:
        """Reconcile the log: every batch of this run, and the sum of the counts of its records."""
        store = open_store(f"sqlite:///{self.home / 'verdict.db'}")
        try:
            end = int(time.time() * 1000) + 60_000
            batches = [b for b in store.reconcile(self.started - 60_000, end) if b.resolver == RESOLVER]
            where = Filter(self.started - 60_000, end, resolver=(RESOLVER,))
            counted = sum(bucket.count for bucket in store.histogram(where, 3_600_000))
        finally:
            store.close()
        return Books(
            sum(b.seen for b in batches), counted, sum(b.discarded for b in batches),
            sum(b.missing for b in batches), sum(b.dead for b in batches),
        )  # fmt: skip

    def settled(self, seconds: float, seen: int = 0) -> Books:
        """Wait until the log has everything: `seen` queries at least, nothing missing, and no change for STILL_S."""
        end = time.monotonic() + seconds
        while True:
            books, now = self.books(), time.monotonic()
            if books != self._still[0]:
                self._still = (books, now)
            if (now - self._still[1] >= STILL_S and not books.missing and books.seen >= seen) or now > end:
                return books
            time.sleep(0.5)


@contextlib.contextmanager
def rig(mode: str = "enforce", say: Callable[[str], None] = lambda _: None) -> Iterator[Rig]:
    """Start everything in a folder of its own (on a small disk where that can be mounted), leave nothing behind."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vchaos-")))
        if _small_disk(home):
            stack.callback(subprocess.run, ["umount", "-l", str(home)])
        http_port = free_port()
        say("starting the cluster")
        cluster = _start_cluster(home, http_port)
        stack.callback(_stop, cluster, 60)
        wait_until(
            lambda: ready(http_port) or cluster.poll() is not None, START_S, lambda: NotRunning(_tail(home / "up.log"))
        )
        if cluster.poll() is not None:
            raise NotRunning(f"verdict up ended with {cluster.returncode}: {_tail(home / 'up.log')}")
        yield stack.enter_context(beside(cluster.pid, home, http_port, home, mode, say))


@contextlib.contextmanager
def beside(
    root: int, home: Path, http_port: int, folder: Path, mode: str = "enforce",
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Rig]:  # fmt: skip
    """Start a CoreDNS with a faulty wire beside the running `verdict up` that has this process, home and HTTP port."""
    say("building CoreDNS")
    binary = golang.build()
    dns_port = free_port()
    with FaultProxy(("127.0.0.1", http_port)) as proxy:
        options = Options(home, dns_port=dns_port, http_port=proxy.port, mode=mode)
        (folder / COREFILE).write_text(corefile(options, Home(home), None))
        say("starting CoreDNS")
        made = Rig(home, folder, dns_port, http_port, proxy, binary, root, _start_coredns(binary, folder))
        try:
            made.await_answer()
            yield made
        finally:
            _stop(made.coredns, 10)  # what it has not reported yet goes out first


def ready(http_port: int) -> bool:
    """Whether the cluster at this port of loopback says that it can give verdicts."""
    return _status(f"http://127.0.0.1:{http_port}/readyz") == 200


def wait_until(holds: Callable[[], bool], seconds: float, otherwise: Callable[[], Exception]) -> None:
    """Wait until `holds`. Raises `otherwise()` after `seconds`."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > seconds:
            raise otherwise()
        time.sleep(0.1)


def _small_disk(path: Path) -> bool:
    """Mount a small disk in memory at `path`, so that it can be filled; False where that is not allowed."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        return False
    command = [mount, "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "verdict-chaos", str(path)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _start_cluster(home: Path, http_port: int) -> "subprocess.Popen[bytes]":
    argv = [str(Path(sys.executable).parent / "verdict"), "up", "--only", "cluster"]
    with (home / "up.log").open("wb") as log:
        return subprocess.Popen(
            [*argv, "--home", str(home), "--http-port", str(http_port)], stdout=log, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


def _start_coredns(binary: Path, folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / COREDNS_LOG).open("ab") as log:
        return subprocess.Popen([str(binary), "-conf", str(folder / COREFILE)], stdout=log, stderr=subprocess.STDOUT)


def _stop(process: "subprocess.Popen[bytes]", patience: float) -> None:
    for number in (signal.SIGCONT, signal.SIGTERM):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
    try:
        process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        for pid in [*descendants(process.pid), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def _status(url: str) -> int:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else "(no log)"
