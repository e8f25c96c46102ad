"""A TCP proxy that misbehaves on command: it stands between two parts and does what broken networks and peers do.

Runs on a thread of its own, on loopback; `set` changes its behaviour for the bytes that come from then on, `sever`
resets every open connection. Standard library only.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["pass", "slow", "silent", "refuse", "reset", "cut", "corrupt", "answer"]
MODES: tuple[Mode, ...] = ("pass", "slow", "silent", "refuse", "reset", "cut", "corrupt", "answer")
CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST


@dataclass(frozen=True)
class Behaviour:
    """What the proxy does.

    `pass`: nothing. `slow`: replies wait `delay` seconds. `silent`: connections stay open, nothing passes (half-open).
    `refuse`: nothing listens. `reset`: connections end with RST. `cut`: half of a reply body, then the end. `corrupt`:
    replies with octets changed. `answer`: every request whose path begins with `path` gets `reply` (octets of a
    whole HTTP response), the others pass.
    """

    mode: Mode = "pass"
    delay: float = 0.0
    reply: bytes = b""
    path: bytes = b"/"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r}: expected one of {', '.join(MODES)}")


def http_reply(status: int, body: bytes) -> bytes:
    """A whole HTTP response, for `answer`."""
    head = f"HTTP/1.1 {status} Chaos\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class FaultProxy:
    """A proxy to `target`, listening on `port` of 127.0.0.1 from `__enter__` to `__exit__`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.behaviour = Behaviour()
        self.connections = 0  # accepted since the start
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._shut())
        self._call(self._reset_all())
        self._call(asyncio.sleep(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, behaviour: Behaviour) -> None:
        """Behave so from now on. `refuse` and `reset` also end what is open."""
        self._call(self._set(behaviour))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _set(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        if behaviour.mode == "refuse":
            await self._shut()
        elif self._server is None:
            await self._listen()
        if behaviour.mode in ("refuse", "reset"):
            await self._reset_all()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.behaviour.mode in ("reset", "refuse"):
            _reset(writer)
            return
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            back, upstream = await asyncio.open_connection(*self.target)
            self._open.add(upstream)
            ways = [self._requests(reader, upstream, writer), self._replies(back, writer)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except OSError:  # the target is down: the caller sees its connection end
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._open.discard(end)
                    with contextlib.suppress(OSError, RuntimeError):
                        end.close()

    async def _requests(
        self, reader: asyncio.StreamReader, up: asyncio.StreamWriter, down: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK):
            match self.behaviour.mode:
                case "silent":
                    await self._while_silent()
                    return  # what was swallowed cannot be given back in order
                case "answer":
                    if data.startswith((b"GET ", b"POST ")):  # a request's head; what follows is its body
                        answering = data.split(b" ", 2)[1].startswith(self.behaviour.path)
                        if answering:
                            down.write(self.behaviour.reply)
                            await down.drain()
                    if answering:
                        continue
            up.write(data)
            await up.drain()

    async def _replies(self, back: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        while data := await back.read(CHUNK):
            match self.behaviour.mode:
                case "slow":
                    await asyncio.sleep(self.behaviour.delay)
                case "silent":
                    await self._while_silent()
                    return
                case "cut" if not data.endswith(b"\r\n\r\n"):  # a head alone passes: the cut is in the body
                    down.write(data[: -max(1, len(data.rpartition(b"\r\n\r\n")[2]) // 2)])
                    await down.drain()
                    return
                case "corrupt":
                    data = corrupted(data)
            down.write(data)
            await down.drain()

    async def _while_silent(self) -> None:
        while self.behaviour.mode == "silent":
            await asyncio.sleep(0.05)


def corrupted(data: bytes) -> bytes:
    """The data with every 7th octet of the HTTP body changed; the head stays, so that the damage arrives."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        head, body = b"", data
    return head + separator + bytes(octet ^ 0x15 if i % 7 == 3 else octet for i, octet in enumerate(body))


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
