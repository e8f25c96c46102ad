"""The cluster of one machine: Ray and Serve started in this process with our environment, and ended without a trace."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from serve_app import haproxy_revival, https, patience
from serve_app.environment import BadEnvironment, Ingress, end_haproxy, variables
from serve_app.loopback import ALONE
from verdicts.open_files import WHERE, let_open

LEAST_FILES = 10_500  # open at one time: HAProxy, by Ray's configuration, ends without
OPEN_FILES = 65_536
LOGICAL_CPUS = 4  # at least: the deployments' shares must fit on a machine of one core too, and a training beside them
SESSIONS = 9  # of Ray before, whose logs are kept
FAILED = ("DEPLOY_FAILED", "UNHEALTHY")
DRAIN_S = 35.0  # the longest `graceful_shutdown_timeout_s` of serve.yaml, and a little


class NotDeployed(RuntimeError):
    """The application did not come up; the message is one line: which deployment, and what its replica said last."""


def set_variables(ingress: Ingress) -> None:
    """Set the variables of Ray, whose modules read them when they are imported: before any of them is."""
    hook = https.ALONE if ingress.tls else haproxy_revival.ALONE
    os.environ.update(variables(ingress) | ALONE | hook | patience.VARIABLES)


def check_files() -> None:
    """Let this process and what it starts have the files they need. Raises `BadEnvironment` where it may not."""
    most = let_open(OPEN_FILES)
    if most < LEAST_FILES:
        raise BadEnvironment(f"open files: {most} at most, expected {LEAST_FILES} or more for HAProxy: {WHERE}")


def start(ingress: Ingress, **ray_options: Any) -> None:
    """Start Ray in this process, on this machine alone. `ray_options` go to `ray.init`. Raises `patience.TooBusy` and
    `BadEnvironment`."""
    set_variables(ingress)
    check_files()
    import ray
    from ray._private.utils import get_num_cpus  # hears of a container's quota, which `os.cpu_count` does not

    patience.be_patient()
    options = {
        "address": "local",  # never that of RAY_ADDRESS, which the caller's shell may have for other work
        "num_cpus": max(LOGICAL_CPUS, int(get_num_cpus())),
        "include_dashboard": False,
        "log_to_driver": False,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(ingress.directory.absolute() / "r"),  # Ray opens it to everyone: it must lie in a private one
        **ray_options,
    }
    if ingress.metrics_port:
        options["_metrics_export_port"] = ingress.metrics_port
    forget_sessions(Path(options["_temp_dir"]))
    ours = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with without_rays_handler(), groups_of_their_own():
            ray.init(**options)
    except Exception as error:
        ray.shutdown()
        if patience.BUSY in str(error):
            raise patience.TooBusy(str(error)) from error
        raise
    if threading.current_thread() is threading.main_thread():
        for number, handler in ours.items():  # Ray's own prints a trace and aborts: nothing would be ended
            signal.signal(number, handler)


@contextmanager
def without_rays_handler() -> Iterator[None]:
    """While Ray starts it sets no handler of SIGTERM: that would leave its agents for a minute. Imports Ray, see
    `set_variables`."""
    from ray._private import utils

    theirs, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs


@contextmanager
def groups_of_their_own() -> Iterator[None]:
    """While Ray starts, its processes begin in process groups of their own: a signal to this process's whole group, as
    of `timeout` or a terminal, would end them before the drain. They end with this process all the same, for the kernel
    ends them. Imports Ray, see `set_variables`."""
    from ray._private import services

    theirs, services.ConsolePopen = services.ConsolePopen, partial(services.ConsolePopen, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = theirs


def forget_sessions(folder: Path) -> None:
    """Remove the oldest of Ray's sessions, which it names by their time, and of the folders of HAProxy beside this one,
    each named by a node that was: a service that starts again and again would fill the disk with them."""
    nodes = sorted(folder.parent.glob("[0-9a-f]" * 56), key=lambda path: path.stat().st_mtime)
    for old in sorted(folder.glob("session_2*"))[:-SESSIONS] + nodes[:-SESSIONS]:
        shutil.rmtree(old, ignore_errors=True)


def deploy(
    found: dict[str, Any],
    patience_s: float = 180.0,
    report: Callable[[dict[str, str]], None] = lambda states: None,
) -> None:
    """Deploy a configuration and wait until every application runs. `report` hears each deployment's state.

    Raises `NotDeployed` with Serve's reason.
    """
    from ray.exceptions import RayError
    from ray.serve._private.api import serve_start
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(found)
    try:
        client = serve_start(
            http_options=schema.http_options.model_dump(),
            proxy_location=schema.proxy_location,
            global_logging_config=schema.logging_config,
        )
    except RayError as error:  # a trace of many processes, whose last line says what it was
        raise NotDeployed(f"the proxy did not start: {str(error).strip().splitlines()[-1]}") from error
    client.deploy_apps(schema)
    wait_until_running([application.name for application in schema.applications], patience_s, report)


def wait_until_running(
    applications: list[str], patience_s: float, report: Callable[[dict[str, str]], None] = lambda states: None
) -> None:
    """Wait for the applications; raises `NotDeployed`."""
    from ray import serve

    end = time.monotonic() + patience_s
    while True:
        found = serve.status().applications
        states = {name: deployment for app in found.values() for name, deployment in app.deployments.items()}
        report({name: str(state.status.value) for name, state in states.items()})
        if all(name in found and found[name].status == "RUNNING" for name in applications):
            return
        failed = [name for name in applications if name in found and found[name].status in FAILED]
        if failed or time.monotonic() > end:
            raise NotDeployed(reason(found, f"no application within {patience_s:.0f} s"))
        time.sleep(0.2)


def reason(applications: dict[str, Any], otherwise: str) -> str:
    """Why these applications do not run, by Serve's status of each: what those say that failed, else all that have
    something to say."""
    states = {name: state for app in applications.values() for name, state in app.deployments.items()} | applications
    failed = {name: state for name, state in states.items() if state.status in FAILED and state.message}
    if len(failed) > 1:  # the application's own message names the deployment that failed, and not why
        failed = {name: state for name, state in failed.items() if name not in applications}
    said = [f"{name}: {last_words(state.message)}" for name, state in (failed or states).items() if state.message]
    return "; ".join(said) or otherwise


def last_words(message: str) -> str:
    """A message in one line; of a trace the error alone, which comes after the last of its indented lines."""
    lines = message.strip().splitlines()
    indented = [number for number, line in enumerate(lines) if line[:1].isspace()]
    return " ".join(" ".join(lines[indented[-1] + 1 if indented else 0 :] or lines).split())


def stop(ingress: Ingress, drain_s: float = 0.0) -> None:
    """End Ray with all it runs, and the HAProxy that outlives it; safe to call at any time.

    Before that the applications have `drain_s` to finish what they were asked and to end. What was acknowledged is on
    disk either way.
    """
    if "ray" not in sys.modules:
        return
    import ray

    try:
        if drain_s and ray.is_initialized():
            _drain(drain_s)
    except Exception as error:
        print(f"stopping the application: {error}", flush=True)
    finally:
        try:
            # Not serve.shutdown(): it waits half a minute for a controller that Ray is about to end anyway.
            ray.shutdown()
        finally:
            end_haproxy(ingress.directory)


def _drain(patience_s: float) -> None:
    from ray import serve
    from ray.serve.context import _get_global_client

    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return
    client.delete_apps(list(serve.status().applications), blocking=False)
    end = time.monotonic() + patience_s
    while serve.status().applications and time.monotonic() < end:
        time.sleep(0.1)
