"""A cluster for a measurement or a test: the real application on this machine, on ports and folders of its own.

python -m loadtest.clusters FOLDER [--options JSON]
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from loadtest.processes import program, terminable
from serve_app import cluster
from serve_app.configuration import configuration
from serve_app.environment import Ingress, short_directory
from serve_app.foreground import unbroken
from serve_app.local.ports import free_block
from serve_app.patience import afresh
from verdicts import tokens
from verdicts.store import open_store


class Running(NamedTuple):
    """A cluster that answers. `resolver` and `admin` are tokens."""

    port: int
    resolver: str
    admin: str
    folder: Path
    ingress: Ingress
    configuration: dict[str, Any]

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def redeploy(self, args: Mapping[str, Any]) -> None:
        """Deploy it anew with these settings: every replica is exchanged, one after another. Returns when all run."""
        self.configuration["applications"][0]["args"].update(args)
        cluster.deploy(self.configuration)


@contextmanager
def running(
    folder: Path,
    args: Mapping[str, Any] | None = None,
    deployments: Mapping[str, Mapping[str, Any]] | None = None,
    noop_width: int | None = None,
    num_cpus: float = 4,
    ingress: Mapping[str, Any] | None = None,
    http_options: Mapping[str, Any] | None = None,
) -> Iterator[Running]:
    """Start the application with the released models and an SQLite store in `folder`, and end it afterwards.

    `args` go over the application's settings, `deployments` (by name) and `http_options` over its YAML; `noop_width`
    puts the no-op graph beside it under /noop.
    """
    from model.registry import Registry

    registry = Registry(folder / "models")
    registry.seed_from_released()
    url = f"sqlite://{folder}/verdict.db"
    issued = issue(url)
    first = free_block(24)  # below the ports that the system gives to others meanwhile
    short = short_directory()
    chosen = Ingress(
        short,
        replica_ports=(first, first + 20),
        fallback_ports=(first + 21, first + 22),
        tls="ssl_certfile" in (http_options or {}),
        **(ingress or {}),
    )
    settings = {
        "store_url": url,
        "registry": str(folder / "models"),
        "spool_dir": str(folder / "spool"),
        "model": "seed-2020",
        **(args or {}),
    }
    found = configuration(settings, first + 23)
    for deployment in found["applications"][0]["deployments"]:
        deployment.update((deployments or {}).get(deployment["name"], {}))
    found["http_options"].update(http_options or {})
    if noop_width is not None:
        found["applications"].append(noop(noop_width, found["applications"][0]["deployments"]))
    with terminable():
        try:
            cluster.set_variables(chosen)
            with unbroken() as go_on:
                cluster.start(chosen, num_cpus=num_cpus, object_store_memory=128 << 20)
                go_on()
                cluster.deploy(found, report=lambda states: go_on())
            yield Running(found["http_options"]["port"], *issued, folder, chosen, found)
        finally:
            cluster.stop(chosen)
            rmtree(short, ignore_errors=True)


def issue(url: str) -> tuple[str, str]:
    """Set a new store up and issue a resolver's and an administrator's token."""
    store = open_store(url)
    store.initialise()
    resolver, admin = tokens.issue("resolver", "bench", 1), tokens.issue("admin", "bench", 1)
    store.commit([resolver.document, admin.document], "bench")
    store.close()
    return resolver.text, admin.text


def noop(width: int, ours: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The no-op graph as an application of serve.yaml, each deployment with the options of ours: replicas, limits,
    logs, autoscaling."""
    options = {f"No{deployment['name']}": deployment for deployment in ours}
    return {
        "name": "noop",
        "route_prefix": "/noop",
        "import_path": "loadtest.noop:build",
        "args": {"width": width},
        "deployments": [
            {**options[name], "name": name, "ray_actor_options": {"num_cpus": 0.1}}
            for name in ("NoIngress", "NoPreprocessor", "NoClassifier")
        ],
    }


def replicas() -> dict[str, int]:
    """Running replicas of each deployment of the application."""
    from ray import serve

    deployments = serve.status().applications["verdict"].deployments
    return {name: status.replica_states.get("RUNNING", 0) for name, status in deployments.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a cluster until standard input ends; the first line printed says where it is, as JSON.

    Each line read is answered with the running replicas of each deployment, as JSON; a line with settings, as JSON,
    after a redeployment with them.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--options", default="{}", help="keyword arguments of `running`, as JSON")
    given = parser.parse_args(arguments)
    # Ctrl-C, which a terminal tells this process as well as the one at the other end of its input, ends it likewise.
    with suppress(KeyboardInterrupt), afresh(partial(print, file=sys.stderr)):
        with running(given.folder, **json.loads(given.options)) as cluster:
            said = {**cluster._asdict(), "folder": str(given.folder), "ingress": None, "configuration": None}
            print(json.dumps(said), flush=True)
            for line in sys.stdin:
                if line.strip():
                    cluster.redeploy(json.loads(line))
                print(json.dumps(replicas()), flush=True)


if __name__ == "__main__":
    program(main)
