"""The main path of `verdict up`: check, prepare, start, wait, tell, supervise, stop."""

import sys
import threading
from pathlib import Path

import msgspec

from serve_app import golang
from serve_app.environment import PORT_BLOCK
from serve_app.local import cluster, ports
from serve_app.local.announce import announcement, demonstration_names
from serve_app.local.cluster import Plan
from serve_app.local.corefile import corefile
from serve_app.local.home import Opened, alone, opened
from serve_app.local.options import LOOPBACK, Options
from serve_app.local.prepare import prepare
from serve_app.local.processes import Child
from serve_app.local.progress import Step, Steps
from serve_app.local.supervisor import NotStarted, Supervisor
from serve_app.local.upstream import choose
from serve_app.local.waiting import dashboard_link, http_ready, resolver_ready

# What Ray says when its own processes were not quick enough; a second try often finds them so.
SLOW = ("timed out", "HAProxy", "Failed to start GCS")


def up(options: Options) -> None:
    """Run everything until told to stop. Raises what the parts raise; each message names what was expected."""
    if not options.home.exists():
        ports.check(ports.wanted(options))  # before anything is made
    with opened(options.home, options.parts) as ours, Supervisor(*map(ours.home.mark_of, options.parts)) as supervisor:
        ports.check(ports.wanted(options))  # after `opened`, which knows whether this home itself has them
        with Steps() as steps:
            if ours.cleared:
                steps.console.print(f"Ended {ours.cleared} processes that a former run had left.")
            start(options, ours, supervisor, steps)
            text = announcement(options, ours.home, demonstration_names(options, ours.home))
        print(text, flush=True)
        supervisor.supervise(steps.console)


def start(options: Options, ours: Opened, supervisor: Supervisor, steps: Steps) -> None:
    """Start the chosen parts, each as soon as it can, and wait until all of them answer."""
    home = ours.home
    step = steps.begin("Preparing " + str(home.path))
    with alone(home):
        fresh = prepare(home)
    step.done("a new store, with demonstration entries" if fresh else "its store, tokens and lists are there")
    building = Building(supervisor, steps) if "coredns" in options.parts else None
    if "cluster" in options.parts:
        start_cluster(options, ours, supervisor, steps)
    if building is not None:
        start_coredns(options, ours, supervisor, steps, building.wait())
    if "dashboard" in options.parts:
        start_dashboard(options, ours, supervisor, steps)


def start_cluster(options: Options, ours: Opened, supervisor: Supervisor, steps: Steps) -> None:
    """Start the cluster and wait until it gives verdicts."""
    home = ours.home
    step = steps.begin("Starting the cluster")
    reports = ours.run / "cluster.reports"
    reports.touch()
    plan = Plan(
        str(home.path), str(ours.run), home.store_url, str(home.models), str(home.spool), str(home.logs / "serve"),
        options.http_port, ports.free_block(PORT_BLOCK), str(reports), options.metrics_port,
    )  # fmt: skip
    path = ours.run / "plan.json"
    path.write_bytes(msgspec.json.encode(plan))
    argv = [sys.executable, "-m", cluster.__name__, str(path)]
    child = Child("the cluster", argv, home.log("cluster"), home.mark_of("cluster"), patience_s=45.0)
    supervisor.add(child)
    failed = _follow(supervisor, child, reports, step)
    if failed and any(words in failed for words in SLOW):
        step.say(f"once more, for Ray gave up on a busy machine: {failed.splitlines()[-1]}")
        supervisor.again(child)
        failed = _follow(supervisor, child, reports, step)
    if failed:
        raise NotStarted(f"the cluster: {failed}\nIts log is {child.log}")
    step.say("loading the model")
    supervisor.wait_for(lambda: http_ready(options.http_port), "the cluster to be ready", child)
    step.done(f"http://{LOOPBACK}:{options.http_port}")


def _follow(supervisor: Supervisor, child: Child, reports: Path, step: Step) -> str:
    """Show what the cluster says until it is deployed, or return why it is not."""
    for report in supervisor.reports(child, reports):
        if report.failed or report.ready:
            return report.failed
        step.say(report.step)
    return f"{child.name} said no more"


def start_dashboard(options: Options, ours: Opened, supervisor: Supervisor, steps: Steps) -> None:
    """Start the dashboard and wait until it serves.

    It comes last: Ray gives its own processes a few seconds to start, and a small machine has no core to spare then.
    """
    home = ours.home
    step = steps.begin("Starting the dashboard")
    # One token for both, as of a former release whose cluster still runs and alone can issue another.
    token = home.dashboard_token if home.dashboard_token.exists() else home.admin_token
    argv = [
        sys.executable, "-m", "dashboard", "--store-url", home.store_url, "--port", str(options.dashboard_port),
        "--control-url", f"http://{LOOPBACK}:{options.http_port}", "--token-file", str(token),
        "--password-file", str(home.password),
    ]  # fmt: skip
    child = Child("the dashboard", argv, home.log("dashboard"), home.mark_of("dashboard"), patience_s=5.0)
    supervisor.add(child)
    supervisor.wait_for(lambda: dashboard_link(options, home) is not None, "the dashboard to serve", child)
    step.done(f"http://{LOOPBACK}:{options.dashboard_port}")


def start_coredns(options: Options, ours: Opened, supervisor: Supervisor, steps: Steps, binary: Path) -> None:
    """Start CoreDNS and wait until it answers."""
    home = ours.home
    step = steps.begin("Starting CoreDNS")
    upstream = choose(options.upstream)
    home.corefile.write_text(corefile(options, home, upstream))
    child = Child(
        "CoreDNS",
        [str(binary), "-conf", str(home.corefile)],
        home.log("coredns"),
        home.mark_of("coredns"),
        patience_s=10.0,
    )
    supervisor.add(child)
    supervisor.wait_for(lambda: resolver_ready(options.dns_port), "CoreDNS to answer", child)
    step.done(f"{LOOPBACK}:{options.dns_port}, " + (f"upstream {upstream}" if upstream else "upstream: built-in zone"))


class Building:
    """The build of CoreDNS on another thread, since it and the start of the cluster take about as long.

    Where it fails, whatever the supervisor waits for meanwhile fails with it.
    """

    def __init__(self, supervisor: Supervisor, steps: Steps) -> None:
        self._supervisor = supervisor
        self._step = steps.begin("Building CoreDNS with the verdict plugin")
        self._result: Path | None = None
        self._error: Exception | None = None
        if not golang.binary().exists():
            self._step.say("takes minutes the first time")
        self._thread = threading.Thread(target=self._run, daemon=True)
        supervisor.watch(self._check)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = golang.build()
            self._step.done(self._result.name)
        except Exception as error:
            self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def wait(self) -> Path:
        """The binary. Raises `NoGo`, `BuildFailed`."""
        self._supervisor.wait_for(lambda: not self._thread.is_alive(), "the build of CoreDNS", None, patience_s=1800.0)
        self._check()
        assert self._result is not None
        return self._result
