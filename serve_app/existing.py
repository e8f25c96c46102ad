"""`verdict serve` on a Ray cluster that is there already: joined, deployed into, and left as it was."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from serve_app import haproxy, haproxy_revival, https
from serve_app.environment import HAPROXY, NO_TLS, BadEnvironment
from serve_app.loopback import HOOK

ADDRESS = "RAY_ADDRESS"  # the variable that names the cluster, as Ray's own commands read it
# Without these the application runs, slower or less closed; they count only where they are set before Ray starts.
WANTED = {"RAY_AUTH_MODE": "token", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", HAPROXY: "1"}
# What HAProxy lets in, which it is told before Ray starts: the fields of `environment.Ingress`, the variable that has
# each, and the settings that ask for it.
LIMITS = {
    "max_requests": (haproxy.MAX_REQUESTS, "max_ongoing_requests of Ingress"),
    "max_body": (haproxy.MAX_BODY, "max_report_bytes or max_frame_bytes"),
    "max_wait_s": (haproxy.MAX_WAIT, "request_timeout_s or max_budget_ms"),
}

KNOCK_S = 10.0


@contextmanager
def joined(
    address: str,
    applications: Sequence[str],
    http_options: Mapping[str, Any],
    limits: Mapping[str, int],
    say: Callable[[str], None] = print,
) -> Iterator[None]:
    """A member of this cluster; at the end the applications are taken away, and Serve where it was not there before.

    Raises `BadEnvironment` where nobody is at the address, the token is not its, or it cannot do the TLS of
    `http_options`. `say` hears what is missing there, and which of `limits` (what the settings let in) its HAProxy is
    below.
    """
    import ray
    from ray import serve
    from ray.serve.context import _get_global_client

    from deployments.actors import end_actors

    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False)
        there = ray.get(ray.remote(num_cpus=0)(_values).remote([*WANTED, HOOK, *(name for name, _ in LIMITS.values())]))
        missing = missing_of(there, http_options)
    except Exception as error:
        ray.shutdown()
        raise BadEnvironment(f"{ADDRESS}={address}: {error}") from error
    had_serve = _get_global_client(raise_if_no_controller_running=False) is not None
    if missing:
        say(f"The cluster at {address} was started without {', '.join(missing)}; see docs/cluster.md")
    for below in below_of(there, limits):
        say(f"The cluster at {address}: {below}; see docs/tuning.md")
    try:
        yield
    finally:
        try:
            client = _get_global_client(raise_if_no_controller_running=False)
            if client is not None and had_serve:
                client.delete_apps(list(applications))
            elif client is not None:
                serve.shutdown()
            end_actors()
        finally:
            ray.shutdown()


def missing_of(there: Mapping[str, str | None], http_options: Mapping[str, Any]) -> list[str]:
    """What a cluster with these variables lacks that it can do without. Raises `BadEnvironment` for what it cannot."""
    wanted, hook = dict(WANTED), there[HOOK] or ""
    hardens = hook.startswith(https.__name__ + ".")
    if http_options.get("ssl_certfile"):
        if there[HAPROXY] == "1":  # it would take the questions in clear
            raise BadEnvironment(NO_TLS)
        del wanted[HAPROXY]
        if not hardens:
            wanted[HOOK] = https.EVERYWHERE
    elif not hook.startswith(haproxy_revival.__name__ + "."):
        wanted[HOOK] = haproxy_revival.EVERYWHERE
    if http_options.get("ssl_ca_certs") and not hardens:
        raise BadEnvironment(
            "ssl_ca_certs: this cluster would ask no client for a certificate; expected the variables of "
            "`python -m serve_app.environment DIRECTORY --tls` where its Ray starts"
        )
    return [f"{name}={value}" for name, value in wanted.items() if there[name] != value]


def below_of(there: Mapping[str, str | None], limits: Mapping[str, int]) -> list[str]:
    """Which settings ask for more than the HAProxy of a cluster with these variables lets in: there they do nothing.

    Where a variable is not set, the HAProxy is not ours (or there is none), and what it lets in is not known.
    """
    if there[HAPROXY] != "1":
        return []
    found = []
    for limit, wanted in limits.items():
        variable, setting = LIMITS[limit]
        given = there[variable] or ""
        if given.isdecimal() and int(given) < wanted:
            found.append(f"{setting} is above what its HAProxy was started with, {variable}={given}: expected {wanted}")
    return found


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at `host:port`: Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


def _values(names: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}
