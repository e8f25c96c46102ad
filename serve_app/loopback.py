"""Keeps everything that Ray and Ray Serve listen at on loopback, for a cluster of one machine.

Ray takes 127.0.0.1 for this node's address, and listens there, only where it is told that there are no other nodes.
That leaves one server: a replica takes its handle calls at `[::]`. Ray runs `bind` in each worker process before
the replica's own code, because a variable of `ALONE` names it.
"""

from typing import Any

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
        return add_port(server, address.replace("[::]:", "127.0.0.1:"))

    tls_utils.add_port_to_grpc_server = add_loopback_port
