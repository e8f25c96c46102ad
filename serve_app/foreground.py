"""`verdict serve`: the cluster in the foreground, from a configuration file."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from serve_app.cluster import SERVE_YAML, NotDeployed, configuration, deploy, start, stop
from serve_app.environment import BadEnvironment, Ingress
from serve_app.settings import BadSettings


class Refused(RuntimeError):
    """A configuration that cannot run; the message names the key."""


class _Stop(BaseException):
    pass


def serve_until_stopped(path: Path | None, port: int | None, folder: Path) -> None:
    """Run until SIGINT or SIGTERM. Raises `Refused`."""
    found = checked(path or SERVE_YAML, port)
    try:
        ingress = Ingress(folder, tls="ssl_certfile" in found["http_options"])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _raise_stop)
        try:
            start(ingress)
            deploy(found)
            options = found["http_options"]
            print(f"verdict serves at {options['host']}:{options['port']}; Ctrl-C stops it", flush=True)
            while True:
                signal.pause()
        except _Stop:
            pass
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            stop(ingress)
    except (BadEnvironment, NotDeployed, OSError, ValueError) as error:
        raise Refused(str(error)) from error


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


def _raise_stop(number: int, frame: FrameType | None) -> None:
    raise _Stop
