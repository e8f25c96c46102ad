"""The failures of ARCHITECTURE.md's table, each with its promise and the way to bring it about.

A fault is a context: entered, the failure is there; left, it is gone (or, for a kill, was over at once). What is
checked after it is the same for all: see `loadtest.chaos`.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from loadtest.proxy import Behaviour, http_reply
from loadtest.rig import Rig

FAIL_OPEN = "every query answered; fails open at the deadline, then at once; recovers by itself"
NOTHING = "clients notice nothing; nothing acknowledged is lost or doubled"

Bring = Callable[[Rig, float], AbstractContextManager[None]]


class NotPossible(Exception):
    """This machine cannot bring the fault about; the message says what it lacks."""


@dataclass(frozen=True)
class Fault:
    """One failure. `short`: part of the short form, which CI runs. `outage`: clients go without answers meanwhile,
    which is then part of the fault itself (CoreDNS is what was killed)."""

    name: str
    promise: str
    bring: Bring
    short: bool = False
    outage: bool = False
    recover_s: float = 60.0
    felt: bool = False  # fresh names cannot have had their verdicts meanwhile; where they had, the failure never came
    flood: float = 0.0  # queries a second on top


@contextlib.contextmanager
def _wire(rig: Rig, seconds: float, behaviour: Behaviour) -> Iterator[None]:
    rig.proxy.set(behaviour)
    try:
        time.sleep(seconds)
        yield
    finally:
        rig.proxy.set(Behaviour())


def wire(behaviour: Behaviour) -> Bring:
    """The wire between CoreDNS and the cluster behaves so."""
    return lambda rig, seconds: _wire(rig, seconds, behaviour)


@contextlib.contextmanager
def _killed(rig: Rig, titles: tuple[str, ...], most: int | None) -> Iterator[None]:
    found = [pid for title in titles for pid in rig.processes(title)]
    if not found:
        raise NotPossible(f"no process {' or '.join(titles)}")
    for pid in found[:most]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    yield


def kill(*titles: str, most: int | None = None) -> Bring:
    """Kill the cluster's processes of these titles, `most` at most, for good."""
    return lambda rig, seconds: _killed(rig, titles, most)


@contextlib.contextmanager
def _frozen(rig: Rig, seconds: float, titles: tuple[str, ...]) -> Iterator[None]:
    found = [pid for title in titles for pid in rig.processes(title)]
    if not found:
        raise NotPossible(f"no process {' or '.join(titles)}")
    try:
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        yield
    finally:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def freeze(*titles: str) -> Bring:
    """Stop the processes (SIGSTOP): they hold their connections and answer nothing."""
    return lambda rig, seconds: _frozen(rig, seconds, titles)


@contextlib.contextmanager
def killed_resolver(rig: Rig, seconds: float) -> Iterator[None]:
    """Kill CoreDNS and start it again."""
    rig.coredns.kill()
    rig.coredns.wait()
    yield
    rig.start_coredns()


@contextlib.contextmanager
def store_locked(rig: Rig, seconds: float) -> Iterator[None]:
    """Another process holds the write lock of the embedded store: nothing can be written to it."""
    connection = sqlite3.connect(rig.home / "verdict.db", timeout=10, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        yield
    finally:
        connection.rollback()
        connection.close()


@contextlib.contextmanager
def disk_full(rig: Rig, seconds: float) -> Iterator[None]:
    """No octet more fits beside the spool: the rig's folder lies on a small disk, which a file fills."""
    free = shutil.disk_usage(rig.home).free
    if free > 1 << 30:
        raise NotPossible("the rig is not on a small disk of its own (needs root to mount one)")
    filler = rig.home / "filler"
    try:
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        time.sleep(seconds)
        yield
    finally:
        filler.unlink(missing_ok=True)


@contextlib.contextmanager
def hostile_names(rig: Rig, seconds: float) -> Iterator[None]:
    """Names with markup, control octets, formulas, 63-octet labels, 127 labels, all octets."""
    names = [
        "<script>alert(1)<\\047script>.com", "=cmd|' \\047c calc'!a1.com", "\\000\\001\\010\\013\\027.com", "a\\.b.com",
        "x" * 63 + "." + "y" * 63 + ".com", ".".join("a" * 126), "xn--.com", "\\255\\254.com", "a" * 63, "*.com", ".",
        "'; drop table records; --.com", "%0d%0aset-cookie.com", "${jndi:ldap:x}.com", "wWw.ExAmPlE.cOm",
    ]  # fmt: skip
    for name in names:
        if rig.ask(name) is None:
            raise AssertionError(f"{name!r} was not answered")
    yield


@contextlib.contextmanager
def bad_corefile(rig: Rig, seconds: float) -> Iterator[None]:
    """A reload (SIGUSR1) with a Corefile that has an unknown key: CoreDNS must keep what it had."""
    good = rig.corefile.read_text()
    rig.corefile.write_text(good.replace("timeout ", "no_such_key "))
    try:
        rig.coredns.send_signal(signal.SIGUSR1)
        time.sleep(seconds)
        if rig.coredns.poll() is not None:
            raise AssertionError("CoreDNS ended")
        yield
    finally:
        rig.corefile.write_text(good)


@contextlib.contextmanager
def reload(rig: Rig, seconds: float) -> Iterator[None]:
    """A reload with a good Corefile: the engine, its cache and its unreported counts must survive."""
    rig.corefile.write_text(rig.corefile.read_text() + f"# {time.time_ns()}\n")
    rig.coredns.send_signal(signal.SIGUSR1)
    time.sleep(seconds)
    yield


@contextlib.contextmanager
def only_time(rig: Rig, seconds: float) -> Iterator[None]:
    """Nothing, or the flood on top."""
    time.sleep(seconds)
    yield


def _answer(status: int, body: bytes) -> Behaviour:
    """Frames get this answer; reports pass, for a 200 would promise that they are on disk."""
    return Behaviour("answer", reply=http_reply(status, body), path=b"/v1/verdict")


_SHORT_ARRAY = b'{"epoch":1,"generation":"g","model":"m","verdicts":[]}'
_WRONG_SCORE = (
    b'{"epoch":1,"generation":"g","model":"m","verdicts":[{"label":"malicious","score":1.2,"generated":7,'
    b'"tier":"block","action":"nxdomain","cache_ttl":300,"source":"model"}]}'
)
REPLICA = "ServeReplica:verdict:"
WHOLE_CLUSTER = ("serve_app.local.cluster", "raylet", "gcs_server", "ray::", "haproxy")

FAULTS = (
    Fault("none, for comparison", NOTHING, only_time, short=True),
    Fault("wire refused", FAIL_OPEN, wire(Behaviour("refuse")), short=True, felt=True),
    Fault("wire silent (half-open)", FAIL_OPEN, wire(Behaviour("silent")), short=True, felt=True),
    Fault("wire reset", FAIL_OPEN, wire(Behaviour("reset")), felt=True),
    Fault("replies slow (2 s)", FAIL_OPEN, wire(Behaviour("slow", delay=2.0)), short=True, felt=True),
    Fault("replies cut", FAIL_OPEN, wire(Behaviour("cut")), felt=True),
    Fault("replies corrupt", FAIL_OPEN, wire(Behaviour("corrupt")), short=True, felt=True),
    Fault("no verdicts in the reply", FAIL_OPEN, wire(_answer(200, _SHORT_ARRAY)), felt=True),
    Fault("score out of range", FAIL_OPEN, wire(_answer(200, _WRONG_SCORE)), felt=True),
    Fault("token refused", FAIL_OPEN, wire(_answer(401, b'{"code":"unauthorised","message":"no"}')), felt=True),
    Fault("cluster full (503)", FAIL_OPEN, wire(_answer(503, b'{"code":"unavailable","message":"full"}')), felt=True),
    Fault("classifier killed", FAIL_OPEN, kill(REPLICA + "Classifier"), short=True),
    Fault("preprocessor killed", FAIL_OPEN, kill(REPLICA + "Preprocessor")),
    Fault("one ingress killed", FAIL_OPEN, kill(REPLICA + "Ingress", most=1), short=True),
    Fault("every ingress killed", FAIL_OPEN, kill(REPLICA + "Ingress"), felt=True),
    Fault("log killed", NOTHING, kill(REPLICA + "VerdictLog"), short=True),
    Fault("log killed again", NOTHING, kill(REPLICA + "VerdictLog")),
    Fault("HAProxy killed", NOTHING, kill("haproxy")),
    Fault("Serve controller killed", NOTHING, kill("ServeController")),
    Fault("classifier frozen", FAIL_OPEN, freeze(REPLICA + "Classifier")),
    Fault("preprocessor frozen", FAIL_OPEN, freeze(REPLICA + "Preprocessor")),
    Fault("log frozen", NOTHING, freeze(REPLICA + "VerdictLog")),
    Fault("cluster frozen", FAIL_OPEN, freeze(REPLICA, "haproxy"), short=True, felt=True),
    Fault("store locked", NOTHING, store_locked, short=True),
    Fault("disk full", NOTHING, disk_full),
    Fault("CoreDNS killed", "starts again; nothing acknowledged is lost or doubled", killed_resolver, outage=True),
    Fault("CoreDNS reloads", NOTHING, reload),
    Fault("bad Corefile at a reload", "keeps the former; clients notice nothing", bad_corefile, short=True),
    Fault("hostile names", "answered as any other; nothing is lost", hostile_names, short=True),
    Fault("flood of new names", "every query answered; memory bounded", only_time, flood=1500.0),
    Fault("cluster killed", FAIL_OPEN, kill(*WHOLE_CLUSTER), recover_s=180.0, felt=True),
)  # fmt: skip


def chosen(names: str, short: bool) -> list[Fault]:
    """The faults of which the name holds one of the comma-separated words, or all; of the short form if so told."""
    words = [word.strip().lower() for word in names.split(",") if word.strip()]
    found = [
        f for f in FAULTS if (f.short or not short) and (not words or any(word in f.name.lower() for word in words))
    ]
    if not found:
        raise ValueError(f"--only {names!r}: expected words of {', '.join(fault.name for fault in FAULTS)}")
    return found
