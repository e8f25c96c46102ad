"""What stands around the plugin in its benchmarks, in one event loop: a cluster, an upstream resolver, a client.

The cluster answers each frame after a fixed delay, calls every name benign, and can be killed and revived on its
port. The upstream answers every query with one address after a delay of its own. Both count what they are asked.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Sequence

from verdicts.dnswire import parse_question, parse_reply, query

VERDICT = (
    '{"label":"benign","tier":"none","action":"passthru","cache_ttl":86400,"source":"model",'
    '"score":0.1,"generated":0.1}'
)
HEAD = '{"epoch":1,"generation":"bench","model":"stub","verdicts":['
ACKNOWLEDGED = b'{"epoch":1,"generation":"bench"}'
CLIENT_TIMEOUT_S = 5.0
ANSWER = bytes.fromhex("c00c00010001000000000004c0000201")  # the question's name A 192.0.2.1, TTL set below


class StubCluster:
    """`POST /v1/verdicts` after `delay` seconds, `POST /v1/observations` at once."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.asked: Counter[str] = Counter()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def kill(self) -> None:
        """Refuse connections from now on and reset those that are open."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].split("\r\n")[0] or 0)
                body = await reader.readexactly(length)
                reply = await self._judge(body) if "/v1/verdicts" in head else ACKNOWLEDGED
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _judge(self, body: bytes) -> bytes:
        names = json.loads(body)["names"]
        self.asked.update(names)
        await asyncio.sleep(self.delay)
        return (HEAD + ",".join([VERDICT] * len(names)) + "]}").encode()


class Upstream(asyncio.DatagramProtocol):
    """Answers every query with 192.0.2.1 after `delay` seconds; `ttl` is the answer's."""

    def __init__(self, delay: float, ttl: int = 60) -> None:
        self.delay = delay
        self.asked = 0
        self.port = 0
        self._answer = ANSWER[:6] + ttl.to_bytes(4, "big") + ANSWER[10:]
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        end = 12
        while data[end]:
            end += 1 + data[end]
        reply = data[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + data[12 : end + 5] + self._answer
        asyncio.get_running_loop().call_later(self.delay, self._send, reply, addr)

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Client(asyncio.DatagramProtocol):
    """Sends queries at their time and notes how long each took, in seconds; None for one that failed."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, str], asyncio.Future[str]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def connect(self, port: int) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, remote_addr=("127.0.0.1", port)
        )
        self._transport = transport

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: object) -> None:
        question = parse_question(data)
        future = self._waiting.pop((question.id, question.qname), None)
        if future is not None and not future.done():
            future.set_result(parse_reply(data).rcode)

    async def ask(self, number: int, qname: str) -> float | None:
        """The latency of one query; None for no answer or an rcode other than NOERROR."""
        assert self._transport is not None
        key = (number & 0xFFFF, qname)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        began = time.perf_counter()
        self._transport.sendto(query(number, qname, "A"))
        with contextlib.suppress(TimeoutError):
            if await asyncio.wait_for(future, CLIENT_TIMEOUT_S) == "NOERROR":
                return time.perf_counter() - began
        self._waiting.pop(key, None)
        return None

    async def at_rate(self, names: Sequence[str], rate: float) -> list[float | None]:
        """Ask for each name, `rate` a second, whether or not the ones before were answered (an open loop)."""
        began = time.perf_counter()
        asked = []
        for number, name in enumerate(names):
            pause = began + number / rate - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            asked.append(asyncio.create_task(self.ask(number, name)))
        return list(await asyncio.gather(*asked))
