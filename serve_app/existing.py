"""`verdict serve` on a Ray cluster that is there already: joined, deployed into, and left as it was."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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

EVERYWHERE = "0.0.0.0"  # the host at which the replicas of every node are found
KNOCK_S = 10.0
ANSWER_S = 120.0  # for every node to begin a process and answer
LATER_S = 30.0  # the same for one that joins later: a signal waits meanwhile, and it is asked again
LOOK_EVERY_S = 10.0
ASKED = [*WANTED, HOOK, *(name for name, _ in LIMITS.values())]

Node = tuple[str, Mapping[str, str | None]]  # its address, and variables of it


@contextmanager
def joined(
    address: str,
    applications: Sequence[str],
    http_options: Mapping[str, Any],
    limits: Mapping[str, int],
    say: Callable[[str], None] = print,
) -> Iterator[Callable[[], None]]:
    """A member of this cluster; at the end the applications are taken away, and Serve where it was not there before.

    Raises `BadEnvironment` where nobody is at the address, the token is not its, or it cannot do the TLS of
    `http_options`. `say` hears what `told_of` tells of its nodes, and what is given here, called now and
    then, has it hear of those that joined since.
    """
    import ray
    from ray import serve
    from ray.serve.context import _get_global_client

    from deployments.actors import end_actors

    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False)
        nodes = Nodes(http_options, limits)
        told = nodes.look()
    except Exception as error:
        ray.shutdown()
        raise BadEnvironment(f"{ADDRESS}={address}: {error}") from error
    had_serve = _get_global_client(raise_if_no_controller_running=False) is not None
    for each in told:
        say(each)
    try:
        yield lambda: nodes.look_again(say)
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


class Nodes:
    """The nodes of the cluster that this process is a member of, each asked once how it was started."""

    def __init__(self, http_options: Mapping[str, Any], limits: Mapping[str, int]) -> None:
        self._http_options, self._limits = http_options, limits
        self._asked: set[str] = set()

    def look(self, patience_s: float = ANSWER_S) -> list[str]:
        """What `told_of` tells of the nodes that were not asked before."""
        there = living()
        new = {node: address for node, address in there.items() if node not in self._asked}
        values = values_by_node(ASKED, new, patience_s) if new else []
        self._asked = set(there)
        return told_of(values, self._http_options, self._limits, len(there) - len(new)) if new else []

    def look_again(self, say: Callable[[str], None]) -> None:
        """The same beside the running application: what a node cannot do is told, and ends nothing."""
        try:
            told = self.look(LATER_S)
        except BadEnvironment as error:
            told = [f"A node joined that cannot do as it should: {error}"]
        except Exception:  # the node is gone again, or slow, or Ray's head is away: asked again at the next look
            return
        for each in told:
            with suppress(OSError):  # its terminal is closed, or its disk full
                say(each)


def living() -> dict[str, str]:
    """The nodes of the cluster by their numbers, with their addresses."""
    import ray

    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def values_by_node(names: Sequence[str], nodes: Mapping[str, str], patience_s: float = ANSWER_S) -> list[Node]:
    """Variables as the processes of each of these nodes have them: each was started by a command of its own."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0)(_values)
    there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
    asked = [ask.options(scheduling_strategy=one).remote(list(names)) for one in there]
    try:
        answers = ray.get(asked, timeout=patience_s)
    except Exception:
        for one in asked:
            ray.cancel(one, force=True)
        raise
    return list(zip(nodes.values(), answers, strict=True))


def told_of(
    nodes: Sequence[Node], http_options: Mapping[str, Any], limits: Mapping[str, int], before: int = 0
) -> list[str]:
    """What whoever deploys into a cluster of these nodes should know: what each was started without, which of `limits`
    (what the settings let in) its HAProxy is below, and a host that only some of them have. Raises `BadEnvironment` for
    what one of them cannot do. `before`: so many others were told of earlier."""
    told: dict[tuple[str, str], list[str]] = {}  # of which nodes
    for address, there in nodes:
        if missing := missing_of(there, http_options):
            told.setdefault((f"A node was started without {', '.join(missing)}", "cluster"), []).append(address)
        for below in below_of(there, limits):
            told.setdefault((below, "tuning"), []).append(address)
    found = [f"{what}; on {', '.join(where)}; see docs/{page}.md" for (what, page), where in told.items()]
    many = len(nodes) + before
    if before < 2 <= many and http_options["host"] != EVERYWHERE and not http_options.get("ssl_certfile"):
        found.append(
            f"http_options: host {http_options['host']!r} on {many} nodes: an Ingress starts only where that is "
            f"an address of its node, and is asked by that node alone; expected {EVERYWHERE}; see docs/cluster.md"
        )
    return found


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
