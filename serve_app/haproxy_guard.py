"""What stands in for HAProxy from its death until Ray Serve has started another one, some ten seconds later.

`serve_app/haproxy.py` starts it as a process beside HAProxy, one in each folder. It holds the listening socket,
which every HAProxy of the folder inherits from it, so that nobody is refused while there is none: callers wait in the
socket's queue. When the HAProxy that serves dies, or stands still, another one is started with the same configuration
on the same socket. It stands in until its successor serves. One that registers serves once its admin socket answers:
until then, and if it never does, its predecessor is the one that counts. The socket is open only while somebody answers
there, or is about to. Standard library alone, for it is small.
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from serve_app.haproxy import naming
from serve_app.haproxy_seen import asked, could_run, pid_at, replicas

# A HAProxy that answers no look for SILENT_S is taken for dead: early enough that who was asking it can ask again
# within a second, and late enough for a machine at a load of many times its processors.
LOOK_S = 0.1  # between two looks at HAProxy
AGAIN_S = 0.02  # between two looks while it is silent
SILENT_S = 0.6
STARTED_S = 10.0  # for one that registers to come up, and for the first one to register
SUCCESSION_S = 0.1  # between two looks whether the successor serves
EMPTY_S = 1.0  # without any replica, after which nobody needs a stand-in
TELL_S = 5.0  # for a HAProxy to say what it is about to serve
LASTED_S = 1.0  # a stand-in that ended sooner would end again
STAND_IN_S = 120.0  # at most, where no successor waits: a stand-in does not hear of new replicas
BACKLOG = 4096  # callers who wait while there is no HAProxy; the system's own limit may be lower
ROUTED = re.compile(r"(?m)^\s*use_backend ")  # in each configuration that knows where to send questions
_MOST = 16 << 20  # octets of a registration


class Told(NamedTuple):
    """What a HAProxy says of itself before it reads its configuration."""

    pid: int
    cluster: int  # the process of the raylet
    real: str  # the binary
    text: str  # its configuration
    address: str  # host:port to listen at


class Registered(NamedTuple):
    """One HAProxy that Ray started."""

    pid: int
    pidfd: int
    real: str
    text: str
    waits: bool  # it was not given the listening socket: another one stands in, and it could only answer 404
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
        self._coming: Registered | None = None  # it registered and does not serve yet
        self._current: Registered | None = None  # the last one that came to serve
        self._cluster: int | None = None  # a pidfd of the raylet: without it nobody starts another HAProxy
        self._dead: Registered | None = None  # for whom another one stands in
        self._stand_in: subprocess.Popen[bytes] | None = None
        self._stand_in_since = self._stand_in_until = 0.0
        self._leaving: list[subprocess.Popen[bytes]] = []  # stand-ins that finish what they have
        self._silent_since: float | None = None
        self._empty = 0  # looks in a row

    def run(self) -> None:
        """Until there is nothing left to guard."""
        idle_until = time.monotonic() + STARTED_S
        while self._coming or self._current or self._stand_in or self._leaving or time.monotonic() < idle_until:
            watched: dict[int, Callable[[], object]] = {}
            if self._cluster is not None:
                watched[self._cluster] = self._cluster_ended
            for one in (self._coming, self._current):
                if one:
                    watched[one.pidfd] = partial(self._ended, one)
            watched[self._door.fileno()] = self._register  # the last one: it changes the others
            poll = select.poll()
            for number in watched:
                poll.register(number, select.POLLIN)
            ready = poll.poll(1000 * self._pause())
            for number, _ in ready:
                watched[number]()
            self._leaving = [one for one in self._leaving if one.poll() is None]
            self._taken_over()
            if self._stand_in:
                self._succession()
            elif not ready:
                self._look()
            if not self._stand_in:
                self._let_go()

    def _pause(self) -> float:
        if self._stand_in or self._coming:
            return SUCCESSION_S
        return LOOK_S if self._silent_since is None else AGAIN_S

    def _register(self) -> None:
        """Hear of a HAProxy that is about to start, and give it the listening socket. It leaves nothing if it fails."""
        self._taken_over()
        caller, _ = self._door.accept()
        with caller, ExitStack() as undo:
            try:
                caller.settimeout(TELL_S)
                told = _heard(caller)
                pidfds = []
                for pid in (told.pid, told.cluster):
                    pidfds.append(os.pidfd_open(pid))
                    undo.callback(os.close, pidfds[-1])
                listener = self._listener
                if listener is None or told.address != self._address:
                    listener = undo.enter_context(_listening(told.address))
                waits = self._stand_in is not None and not ROUTED.search(told.text)
                socket.send_fds(caller, [b"waits" if waits else b"serves"], [listener.fileno()])
            except Exception as error:  # whatever a message holds
                return _say(f"a registration failed: {error!a:.200}")
            undo.pop_all()
        for old in (self._coming and self._coming.pidfd, self._cluster):
            if old is not None:
                os.close(old)
        if self._listener and self._listener is not listener:
            self._listener.close()
        self._listener, self._address, self._cluster = listener, told.address, pidfds[1]
        self._coming = Registered(told.pid, pidfds[0], told.real, told.text, waits, time.monotonic())

    def _taken_over(self) -> bool:
        """Whether the one that registered last has the admin socket for itself. It is the current one from then on."""
        if self._coming is None or pid_at(self._coming.admin) != self._coming.pid:
            return False
        if self._current:
            os.close(self._current.pidfd)
        self._current, self._coming, self._silent_since = self._coming, None, None
        if self._current.routed:
            self._end_stand_in(f"HAProxy {self._current.pid} serves", signal.SIGUSR1)
        return True

    def _ended(self, one: Registered) -> None:
        """One that registered is gone: start another, unless somebody serves, or it knew nobody to send to."""
        os.close(one.pidfd)
        if one is self._coming:
            self._coming = None
            if self._current and pid_at(self._current.admin) == self._current.pid:
                return _say(f"HAProxy {one.pid} did not come up: {self._current.pid} goes on")
        else:
            self._current = None
            if self._taken_over():
                return
        if self._stand_in is None and one.routed and self._cluster is not None:
            _say(f"HAProxy {one.pid} is gone: another one stands in")
            self._dead = one
            self._start_stand_in()

    def _start_stand_in(self) -> None:
        assert self._dead and self._listener
        own = self._listener.fileno()
        # By the same admin socket, Serve would take it for the one that it started itself, and start none.
        text = self._dead.text.replace(f"stats socket {self._dead.admin} ", f"stats socket {self._admin} ")
        self._stand_in_since, self._empty = time.monotonic(), 0
        self._stand_in_until = self._stand_in_since + STAND_IN_S
        try:
            self._file.write_text(re.sub(r"(?m)^(\s*bind )fd@\d+", rf"\1fd@{own}", text))
            self._stand_in = subprocess.Popen([self._dead.real, "-db", "-f", str(self._file)], pass_fds=[own])
        except (OSError, ValueError) as error:
            _say(f"nobody stands in: {error}")

    def _cluster_ended(self) -> None:
        assert self._cluster is not None
        os.close(self._cluster)
        self._cluster = None
        self._end_stand_in("the cluster has ended", signal.SIGKILL)

    def _look(self) -> None:
        """End a HAProxy that stands still: each question that it is given waits until its budget is over."""
        late = self._coming and time.monotonic() - self._coming.since > STARTED_S
        newest = self._coming if late else self._current
        if newest is None:
            return
        began = time.monotonic()
        try:
            asked(newest.admin, "show info")
            self._silent_since = None
        except (TimeoutError, BlockingIOError):  # the second one: those who asked before fill its queue
            # One that waits for a processor, or for its memory, would go on; another one would wait as well.
            self._silent_since = None if could_run(newest.pid) else self._silent_since or began
        except OSError:
            self._silent_since = None  # no socket at present: it is reloaded, or about to end
        if self._silent_since is not None and time.monotonic() - self._silent_since >= SILENT_S:
            _say(f"HAProxy {newest.pid} stands still: it is ended")
            _kill(newest)

    def _succession(self) -> None:
        """End the stand-in when it is not needed any more."""
        assert self._stand_in
        if self._stand_in.poll() is not None:
            _say(f"the stand-in ended with {self._stand_in.returncode}")
            self._stand_in = None
            if time.monotonic() - self._stand_in_since > LASTED_S:
                self._start_stand_in()
        elif self._current and self._current.routed and pid_at(self._current.admin) == self._current.pid:
            self._end_stand_in(f"HAProxy {self._current.pid} serves", signal.SIGUSR1)
        elif self._waiting():  # Serve lives, and starts one with routes as soon as there is a replica
            self._empty, self._stand_in_until = 0, time.monotonic() + STAND_IN_S
        elif time.monotonic() > self._stand_in_until:
            self._end_stand_in(f"nobody else came within {STAND_IN_S:.0f} s", signal.SIGUSR1)
        else:
            self._empty = 0 if replicas(self._admin) else self._empty + 1
            if self._empty * SUCCESSION_S > EMPTY_S:
                self._end_stand_in("no replica is left", signal.SIGUSR1)

    def _waiting(self) -> list[Registered]:
        return [one for one in (self._coming, self._current) if one and one.waits]

    def _let_go(self) -> None:
        """Where nobody stands in: end who waits for that, and close a socket that nobody accepts callers on."""
        for one in self._waiting():
            _say(f"HAProxy {one.pid} waits for nobody: it is ended, Serve starts another one")
            _kill(one)
        if self._listener and not (self._coming or self._current):
            self._listener.close()
            self._listener = None

    def _end_stand_in(self, why: str, number: signal.Signals) -> None:
        """Also one that has outlived its guard."""
        leaving = {one.pid for one in self._leaving}
        for pid in naming(self._file):
            if pid not in leaving:
                _say(f"{why}: the stand-in ends")
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        if self._stand_in:
            self._leaving.append(self._stand_in)
            self._stand_in = None


def _heard(caller: socket.socket) -> Told:
    """Raises whatever comes of a malformed message: ValueError, KeyError, TypeError, RecursionError, OSError."""
    said = b""
    while (more := caller.recv(1 << 16)) and len(said) < _MOST:
        said += more
    fields = json.loads(said)
    told = Told(*(fields[name] for name in Told._fields))
    if [type(value) for value in told] != [int, int, str, str, str] or b"\0" in "".join(told[2:]).encode():
        raise ValueError("a field of another kind")
    return told


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not 0 < int(port) < 1 << 16:  # the system would take the lower bits of it
        raise ValueError("no such port")
    family, kind, _, _, where = socket.getaddrinfo(
        host.strip("[]*") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind)
    # As HAProxy does: one that was started before the guard, or without it, may listen there still.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(where)
    made.listen(BACKLOG)
    return made


def _kill(one: Registered) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(one.pidfd, signal.SIGKILL)


def _say(line: str) -> None:
    with suppress(OSError):  # a full disk
        print(time.strftime("%Y-%m-%dT%H:%M:%S"), line, flush=True)


def main(path: str, stand_in: str, door: str) -> None:
    """Guard the folder in which the Unix socket `path` lies, whose file number is `door`, inherited. `stand_in` names
    the configuration in it."""
    with socket.socket(fileno=int(door)) as listening:
        Guard(listening, Path(path).with_name(stand_in)).run()
        Path(path).unlink(missing_ok=True)
