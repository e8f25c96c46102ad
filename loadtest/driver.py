"""Sends DNS queries at their own times (open loop) and accounts for every one of them.

One thread, one UDP socket a client: client 10.x.y.z of the traffic sends from the loopback address 127.x'.y.z, so
that a resolver on this machine sees the clients apart. A query that gets no reply within the timeout is a failure;
nothing is asked twice. When the sender falls behind, queries are sent late, and `behind` says by how much at most
(`late`: the last one); a latency counts from when its query was really sent. The sender catches up in small bursts,
since a resolver's receive buffer takes less than 300 datagrams before Linux drops some.
"""

import ipaddress
import math
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from loadtest.judging import Expectation, blocked, problem
from loadtest.stats import quantiles
from loadtest.traffic import Query
from verdicts import dnswire

TIMEOUT_S = 2.0
MAX_SOCKETS = 512  # clients beyond this share sockets
POLL_S = 0.05
BURST = 16  # queries
BURST_S = 0.001  # at least, a burst


class NotLoopback(ValueError):
    """A server that is not on this machine; a load goes elsewhere only when it is asked to."""


class Outcome(NamedTuple):
    """One query and what became of it. `sent` and `latency` in seconds; a latency of NaN: no reply."""

    sent: float
    query: Query
    latency: float
    reply: dnswire.Reply | None
    problem: str


@dataclass
class Tally:
    """The sum of the outcomes. `sent` = answered + unanswered once the run has ended."""

    sent: int = 0
    answered: int = 0
    blocked: int = 0
    strays: int = 0  # datagrams that answer nothing asked
    behind: float = 0.0  # seconds that a query was sent late, at most
    late: float = 0.0  # the same of the last one
    seconds: float = 0.0  # from the start to the last one
    problems: Counter[str] = field(default_factory=Counter)
    rcodes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # of those that were answered
    timeout: float = TIMEOUT_S  # what the others have waited

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.kinds[outcome.query.kind] += 1
        if outcome.reply is not None:
            self.answered += 1
            self.rcodes[outcome.reply.rcode] += 1
            self.latencies.append(outcome.latency)
            self.blocked += blocked(outcome.reply)
        if outcome.problem:
            self.problems[outcome.problem] += 1

    @property
    def failed(self) -> int:
        return sum(self.problems.values())

    def summary(self) -> dict[str, object]:
        """The tally as JSON; latencies in milliseconds, the timeout of a query that got no reply: without those the
        quantiles of a server that answers half of its queries would be of the quick half."""
        waits = [*self.latencies, *[self.timeout] * (self.sent - self.answered)]
        spread = {k: round(v * 1e3, 3) for k, v in quantiles(waits).items()} if waits else {}
        return {
            "sent": self.sent, "answered": self.answered, "failed": self.failed, "blocked": self.blocked,
            "strays": self.strays, "seconds": round(self.seconds, 3), "behind_ms": round(self.behind * 1e3, 1),
            "latency_ms": spread,
            "problems": dict(self.problems), "rcodes": dict(self.rcodes), "kinds": dict(self.kinds),
        }  # fmt: skip


def server_address(text: str, remote: bool = False) -> tuple[str, int]:
    """`HOST:PORT` as a socket address; refuses what is not loopback unless `remote`."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        number = int(port)
        if not 0 < number <= 65535:
            raise ValueError
    except ValueError:
        raise NotLoopback(f"server {text!r}: expected ADDRESS:PORT, such as 127.0.0.1:1053") from None
    if not address.is_loopback and not remote:
        raise NotLoopback(f"server {text}: not this machine; a load on another needs --remote and its owner's leave")
    return str(address), number


class Driver:
    """Runs queries against one server. `stop` may be called from another thread."""

    def __init__(
        self,
        server: tuple[str, int],
        expected: Expectation | None = None,
        timeout: float = TIMEOUT_S,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.server, self.timeout, self.tally = server, timeout, Tally(timeout=timeout)
        self._expected, self._on_outcome = expected or Expectation(), on_outcome
        self._sockets: dict[str, socket.socket] = {}
        self._in_flight: dict[tuple[int, int], tuple[float, Query]] = {}  # (socket, id), oldest first
        self._poll = select.epoll()
        self._by_number: dict[int, socket.socket] = {}
        self._next_id = 0
        self._stopping = False

    def stop(self) -> None:
        """End the run: nothing more is sent, what is on its way is awaited."""
        self._stopping = True

    def run(self, queries: Iterable[Query], seconds: float = math.inf) -> Tally:
        """Send all queries at their times, for `seconds` at most; return when all are accounted for. Ctrl-C ends the
        sending as `stop` does; a second one raises."""
        try:
            with suppress(KeyboardInterrupt):
                self._send_all(self._until(queries, seconds))
            while self._in_flight:
                self._receive(POLL_S)
        finally:
            self._close()
        return self.tally

    def _send_all(self, queries: Iterable[Query]) -> None:
        start = time.monotonic()
        for query in queries:
            while (wait := start + query.time - time.monotonic()) > 0 and not self._stopping:
                self._receive(min(wait, POLL_S))
            if self._stopping:
                break
            self.tally.late = -wait
            self.tally.behind = max(self.tally.behind, -wait)
            self._send(query)
            self.tally.seconds = time.monotonic() - start
            if self.tally.sent % BURST == 0:
                if wait < -BURST_S:
                    time.sleep(BURST_S)
                self._receive(0)

    def _until(self, queries: Iterable[Query], seconds: float) -> Iterator[Query]:
        for query in queries:
            if query.time >= seconds:
                return
            yield query

    def _send(self, query: Query) -> None:
        sock = self._socket(query.client)
        self._next_id = (self._next_id + 1) & 0xFFFF
        key = (sock.fileno(), self._next_id)
        if key in self._in_flight:  # 65,536 on their way: the oldest is given up
            self._give_up(key)
        self.tally.sent += 1
        self._in_flight[key] = (time.monotonic(), query)
        message = dnswire.query(self._next_id, query.qname, query.qtype)
        try:
            try:
                sock.send(message)
            except ConnectionRefusedError:  # what became of an earlier query; this one was not sent
                sock.send(message)
        except OSError:  # the port is closed, or the buffer full: no reply will come
            pass

    def _receive(self, wait: float) -> None:
        for number, _ in self._poll.poll(wait):
            sock = self._by_number[number]
            while True:
                try:
                    data = sock.recv(4096)
                except BlockingIOError:
                    break
                except OSError:  # port unreachable: the query stays unanswered and times out
                    continue
                self._take(number, data)
        now = time.monotonic()
        while self._in_flight:
            key = next(iter(self._in_flight))
            if self._in_flight[key][0] + self.timeout > now:
                return
            self._give_up(key)

    def _take(self, number: int, data: bytes) -> None:
        try:
            reply = dnswire.parse_reply(data)
        except dnswire.BadMessage:
            self.tally.strays += 1
            return
        found = self._in_flight.pop((number, reply.id), None)
        if found is None:
            self.tally.strays += 1
            return
        sent, query = found
        self._account(Outcome(sent, query, time.monotonic() - sent, reply, problem(query, reply, self._expected)))

    def _give_up(self, key: tuple[int, int]) -> None:
        sent, query = self._in_flight.pop(key)
        self._account(Outcome(sent, query, math.nan, None, problem(query, None, self._expected)))

    def _account(self, outcome: Outcome) -> None:
        self.tally.add(outcome)
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def _socket(self, client: str) -> socket.socket:
        source = source_address(client, self.server[0])
        if source not in self._sockets and len(self._sockets) >= MAX_SOCKETS:
            source = list(self._sockets)[crc32(source.encode()) % MAX_SOCKETS]
        if source not in self._sockets:
            sock = socket.socket(socket.AF_INET6 if ":" in self.server[0] else socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            if source:
                sock.bind((source, 0))
            sock.connect(self.server)
            self._sockets[source] = self._by_number[sock.fileno()] = sock
            self._poll.register(sock.fileno(), select.EPOLLIN)
        return self._sockets[source]

    def _close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._poll.close()


def source_address(client: str, server: str) -> str:
    """The loopback address from which a client's queries are sent; empty (any) where the server is elsewhere.

    10.x.y.z becomes 127.(x+1).y.z; other clients all share one.
    """
    if not server.startswith("127."):
        return ""
    octets = client.split(".")
    if len(octets) != 4 or octets[0] != "10" or octets[1] == "255":
        return "127.0.0.2"
    return f"127.{int(octets[1]) + 1}.{octets[2]}.{octets[3]}"
