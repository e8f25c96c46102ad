"""`verdict serve`: the cluster in the foreground, from a configuration file."""

import signal
from pathlib import Path
from types import FrameType

from serve_app.cluster import SERVE_YAML, NotDeployed, configuration, deploy, start, stop
from serve_app.environment import BadEnvironment, Ingress
from serve_app.settings import BadSettings


class Refused(RuntimeError):
    """A configuration that cannot run; the message names the key."""


class _Stop(BaseException):
    pass


def serve_until_stopped(path: Path | None, port: int | None, folder: Path) -> None:
    """Run until SIGINT or SIGTERM. Raises `Refused`."""
    try:
        found = configuration(port=port, path=path or SERVE_YAML)
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
    except (BadEnvironment, BadSettings, NotDeployed, OSError) as error:
        raise Refused(str(error)) from error


def _raise_stop(number: int, frame: FrameType | None) -> None:
    raise _Stop
