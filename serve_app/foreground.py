"""`verdict serve`: the cluster in the foreground, from a configuration file."""

import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml

from serve_app.cluster import (
    DRAIN_S,
    NotDeployed,
    deploy,
    set_variables,
    start,
    stop,
    without_rays_handler,
)
from serve_app.configuration import SERVE_YAML, check_values, configuration, haproxy_limits
from serve_app.environment import PORT_BLOCK, BadEnvironment, apart, end_haproxy, private
from serve_app.existing import ADDRESS, LOOK_EVERY_S, joined
from serve_app.local import ports
from serve_app.patience import TooBusy, afresh
from serve_app.places import check_places
from serve_app.settings import BadSettings, settings_of
from verdicts.locks import held
from verdicts.store import Misconfigured, Unavailable, open_store
from verdicts.tokens import KIND


class Refused(RuntimeError):
    """A configuration that cannot run; the message names the key."""


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last where its terminal is closed


class _Stop(BaseException):
    pass


def serve_until_stopped(path: Path | None, port: int | None, folder: Path, metrics_port: int = 0) -> None:
    """Run until a signal of SIGNALS, on the Ray cluster of RAY_ADDRESS or else one of its own. Raises `Refused`."""
    path = path or SERVE_YAML
    found = checked(path, port)
    address = os.environ.get(ADDRESS, "")
    if address and metrics_port:
        raise Refused(f"--metrics-port and {ADDRESS}: expected ray start --metrics-export-port, where that Ray starts")
    try:
        _listen(_raise_stop)
        with (
            afresh(),
            suppress(_Stop),
            member(found, address) if address else alone(found, folder, metrics_port) as look,
        ):
            try:
                with unbroken() as go_on:
                    deploy(found, report=lambda states: go_on())
                options = found["http_options"]
                print(f"verdict serves at {options['host']}:{options['port']}; Ctrl-C stops it", flush=True)
                if hint := without_token(settings_of(found["applications"][0]["args"]).store_url):
                    print(hint, flush=True)
                _wait(look)
            finally:
                _listen(_let_end)
    except BadSettings as error:
        raise Refused(f"{path}: {error}") from error
    except (BadEnvironment, NotDeployed, ports.PortBusy, TooBusy, OSError, ValueError) as error:
        raise Refused(str(error)) from error


def _wait(look: Callable[[], None] | None) -> NoReturn:
    """Until a signal, with a look at the cluster now and then where there is one to look at."""
    while True:
        if look is None:
            signal.pause()
            continue
        time.sleep(LOOK_EVERY_S)
        with unbroken():
            look()


def without_token(url: str) -> str:
    """What to do about an SQLite store that holds no token: nobody who asks is let in, and the first one cannot be
    issued while the cluster writes to the store. Elsewhere it can, and a store that is away would be waited for."""
    if not url.startswith("sqlite:"):
        return ""
    try:
        with closing(open_store(url)) as store:
            if next(iter(store.scan(KIND)), None) is not None:
                return ""
    except (Unavailable, Misconfigured, OSError):
        return ""  # /readyz and the log of the verdict log tell of it
    return (
        "There is no token yet, so that everybody is refused (401). Stop this, issue the first one, and start again:\n"
        f"  verdict tokens --store {url} issue --role admin --name NAME"
    )


@contextmanager
def unbroken() -> Iterator[Callable[[], None]]:
    """Ray at work: a signal waits for its handler until the block is over, or until the call of what it is given.

    An exception that a signal's handler raises in the middle of Ray's compiled code becomes another one there, or the
    end of this process. A second signal is taken at its word. Imports Ray, see `set_variables`.
    """
    asked: list[signal.Signals] = []
    heard = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    former = {number: signal.getsignal(number) for number in heard}

    def note(number: int, frame: FrameType | None) -> None:
        go_on()
        asked.append(signal.Signals(number))
        with suppress(OSError):  # the terminal is closed
            os.write(2, b"Stopping once Ray has done what it is at; a second time stops at once.\n")

    def go_on() -> None:
        if asked and callable(handler := former[asked[0]]):
            handler(asked[0], None)

    with without_rays_handler():
        for number, handler in former.items():
            if callable(handler):
                signal.signal(number, note)
        try:
            yield go_on
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
            go_on()  # also where Ray failed meanwhile: it would be tried again


@contextmanager
def member(found: Mapping[str, Any], address: str) -> Iterator[Callable[[], None]]:
    """The Ray cluster that is there already; given is what looks at the nodes that joined later."""
    check_values(found)
    names = [application.get("name", "default") for application in found["applications"]]  # Serve's own, said
    with ExitStack() as there:
        with unbroken():
            look = there.enter_context(joined(address, names, found["http_options"], haproxy_limits(found)))
        yield look


@contextmanager
def alone(found: Mapping[str, Any], folder: Path, metrics_port: int) -> Iterator[None]:
    """A cluster of its own, on this machine; all that it needs is asked for before anything starts."""
    options = found["http_options"]
    # A second one would end the first one's HAProxy.
    busy = Refused(f"another `verdict serve` runs from {folder}: stop it, or name another with --run")
    with held(private(folder) / "lock", busy):
        ingress = apart(
            folder,
            ports.free_block(PORT_BLOCK),
            **haproxy_limits(found),
            tls=bool(options.get("ssl_certfile")),
            metrics_port=metrics_port,
        )
        end_haproxy(folder)  # of one that was killed, which would hold the port
        set_variables(ingress)
        check_values(found)
        check_host(options)
        check_tls(options)
        ports.check(wanted(options, metrics_port))
        check_places(settings_of(found["applications"][0]["args"]))
        try:
            with unbroken():
                start(ingress)
            yield
        finally:
            _listen(_let_end)
            stop(ingress, DRAIN_S)


def wanted(options: Mapping[str, Any], metrics_port: int) -> list[ports.Wanted]:
    """The ports of a cluster with these `http_options`."""
    found = [ports.Wanted(options["port"], "the cluster's HTTP", "--port or http_options", host=options["host"])]
    return found + [ports.Wanted(metrics_port, "metrics", "--metrics-port")] * bool(metrics_port)


def check_host(options: Mapping[str, Any]) -> None:
    """Raise `BadSettings` for the one host at which HAProxy would listen elsewhere, and say nothing."""
    if options["host"] == "::" and not options.get("ssl_certfile"):
        raise BadSettings(
            "http_options: host '::': expected one address of this machine, or 0.0.0.0, which HAProxy takes it for"
        )


def check_tls(options: Mapping[str, Any]) -> None:
    """Raise `BadSettings` where the files of TLS cannot be used; Serve would try them again and again."""
    files = {key: options.get(key) for key in ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")}
    given = {key: file for key, file in files.items() if file}
    for key, file in given.items():
        if not os.access(file, os.R_OK) or not Path(file).is_file():
            raise BadSettings(f"http_options: {key} {file!r}: expected a file that this user can read")
    if not given:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        password = options.get("ssl_keyfile_password") or ""  # else OpenSSL would ask the terminal
        context.load_cert_chain(files["ssl_certfile"], files["ssl_keyfile"], password)  # type: ignore[arg-type]
        if files["ssl_ca_certs"]:
            context.load_verify_locations(files["ssl_ca_certs"])
    except ssl.SSLError as error:
        said = ", ".join(f"{key} {file!r}" for key, file in given.items())
        raise BadSettings(f"http_options: {said}: expected a certificate, its key and authorities: {error}") from error


def checked(path: Path, port: int | None) -> dict[str, Any]:
    """The configuration in a file. Raises `Refused`."""
    try:
        return configuration(port=port, path=path)
    except BadSettings as error:
        raise Refused(f"{path}: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: {' '.join(str(error).split())}") from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise Refused(f"{path}: expected http_options and applications, as in {SERVE_YAML}") from error


def _listen(handler: Any) -> None:
    for number in SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # started by nohup: to outlive its terminal is what it is for
        signal.signal(number, handler)


def _let_end(number: int, frame: FrameType | None) -> None:
    """No signal counts while it ends. They are not ignored as such: where it becomes itself anew (`patience.afresh`)
    that would last."""


def _raise_stop(number: int, frame: FrameType | None) -> None:
    raise _Stop
