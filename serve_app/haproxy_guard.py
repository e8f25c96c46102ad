"""What stands in for HAProxy from its death until Ray Serve has started another one, some ten seconds later.

`serve_app/haproxy.py` starts this file as a process beside HAProxy, one in each folder. It holds the listening socket,
which every HAProxy of the folder inherits from it, so that nobody is refused while there is none: callers wait in the
socket's queue. When the HAProxy that registered last dies, or stands still, another one is started with the same
configuration on the same socket. It stands in until its successor serves. Standard library alone, and run as a file.
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

# Between two looks at HAProxy, and how long it may take to answer one. With SILENT_LOOKS it is taken for dead early
# enough that who was asking it can ask again within a second, and late enough for a machine at a load of many times
# its processors.
LOOK_S = 0.2
SILENT_LOOKS = 3  # in a row
STARTED_S = 10.0  # after its registration HAProxy has its admin socket for itself; its predecessor answers there before
SUCCESSION_S = 0.1  # between two looks whether the successor serves
EMPTY_S = 1.0  # without any replica, after which nobody needs a stand-in
TELL_S = 5.0  # for a HAProxy to say what it is about to serve
LASTED_S = 1.0  # a stand-in that ended sooner would end again
STAND_IN_S = 120.0  # at most: a stand-in does not hear of new replicas
BACKLOG = 4096  # callers who wait while there is no HAProxy; the system's own limit may be lower
ROUTED = re.compile(r"(?m)^\s*use_backend ")  # in each configuration that knows where to send questions
_MOST = 16 << 20  # octets of a registration


class Registered(NamedTuple):
    """One HAProxy that Ray started, from before it reads its configuration."""

    pid: int
    pidfd: int
    real: str  # the binary
    text: str  # its configuration
    since: float

    @property
    def routed(self) -> bool:
        return ROUTED.search(self.text) is not None

    @property
    def admin(self) -> str:
        """The path of its admin socket."""
        found = re.search(r"(?m)^\s*stats socket (\S+)", self.text)
        return found[1] if found else ""


class Guard:
    """The state of one folder: whose turn it is, and who stands in."""

    def __init__(self, door: socket.socket, file: Path) -> None:
        self._door, self._file = door, file  # the stand-in's configuration
        self._admin = str(file.with_name("b.sock"))  # its admin socket
        self._listener: socket.socket | None = None
        self._address = ""
        self._current: Registered | None = None
        self._cluster: int | None = None  # a pidfd of the raylet: without it nobody starts another HAProxy
        self._dead: Registered | None = None  # for whom another one stands in
        self._stand_in: subprocess.Popen[bytes] | None = None
        self._stand_in_since = 0.0
        self._leaving: list[subprocess.Popen[bytes]] = []  # stand-ins that finish what they have
        self._silent = self._empty = 0  # looks in a row

    def run(self) -> None:
        """Until there is nothing left to guard."""
        idle_until = time.monotonic() + STARTED_S
        while self._current or self._stand_in or self._leaving or time.monotonic() < idle_until:
            watched = {}
            if self._cluster is not None:
                watched[self._cluster] = self._cluster_ended
            if self._current:
                watched[self._current.pidfd] = self._died
            watched[self._door.fileno()] = self._register  # the last one: it changes the others
            poll = select.poll()
            for number in watched:
                poll.register(number, select.POLLIN)
            ready = poll.poll(1000 * (SUCCESSION_S if self._stand_in else LOOK_S))
            for number, _ in ready:
                watched[number]()
            self._leaving = [one for one in self._leaving if one.poll() is None]
            if self._stand_in:
                self._succession()
            elif not ready:
                self._look()

    def _register(self) -> None:
        """Hear of a HAProxy that is about to start, and give it the listening socket."""
        caller, _ = self._door.accept()
        with caller, suppress(OSError, ValueError, KeyError, TypeError):
            caller.settimeout(TELL_S)
            said = b""
            while (more := caller.recv(1 << 16)) and len(said) < _MOST:
                said += more
            told = json.loads(said)
            listener = self._listening(told["address"])
            waits = self._stand_in is not None and not ROUTED.search(told["text"])  # it could only answer 404
            found = Registered(told["pid"], os.pidfd_open(told["pid"]), told["real"], told["text"], time.monotonic())
            cluster = os.pidfd_open(told["cluster"])
            socket.send_fds(caller, [b"waits" if waits else b"serves"], [listener.fileno()])
            for old in (self._current and self._current.pidfd, self._cluster):
                if old is not None:
                    os.close(old)
            self._current, self._cluster, self._silent = found, cluster, 0

    def _listening(self, address: str) -> socket.socket:
        if self._listener is None or address != self._address:
            host, _, port = address.rpartition(":")
            family, kind, _, _, where = socket.getaddrinfo(
                host.strip("[]*") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            made = socket.socket(family, kind)
            # As HAProxy does: one that was started before the guard, or without it, may listen there still.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(where)
            made.listen(BACKLOG)
            if self._listener:
                self._listener.close()
            self._listener, self._address = made, address
        return self._listener

    def _died(self) -> None:
        """The last one that registered is gone: start another, unless it had nothing to send questions to."""
        dead = self._current
        assert dead and self._listener
        os.close(dead.pidfd)
        self._current = None
        if self._stand_in is None and dead.routed and self._cluster is not None:
            _say(f"HAProxy {dead.pid} is gone: another one stands in")
            self._dead = dead
            self._start_stand_in()

    def _start_stand_in(self) -> None:
        assert self._dead and self._listener
        own = self._listener.fileno()
        # By the same admin socket, Serve would take it for the one that it started itself, and start none.
        text = self._dead.text.replace(f"stats socket {self._dead.admin} ", f"stats socket {self._admin} ")
        self._stand_in_since, self._empty = time.monotonic(), 0
        try:
            self._file.write_text(re.sub(r"(?m)^(\s*bind )fd@\d+", rf"\1fd@{own}", text))
            self._stand_in = subprocess.Popen([self._dead.real, "-db", "-f", str(self._file)], pass_fds=[own])
        except OSError as error:
            _say(f"nobody stands in: {error}")

    def _cluster_ended(self) -> None:
        assert self._cluster is not None
        os.close(self._cluster)
        self._cluster = None
        self._end_stand_in("the cluster has ended", signal.SIGKILL)

    def _look(self) -> None:
        """End a HAProxy that stands still: each question that it is given waits until its budget is over."""
        if not self._current or time.monotonic() - self._current.since < STARTED_S:
            return
        try:
            _asked(self._current.admin, "show info")
            self._silent = 0
        except TimeoutError:
            self._silent += 1
        except OSError:
            self._silent = 0  # no socket at present: it is reloaded, or about to end
        if self._silent >= SILENT_LOOKS:
            _say(f"HAProxy {self._current.pid} stands still: it is ended")
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._current.pidfd, signal.SIGKILL)

    def _succession(self) -> None:
        """End the stand-in when it is not needed any more."""
        assert self._stand_in
        if self._stand_in.poll() is not None:
            _say(f"the stand-in ended with {self._stand_in.returncode}")
            self._stand_in = None
            if self._current is None and time.monotonic() - self._stand_in_since > LASTED_S:
                self._start_stand_in()
        elif self._current and self._current.routed and _pid(self._current.admin) == self._current.pid:
            self._end_stand_in(f"HAProxy {self._current.pid} serves", signal.SIGUSR1)
        elif time.monotonic() - self._stand_in_since > STAND_IN_S:
            self._end_stand_in(f"nobody else came within {STAND_IN_S:.0f} s", signal.SIGUSR1)
        else:
            self._empty = 0 if _replicas(self._admin) else self._empty + 1
            if self._empty * SUCCESSION_S > EMPTY_S:
                self._end_stand_in("no replica is left", signal.SIGUSR1)

    def _end_stand_in(self, why: str, number: signal.Signals) -> None:
        if self._stand_in:
            _say(f"{why}: the stand-in ends")
            self._stand_in.send_signal(number)
            self._leaving.append(self._stand_in)
            self._stand_in = None


def _asked(path: str, command: str) -> str:
    """What HAProxy says to this at its admin socket. Raises OSError, TimeoutError among them."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(LOOK_S)
        line.connect(path)
        line.sendall(f"{command}\n".encode())
        said = b""
        while more := line.recv(1 << 16):
            said += more
    return said.decode(errors="replace")


def _pid(path: str) -> int | None:
    """The process that answers at this admin socket."""
    try:
        found = re.search(r"(?m)^Pid: (\d+)$", _asked(path, "show info"))
    except OSError:
        return None
    return int(found[1]) if found else None


def _replicas(path: str) -> bool:
    """Whether the HAProxy at this admin socket has somebody to send questions to."""
    try:
        rows = [line.split(",") for line in _asked(path, "show stat").splitlines() if line and line[0] != "#"]
    except OSError:  # it is not up yet
        return True
    return any(row[1] not in ("FRONTEND", "BACKEND") and row[17].startswith("UP") for row in rows if len(row) > 17)


def _say(line: str) -> None:
    with suppress(OSError):  # a full disk
        print(time.strftime("%Y-%m-%dT%H:%M:%S"), line, flush=True)


def main(path: Path, stand_in: str, door: int) -> None:
    """Guard the folder in which the Unix socket `path` lies, whose file number is `door`, inherited. `stand_in` names
    the configuration in it."""
    with socket.socket(fileno=door) as listening:
        Guard(listening, path.with_name(stand_in)).run()
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
