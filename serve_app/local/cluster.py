"""The cluster of `verdict up`, a process of its own: `python -m serve_app.local.cluster PLAN`.

It appends what it does as JSON lines to the report file of its plan, and ends cleanly at SIGTERM.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

OBJECT_STORE_BYTES = 100 * 1024 * 1024  # frames travel by value; little else is kept
LOGICAL_CPUS = 4  # at least: the deployments' shares must fit on a machine of one core too
STOP_PATIENCE_S = 15.0
RAY_PATIENCE_S = 120.0
DEPLOY_PATIENCE_S = 540.0  # a machine that installs and builds other things meanwhile is slow
SHOWN_LINES = 4  # of an error: the last ones of a trace say what it was


class Plan(msgspec.Struct, frozen=True):
    """What the process is told."""

    home: str
    run: str  # a short path for sockets
    store_url: str
    models: str
    spool: str
    logs: str
    http_port: int
    replica_port: int  # first of a block of PORT_BLOCK
    report: str  # file that reports are appended to


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of what the process says."""

    step: str = ""
    ready: bool = False
    failed: str = ""


class _Stop(BaseException):
    pass


PORT_BLOCK = 102  # 50 HTTP and 50 gRPC ports of ingress replicas, and two of Serve's fallback proxy


def environment(plan: Plan) -> dict[str, str]:
    """What concerns this profile alone.

    Two clusters that shared the ports of Serve's fallback proxy would answer each other's callers.
    """
    last = plan.replica_port + PORT_BLOCK - 1
    return {
        # Ray's three Prometheus servers tell whoever asks; these ports cannot be bound, and the third is switched off.
        "AUTOSCALER_METRIC_PORT": "65536",
        "DASHBOARD_METRIC_PORT": "65536",
        "RAY_enable_metrics_collection": "0",
        "RAY_agent_register_timeout_ms": str(int(RAY_PATIENCE_S * 1000)),
        # HAProxy would send its log to whoever listens at the port of syslog; nobody does at this path.
        "RAY_SERVE_HAPROXY_LOG_TARGET": f"{plan.run}/no-log",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(last - 1),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(last),
    }


def main(argument: str) -> int:
    """Run the cluster until SIGTERM; 0 after a clean stop, 1 when it did not come up."""
    plan = msgspec.json.decode(Path(argument).read_bytes(), type=Plan)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_stop)
    os.environ.update(environment(plan))
    started = False
    try:
        _say(plan, Report(step="loading Ray"))
        _seed_registry(plan)
        _start(plan)
        started = True
        _say(plan, Report(ready=True))
        while True:
            signal.pause()
    except _Stop:
        return 0
    except Exception as error:
        print(f"the cluster did not come up: {error}", flush=True)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        _say(plan, Report(failed="\n".join(lines[-SHOWN_LINES:])))
        return 0 if started else 1
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        _stop(plan)


def _raise_stop(number: int, frame: FrameType | None) -> None:
    raise _Stop


def _say(plan: Plan, report: Report) -> None:
    with open(plan.report, "ab") as file:
        file.write(msgspec.json.encode(report) + b"\n")


def _seed_registry(plan: Plan) -> None:
    from model.registry import Registry

    Registry(plan.models).seed_from_released()


def _ingress(plan: Plan) -> Any:
    from serve_app.environment import Ingress

    first = plan.replica_port
    return Ingress(Path(plan.run) / "i", (first, first + 49), (first + 50, first + 99))


def _start(plan: Plan) -> None:
    from serve_app.cluster import configuration, deploy, start
    from serve_app.environment import variables
    from serve_app.loopback import ALONE

    args = {"store_url": plan.store_url, "registry": plan.models, "spool_dir": plan.spool}
    found = configuration(args, plan.http_port)
    found["logging_config"]["logs_dir"] = plan.logs
    _say(plan, Report(step="starting Ray"))
    ingress = _ingress(plan)
    os.environ.update(variables(ingress) | ALONE)  # before Ray is imported, which the next line does
    be_patient()
    start(
        ingress,
        _temp_dir=plan.run,
        num_cpus=max(LOGICAL_CPUS, os.cpu_count() or 1),
        object_store_memory=OBJECT_STORE_BYTES,
    )
    _say(plan, Report(step="deploying"))
    said = ""

    def report(states: dict[str, str]) -> None:
        nonlocal said
        text = ", ".join(f"{name} {state.lower()}" for name, state in sorted(states.items()))
        if text != said:
            said = text
            _say(plan, Report(step=text or "deploying"))

    deploy(found, DEPLOY_PATIENCE_S, report)


def be_patient(patience_s: float = RAY_PATIENCE_S) -> None:
    """Let Ray wait for its own processes longer than the half minute that is written into it.

    A machine that builds or installs something meanwhile is slow, not broken.
    """
    from ray._private import services

    ask = services.get_node

    def ask_patiently(*arguments: Any, **options: Any) -> Any:
        end = time.monotonic() + patience_s
        while True:
            try:
                return ask(*arguments, **options)
            except RuntimeError:
                if time.monotonic() > end or not raylet_lives():
                    raise
                time.sleep(0.2)

    services.get_node = ask_patiently


def raylet_lives() -> bool:
    """Whether Ray's node manager, which is a child of this process, still runs."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text()
        except OSError:
            continue
        name, _, rest = fields.partition("(")[2].rpartition(") ")
        state, parent = rest.split()[:2]
        if name == "raylet" and int(parent) == os.getpid() and state not in "ZX":
            return True
    return False


def _stop(plan: Plan) -> None:
    """End the application, which flushes what it holds, then Serve, Ray and HAProxy."""
    if "ray" not in sys.modules:
        return
    import ray

    from serve_app.environment import end_haproxy

    try:
        if ray.is_initialized():
            from ray.serve.context import _get_global_client

            client = _get_global_client(raise_if_no_controller_running=False)
            if client is not None:
                client.delete_apps(["verdict"], blocking=False)
                _wait_until_gone()
    except Exception as error:
        print(f"stopping the application: {error}", flush=True)
    finally:
        # Not serve.shutdown(): it waits half a minute for a controller that Ray is about to end anyway.
        ray.shutdown()
        end_haproxy(Path(plan.run) / "i")


def _wait_until_gone() -> None:
    from ray import serve

    end = time.monotonic() + STOP_PATIENCE_S
    while serve.status().applications and time.monotonic() < end:
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
