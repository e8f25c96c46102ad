"""Keeps the one server of Ray Serve that listens on every interface on loopback.

A replica takes its handle calls at `[::]`, any port. Ray runs `bind` in each worker process before the replica's
own code, because `HOOK` is set where Ray starts.
"""

from typing import Any

HOOK = {"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": "serve_app.loopback.bind"}


def bind() -> None:
    """Let this process's gRPC servers listen on loopback where they would listen everywhere."""
    from ray._common import tls_utils

    add_port = tls_utils.add_port_to_grpc_server

    def add_loopback_port(server: Any, address: str) -> Any:
        return add_port(server, address.replace("[::]:", "127.0.0.1:"))

    tls_utils.add_port_to_grpc_server = add_loopback_port
