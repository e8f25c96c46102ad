"""Keeps the children of `verdict up`: starts again what crashes, and stops everything in order, once and for all."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType

import msgspec
from rich.console import Console

from serve_app.local.cluster import Report
from serve_app.local.processes import POLL_S, Child, end_marked, how_it_ended

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_PATIENCE_S = 600.0
RESTARTS = 3  # of one child within RESTART_WINDOW_S; after that everything stops
RESTART_WINDOW_S = 600.0
LOOK_EVERY_S = 0.5
ASK_EVERY_S = 0.2


class NotStarted(RuntimeError):
    """A part that did not come up or will not stay up; the message ends with the last lines of its log."""


class StopRequested(BaseException):
    """The first Ctrl-C, SIGTERM or hang-up of the terminal."""


class Supervisor:
    """A context: at its end, however that comes about, no child is left.

    Children are stopped in the reverse of the order in which they depend on each other: CoreDNS first, so that it
    can still report what it has answered. A second signal ends everything at once.
    """

    def __init__(self, *marks: str) -> None:
        self._marks = marks
        self._children: list[Child] = []
        self._watched: list[Callable[[], None]] = []
        self._restarts: dict[str, list[float]] = {}
        self._read: dict[Path, int] = {}  # how much of a file of reports was read
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Supervisor":
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # started by nohup: to outlive its terminal is what it is for
            self._former[number] = signal.signal(number, _request_stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._former:
            signal.signal(number, self._force)
        if kind is StopRequested:
            with suppress(OSError):  # the terminal is closed
                print(
                    "\nStopping, which takes some seconds; a second Ctrl-C ends everything at once.",
                    file=sys.stderr,
                    flush=True,
                )
        self.stop()
        for former, handler in self._former.items():
            signal.signal(former, handler)  # type: ignore[arg-type]

    def add(self, child: Child) -> None:
        """Start a child and keep it."""
        self._children.append(child)
        child.start()

    def watch(self, check: Callable[[], None]) -> None:
        """Call this too while something is waited for: what it raises ends the waiting."""
        self._watched.append(check)

    def stop(self) -> None:
        """CoreDNS first and waited for, then the rest; then whatever is left of them."""
        order = sorted(self._children, key=lambda child: child.name != "CoreDNS")
        for child in order:
            child.terminate()
            if child.name == "CoreDNS":
                child.wait()
        for child in order:
            child.wait()
        for mark in self._marks:
            end_marked(mark)

    def wait_for(
        self, holds: Callable[[], bool], what: str, child: Child | None, patience_s: float = START_PATIENCE_S
    ) -> None:
        """Wait until `holds`. Raises `NotStarted` when a child ends first, or after `patience_s`."""
        end = time.monotonic() + patience_s
        while not holds():
            self._check_all()
            if time.monotonic() > end:
                tail = f"; the last lines of {child.log}:\n{child.last_lines()}" if child else ""
                raise NotStarted(f"waited {patience_s:.0f} s for {what}{tail}")
            time.sleep(ASK_EVERY_S)

    def reports(self, child: Child, path: Path, patience_s: float = START_PATIENCE_S) -> Iterator[Report]:
        """What a child says of its start in a file, as it says it. Raises as `wait_for` does."""
        end = time.monotonic() + patience_s
        start = self._read.get(path, 0)
        with path.open("rb") as file:
            file.seek(start)
            while time.monotonic() < end:
                line = file.readline()
                if line.endswith(b"\n"):
                    self._read[path] = file.tell()
                    yield msgspec.json.decode(line, type=Report)
                    continue
                file.seek(-len(line), os.SEEK_CUR)  # half a line: the rest is being written
                self._check_all()
                time.sleep(POLL_S)
        raise NotStarted(f"waited {patience_s:.0f} s for {child.name}; its log is {child.log}")

    def supervise(self, console: Console) -> None:
        """Watch until a signal comes. Raises `NotStarted` when a child does not stay up."""
        while True:
            time.sleep(LOOK_EVERY_S)
            for child in self._children:
                status = child.ended()
                if status is None:
                    child.bound_log()
                else:  # its last lines first: a log that is moved has none
                    self._again(child, status, console)

    def _again(self, child: Child, status: int, console: Console) -> None:
        now = time.monotonic()
        recent = [moment for moment in self._restarts.get(child.name, []) if now - moment < RESTART_WINDOW_S]
        _say(console, f"{child.name} {how_it_ended(status)}. Its last lines:\n{child.last_lines()}")
        if len(recent) >= RESTARTS:
            raise NotStarted(f"{child.name}: ended {RESTARTS + 1} times within {RESTART_WINDOW_S / 60:.0f} minutes")
        self._restarts[child.name] = [*recent, now]
        _say(console, f"Starting {child.name} again.")
        self.again(child)

    def again(self, child: Child) -> None:
        """End a child with all it has started (an orphaned HAProxy would keep its port), and start it anew."""
        child.kill()
        end_marked(child.mark)
        child.start()

    def _check_all(self) -> None:
        for check in self._watched:
            check()
        for child in self._children:
            status = child.ended()
            if status is not None:
                raise NotStarted(
                    f"{child.name} {how_it_ended(status)}; the last lines of {child.log}:\n{child.last_lines()}"
                )
            child.bound_log()

    def _force(self, number: int, frame: FrameType | None) -> None:
        for child in self._children:
            child.strike()
        for mark in self._marks:
            end_marked(mark, patience_s=0.0)
        os._exit(128 + number)


def _say(console: Console, text: str) -> None:
    with suppress(OSError):  # what it writes to is full or closed: no reason to end the parts that run
        console.print(text, markup=False)


def _request_stop(number: int, frame: FrameType | None) -> None:
    raise StopRequested(signal.Signals(number).name)
