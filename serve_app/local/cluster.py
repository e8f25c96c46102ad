"""The cluster of `verdict up`, a process of its own: `python -m serve_app.local.cluster PLAN`.

It appends what it does as JSON lines to the report file of its plan, and ends cleanly at SIGTERM.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

import msgspec

from serve_app.local.processes import set_aside
from serve_app.patience import TooBusy, afresh

OBJECT_STORE_BYTES = 100 * 1024 * 1024  # frames travel by value; little else is kept
STOP_PATIENCE_S = 15.0
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
    metrics_port: int = 0


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of what the process says."""

    step: str = ""
    ready: bool = False
    failed: str = ""


class _Stop(BaseException):
    pass


def main(argument: str) -> int:
    """Run the cluster until SIGTERM; 0 after a clean stop, 1 when it did not come up."""
    plan = msgspec.json.decode(Path(argument).read_bytes(), type=Plan)
    try:
        with afresh(lambda text: _say(plan, Report(step=text))):
            return _run(plan)
    except TooBusy as error:
        return _failed(plan, error)


def _run(plan: Plan) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_stop)
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
    except TooBusy:
        raise
    except Exception as error:
        _failed(plan, error)
        return 0 if started else 1
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        _stop(plan)


def _failed(plan: Plan, error: Exception) -> int:
    print(f"the cluster did not come up: {error}", flush=True)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    _say(plan, Report(failed="\n".join(lines[-SHOWN_LINES:])))
    return 1


def _raise_stop(number: int, frame: FrameType | None) -> None:
    raise _Stop


def _say(plan: Plan, report: Report) -> None:
    with open(plan.report, "ab") as file:
        file.write(msgspec.json.encode(report) + b"\n")


def _seed_registry(plan: Plan) -> None:
    from model.registry import Registry

    Registry(plan.models).seed_from_released()


def _start(plan: Plan) -> None:
    from serve_app.cluster import deploy, start
    from serve_app.configuration import configuration
    from serve_app.environment import apart

    args = {"store_url": plan.store_url, "registry": plan.models, "spool_dir": plan.spool}
    found = configuration(args, plan.http_port)
    set_aside(Path(plan.logs))
    found["logging_config"]["logs_dir"] = plan.logs
    _say(plan, Report(step="starting Ray"))
    start(
        apart(Path(plan.run) / "i", plan.replica_port, metrics_port=plan.metrics_port),
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


def _stop(plan: Plan) -> None:
    from serve_app.cluster import stop
    from serve_app.environment import Ingress

    stop(Ingress(Path(plan.run) / "i"), STOP_PATIENCE_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
