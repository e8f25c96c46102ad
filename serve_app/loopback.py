"""Keeps everything that Ray and Ray Serve listen at on loopback, for a cluster of one machine.

Ray takes 127.0.0.1 for this node's address, and listens there, only where it is told that there are no other nodes.
That leaves two servers: a replica takes its handle calls at `[::]`, and HAProxy's questions where HAProxy itself
listens. Ray runs `bind` in each worker process before the replica's own code, because a variable of `ALONE` names it;
behind HAProxy another one, which calls `behind_haproxy` too.
"""

from types import ModuleType
from typing import Any

from serve_app.at_import import at_import
from serve_app.local.options import LOOPBACK

HOOK = "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"  # names a function that Ray runs first in each worker process
ALONE = {  # environment variables, to be set before Ray is imported
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    HOOK: "serve_app.loopback.bind",
}


def bind() -> None:
    """Let this process's gRPC servers listen on loopback where they would listen everywhere."""
    from ray._common import tls_utils

    add_port = tls_utils.add_port_to_grpc_server

    def add_loopback_port(server: Any, address: str) -> Any:
        return add_port(server, address.replace("[::]:", f"{LOOPBACK}:"))

    tls_utils.add_port_to_grpc_server = add_loopback_port


def behind_haproxy() -> None:
    """Let the HTTP servers of this process, a replica's or Serve's own proxy, listen on loopback, wherever HAProxy
    does. There it asks them: at any other address it would find nobody, and at all of them others would pass it by."""
    at_import("ray.serve._private.http_util", _mend)


def _mend(module: ModuleType) -> None:
    start = module.start_asgi_http_server

    async def start_on_loopback(app: Any, http_options: Any, **more: Any) -> Any:
        return await start(app, http_options.model_copy(update={"host": LOOPBACK}), **more)

    module.start_asgi_http_server = start_on_loopback  # type: ignore[attr-defined]
