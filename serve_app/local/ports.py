"""Asks for every port before anything starts."""

import errno
import random
import socket
from collections.abc import Iterable
from typing import NamedTuple

from serve_app.local.options import LOOPBACK, Options

_given: set[int] = set()  # by `free_port`: its caller may not listen there yet


class PortBusy(RuntimeError):
    """A port that cannot be had; the message names it, what it is for and the option that moves it."""


class Wanted(NamedTuple):
    """A port, and why."""

    port: int
    purpose: str
    option: str
    kinds: tuple[socket.SocketKind, ...] = (socket.SOCK_STREAM,)
    host: str = LOOPBACK


def wanted(options: Options) -> list[Wanted]:
    """The ports that these options ask for."""
    every = {
        "coredns": Wanted(options.dns_port, "DNS", "--dns-port", (socket.SOCK_DGRAM, socket.SOCK_STREAM)),
        "cluster": Wanted(options.http_port, "the cluster's HTTP", "--http-port"),
        "dashboard": Wanted(options.dashboard_port, "the dashboard", "--dashboard-port"),
    }
    found = [every[part] for part in every if part in options.parts]
    if options.metrics_port:
        found.append(Wanted(options.metrics_port, "metrics", "--metrics-port"))
    return found


def check(ports: Iterable[Wanted]) -> None:
    """Raise `PortBusy` for the first that cannot be had, or that two purposes share."""
    seen: dict[int, Wanted] = {}
    for port in ports:
        if port.port in seen:
            raise PortBusy(
                f"port {port.port}: wanted for {port.purpose} ({port.option}) and for "
                f"{seen[port.port].purpose} ({seen[port.port].option}), expected two ports"
            )
        seen[port.port] = port
        for kind in port.kinds:
            trouble = trouble_with(port.port, kind, port.host)
            if trouble is not None:
                raise PortBusy(
                    f"port {port.port} on {port.host}, for {port.purpose}: {trouble}; choose with {port.option}"
                )


def trouble_with(port: int, kind: socket.SocketKind = socket.SOCK_STREAM, host: str = LOOPBACK) -> str | None:
    """Why this port cannot be bound, or None."""
    if port == 0:  # the kernel would choose one, which nobody is told
        return "expected 1 to 65535"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last run may linger
        try:
            probe.bind((host, port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "another program has it"
            return "not allowed for this user" if error.errno == errno.EACCES else str(error.strerror)
        except OverflowError:
            return "expected 1 to 65535"
    return None


def free_port(low: int = 10_000, high: int = 20_000) -> int:
    """A port that nothing uses now, over TCP or UDP, and that no earlier call gave.

    Not one that the kernel hands out (from 32,768 on): any program's next connection could take such a port before the
    server that is to have it.
    """
    for port in (random.randrange(low, high) for _ in range(200)):
        if port not in _given and not any(trouble_with(port, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            _given.add(port)
            return port
    raise PortBusy(f"no free port from {low} to {high}")


def free_block(size: int, low: int = 20_000, high: int = 31_000) -> int:
    """The first of `size` ports in a row that are all free; Serve hands them to the replicas of the ingress.

    Two clusters that shared such a range would answer each other's callers, so the block is drawn at random.
    """
    for _ in range(200):
        start = random.randrange(low, high - size)
        if all(trouble_with(port) is None for port in range(start, start + size)):
            return start
    raise PortBusy(f"no {size} free ports in a row from {low} to {high}")
