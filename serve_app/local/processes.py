"""Child processes that end with us: started in sessions of their own, tethered, marked, stopped in order."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from logging.handlers import RotatingFileHandler
from pathlib import Path

from serve_app.local import tether

MARK = "VERDICT_UP"  # environment variable; its value is `Home.mark`
LAST_LINES = 15
LOG_OCTETS = 16 << 20  # of a log, before it begins anew
LOGS_KEPT = 3  # older ones beside it
POLL_S = 0.05


class Child:
    """One program with its log file. A session of its own keeps the terminal's Ctrl-C from it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        mark: str,
        patience_s: float,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.patience_s = patience_s
        self.mark = f"{mark}/{name.replace(' ', '-')}"  # its own, below that of the home
        self._env = {**env, MARK: self.mark, "PYTHONUNBUFFERED": "1"}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Start it. Call from the main thread: Linux ties a child to the thread that started it."""
        self.bound_log()
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", tether.__file__, str(os.getpid()), *self.argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def ended(self) -> int | None:
        """Its exit status once it has ended, else None."""
        return self._process.poll() if self._process is not None else None

    def last_lines(self, count: int = LAST_LINES) -> str:
        """The end of what it has logged since it started; of a log that somebody emptied or removed, what is left."""
        try:
            with self.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start if self._log_start <= size else 0, size - 65536))
                return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-count:])
        except FileNotFoundError:
            return ""

    def bound_log(self) -> None:
        """Where its log has become long, keep that beside it and begin anew."""
        with suppress(OSError):  # none yet; or a full disk, on which the copy is lost and the room is made
            if self.log.stat().st_size <= LOG_OCTETS:
                return
            self._log_start = 0
            handler = RotatingFileHandler(self.log, backupCount=LOGS_KEPT, delay=True)
            handler.rotator = _emptied
            handler.doRollover()

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def wait(self) -> bool:
        """Wait for its end, for its patience; kill it and what shares its session then. True if it ended by itself."""
        if self._process is None:
            return True
        try:
            self._process.wait(self.patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """End it and its process group at once."""
        self.strike()
        if self._process is not None:
            self._process.wait()

    def strike(self) -> None:
        """As `kill`, without waiting; safe in a signal handler."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def _emptied(log: str, kept: str) -> None:
    """Whoever writes to it has it open for good: its lines move, not the file. One written meanwhile may be lost."""
    try:
        shutil.copyfile(log, kept)
    finally:
        os.truncate(log, 0)


def set_aside(folder: Path) -> None:
    """Keep beside this folder what the LOGS_KEPT starts before have logged into it, and let it begin anew."""
    kept = [folder.with_name(f"{folder.name}.{number}") for number in range(1, LOGS_KEPT + 1)]
    with suppress(OSError):  # none yet
        if not any(folder.iterdir()):  # of a start that came to nothing
            return
        shutil.rmtree(kept[-1], ignore_errors=True)
        for former, later in reversed([*pairwise([folder, *kept])]):
            if former.exists():
                former.rename(later)


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def marked(mark: str) -> list[int]:
    """The living processes of this user started under this mark or one below it, directly or not; never this one."""
    wanted = f"\0{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = b"\0" + (entry / "environ").read_bytes()
            if (wanted + b"\0" in environment or wanted + b"/" in environment) and _alive(entry):
                found.append(int(entry.name))
        except OSError:  # another user's, or gone
            continue
    return [pid for pid in found if pid != os.getpid()]


def end_marked(mark: str, patience_s: float = 5.0) -> int:
    """End every marked process: politely, then by force. Returns how many there were."""
    first = marked(mark)
    for number, patience in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 10.0)):
        end = time.monotonic() + patience
        while (left := marked(mark)) and time.monotonic() < end:
            for pid in left:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            time.sleep(POLL_S)
    return len(first)


def _alive(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
