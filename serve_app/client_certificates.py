"""Mutual TLS: where `ssl_ca_certs` is set, a client without a certificate of these authorities is not let in.

Ray Serve hands `ssl_ca_certs` to uvicorn, which then still asks nobody for a certificate: it looks like mutual TLS and
is none. Ray runs `require` in each worker process, the proxy's too, before the code that starts a server, where the
variable `loopback.HOOK` names it; on a cluster of one machine `require_alone`.
"""

import ssl
from typing import Any

from serve_app.loopback import HOOK, bind

ALONE = {HOOK: "serve_app.client_certificates.require_alone"}


def require_alone() -> None:
    """`require`, on loopback."""
    bind()
    require()


def require() -> None:
    """Let each HTTPS server of this process that knows authorities insist on a certificate of theirs."""
    import uvicorn

    configuration: Any = uvicorn.Config
    begin = configuration.__init__

    def begin_strictly(config: Any, *arguments: Any, **options: Any) -> None:
        if options.get("ssl_ca_certs"):
            options["ssl_cert_reqs"] = ssl.CERT_REQUIRED
        begin(config, *arguments, **options)

    configuration.__init__ = begin_strictly
