"""`verdict serve`: the cluster in the foreground, from a configuration file."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from serve_app.cluster import SERVE_YAML, NotDeployed, configuration, deploy, ingress_requests, start, stop
from serve_app.environment import BadEnvironment, Ingress
from serve_app.existing import ADDRESS, joined
from serve_app.patience import TooBusy, afresh
from serve_app.settings import BadSettings


class Refused(RuntimeError):
    """A configuration that cannot run; the message names the key."""


class _Stop(BaseException):
    pass


def serve_until_stopped(path: Path | None, port: int | None, folder: Path, metrics_port: int = 0) -> None:
    """Run until SIGINT or SIGTERM, on the Ray cluster of RAY_ADDRESS or else one of its own. Raises `Refused`."""
    found = checked(path or SERVE_YAML, port)
    address = os.environ.get(ADDRESS, "")
    if address and metrics_port:
        raise Refused(f"--metrics-port and {ADDRESS}: expected ray start --metrics-export-port, where that Ray starts")
    tls = bool(found["http_options"].get("ssl_certfile"))
    ingress = Ingress(folder, max_requests=ingress_requests(found), tls=tls, metrics_port=metrics_port)
    names = [application["name"] for application in found["applications"]]
    try:
        _listen(_raise_stop)
        with afresh(), suppress(_Stop), joined(address, names, found["http_options"]) if address else alone(ingress):
            try:
                _listen(_raise_stop)  # Ray has set its own
                deploy(found)
                options = found["http_options"]
                print(f"verdict serves at {options['host']}:{options['port']}; Ctrl-C stops it", flush=True)
                while True:
                    signal.pause()
            finally:
                _listen(signal.SIG_IGN)
    except (BadEnvironment, NotDeployed, TooBusy, OSError, ValueError) as error:
        raise Refused(str(error)) from error


@contextmanager
def alone(ingress: Ingress) -> Iterator[None]:
    """A cluster of its own, on this machine."""
    try:
        start(ingress)
        yield
    finally:
        _listen(signal.SIG_IGN)
        stop(ingress)


def checked(path: Path, port: int | None) -> dict[str, Any]:
    """The configuration in a file. Raises `Refused`."""
    try:
        return configuration(port=port, path=path)
    except BadSettings as error:
        raise Refused(f"{path}: {error}") from error
    except yaml.YAMLError as error:
        raise Refused(f"{path}: {' '.join(str(error).split())}") from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise Refused(f"{path}: expected http_options and applications, as in {SERVE_YAML}") from error


def _listen(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _raise_stop(number: int, frame: FrameType | None) -> None:
    raise _Stop
