"""What Serve's own HTTPS server lacks: mutual TLS, and an end to callers who stall before their headers are whole.

Ray Serve hands `ssl_ca_certs` to uvicorn, which then still asks nobody for a certificate: it looks like mutual TLS and
is none. And uvicorn waits for headers for ever. Ray runs `harden` in each worker process, the proxy's too, before the
code that starts a server, where the variable `loopback.HOOK` names it; on a cluster of one machine `harden_alone`.
"""

import asyncio
import ssl
from typing import Any

from serve_app.haproxy import HEADERS_S
from serve_app.loopback import HOOK, bind

EVERYWHERE = "serve_app.https.harden"
ALONE = {HOOK: "serve_app.https.harden_alone"}


def harden_alone() -> None:
    """`harden`, on loopback."""
    bind()
    harden()


def harden(headers_s: float = HEADERS_S) -> None:
    """Let each HTTPS server of this process end a connection whose headers are not whole after that many seconds, and,
    where it knows authorities, insist on a certificate of theirs."""
    import uvicorn

    protocol = _in_time(headers_s)
    configuration: Any = uvicorn.Config
    begin = configuration.__init__

    def begin_strictly(config: Any, *arguments: Any, **options: Any) -> None:
        if options.get("ssl_certfile"):
            options["http"] = protocol
        if options.get("ssl_ca_certs"):
            options["ssl_cert_reqs"] = ssl.CERT_REQUIRED
        begin(config, *arguments, **options)

    configuration.__init__ = begin_strictly


def _in_time(headers_s: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which waits that long for a request's headers: from its first octet, or from the connection's
    begin. Between two requests its own `timeout_keep_alive` counts."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class InTime(HttpToolsProtocol):
        late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.late is None and (self.cycle is None or self.cycle.response_complete):
                self._wait()

        def on_headers_complete(self) -> None:
            self._whole()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._whole()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self.late = self.loop.call_later(headers_s, self.transport.abort)

        def _whole(self) -> None:
            if self.late is not None:
                self.late.cancel()
                self.late = None

    return InTime
