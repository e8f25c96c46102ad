"""Frames over HTTP as fast as they are answered: a closed loop on some connections, cheap enough to measure beside."""

import re
import selectors
import socket
import time
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from loadtest.stats import quantile

TIMEOUT_S = 30.0
LOST_S = 10.0
LATE_S = 2.0  # what an answer may take beyond its budget before `patience` calls it lost: a busy machine's way back


@dataclass
class Outcome:
    """What a run found. `latencies` in seconds, of answers with status 200, ascending after the run.

    A question whose answer came late is not lost, whatever its status; one that was asked shortly before the end and
    has no answer yet is in no figure.
    """

    seconds: float
    names: int  # in frames answered with status 200
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)  # seconds until a 429 or 503, ascending after the run
    unguided: int = 0  # of these without Retry-After
    broken: int = 0  # questions whose connection ended before the whole answer was there
    unanswered: int = 0  # questions that were open for `lost_s` and more at the end
    lost_s: float = LOST_S  # seconds

    @property
    def lost(self) -> int:
        """Questions that will have no answer."""
        return self.broken + self.unanswered

    def account(self) -> str:
        """The answers by status, and what was lost how, as words for an error."""
        told = ", ".join(f"{count} answers {status}" for status, count in sorted(self.statuses.items()))
        lost = f"{self.broken} connections broken, {self.unanswered} questions open for {self.lost_s:g} s and more"
        return f"{told or 'no answer'}; {lost}"

    @property
    def names_a_second(self) -> float:
        return self.names / self.seconds

    def latency(self, q: float) -> float:
        """A quantile of the latencies, in seconds."""
        return quantile(self.latencies, q)


class _Connection:
    """One connection with at most one question open."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked = 0.0
        self.buffer = bytearray()
        self.expected = 0  # octets of the whole answer; 0 until its head is in
        self.last = False  # the server said that it closes after this answer

    def ask(self, request: bytes) -> None:
        self.buffer.clear()
        self.expected = 0
        self.asked = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Read what is there; the status once the answer is whole. Raises `ConnectionError`."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError("closed by the server")
        self.buffer += data
        if not self.expected:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = bytes(self.buffer[:end]).lower()
            self.expected = end + 4 + _content_length(head)
            self.last = b"\r\nconnection: close" in head
        return int(self.buffer[9:12]) if len(self.buffer) >= self.expected else None


def requests(
    frames: Sequence[bytes], path: str = "/v1/verdicts", token: str = "", budget_ms: int | None = None
) -> list[bytes]:
    """Whole HTTP requests, one a frame body."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if budget_ms is not None:
        head += f"Verdict-Budget-Ms: {budget_ms}\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in frames]


def patience(budget_ms: int) -> float:
    """The `lost_s` of callers with this budget: the cluster answers within it, with a 504 at the latest."""
    return budget_ms / 1000 + LATE_S


def steady(seconds: float) -> float:
    """The `lost_s` of a run whose answers are to come at once: half of it, but longer than a pause of the machine."""
    return max(LATE_S, seconds / 2)


def closed_loop(
    address: tuple[str, int],
    asked: Sequence[bytes],
    names: int,
    connections: int,
    seconds: float,
    pause: float | None = 0.0,
    lost_s: float = LOST_S,
) -> Outcome:
    """Ask on each connection, again as soon as the answer is in, in turn from `asked` (frames of `names` names).

    A refusal (429, 503) is followed by a `pause` of seconds; None: of as many as its Retry-After asks for, as the
    plugin does. A question that is open for `lost_s` seconds and more at the end is lost; it holds its connection until
    then, so in a run of fewer seconds than that nothing is lost but by a connection that breaks. Raises `OSError` where
    nobody listens.
    """
    source = _forever(asked)
    outcome = Outcome(0.0, 0, lost_s=lost_s)
    waiting: list[tuple[float, _Connection]] = []
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            _open(selector, address).ask(next(source))
        began = time.perf_counter()
        end = began + seconds
        while (now := time.perf_counter()) < end:
            while waiting and waiting[0][0] <= now:
                waiting.pop(0)[1].ask(next(source))
            for key, _ in selector.select(max(0.0, min(end, waiting[0][0] if waiting else end) - now)):
                connection: _Connection = key.data
                try:
                    status = connection.receive()
                except ConnectionError:
                    outcome.broken += 1
                    _renewed(selector, connection, address).ask(next(source))
                    continue
                if status is None:
                    continue
                now = time.perf_counter()
                outcome.statuses[status] += 1
                if status == 200:
                    outcome.names += names
                    outcome.latencies.append(now - connection.asked)
                if status in (429, 503):
                    outcome.refusals.append(now - connection.asked)
                    outcome.unguided += (told := _retry_after(connection.buffer)) is None
                    wait = (told or 0.0) if pause is None else pause
                if connection.last:
                    connection = _renewed(selector, connection, address)
                if status in (429, 503) and wait:
                    insort(waiting, (now + wait, connection), key=itemgetter(0))
                else:
                    connection.ask(next(source))
        ended = time.perf_counter()
        outcome.seconds = ended - began
        resting = {connection for _, connection in waiting}  # refused, and not to ask yet
        for key in list(selector.get_map().values()):
            outcome.unanswered += key.data not in resting and ended - key.data.asked >= lost_s
            key.data.socket.close()
    outcome.latencies.sort()
    outcome.refusals.sort()
    return outcome


def _open(selector: selectors.BaseSelector, address: tuple[str, int]) -> _Connection:
    connection = _Connection(address)
    selector.register(connection.socket, selectors.EVENT_READ, connection)
    return connection


def _renewed(selector: selectors.BaseSelector, former: _Connection, address: tuple[str, int]) -> _Connection:
    selector.unregister(former.socket)
    former.socket.close()
    return _open(selector, address)


def _forever(asked: Sequence[bytes]) -> Iterator[bytes]:
    while True:
        yield from asked


def _retry_after(answer: bytearray) -> float | None:
    """Seconds, of an answer that says them."""
    found = re.search(rb"\r\nretry-after: *(\d+)\r\n", answer.partition(b"\r\n\r\n")[0].lower() + b"\r\n")
    return None if found is None else float(found[1])


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise ValueError(f"no Content-Length in {head[:80]!r}")
