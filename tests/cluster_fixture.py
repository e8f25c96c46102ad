"""A real cluster for tests, in a process of its own, so that Ray's threads and variables stay out of pytest."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

STOP_S = 40.0


class Cluster(NamedTuple):
    """A cluster that answers; `resolver` and `admin` are tokens, `folder` holds its store, models and spool."""

    port: int
    resolver: str
    admin: str
    folder: Path
    pid: int
    process: "subprocess.Popen[str]"

    def replicas(self, redeploy: dict[str, Any] | None = None) -> dict[str, int]:
        """Running replicas of each deployment, after a redeployment with these settings where there are any."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(redeploy) + "\n" if redeploy else "\n")
        self.process.stdin.flush()
        found: dict[str, int] = json.loads(next(line for line in self.process.stdout if line.startswith("{")))
        return found

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    def client(self, role: str = "resolver") -> httpx.Client:
        bearer = {"Authorization": f"Bearer {self.resolver if role == 'resolver' else self.admin}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=bearer, timeout=60.0)


@contextmanager
def started(folder: Path, **options: Any) -> Iterator[Cluster]:
    """`loadtest.clusters.running(folder, **options)` in a process of its own."""
    log = folder / "cluster.log"
    command = [sys.executable, "-m", "loadtest.clusters", str(folder), "--options", json.dumps(options)]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None and process.stdin is not None
        try:
            found = next((line for line in process.stdout if line.startswith("{")), "")
            if not found:
                raise RuntimeError(f"the cluster did not start:\n{log.read_text()[-4000:]}")
            body = json.loads(found)
            yield Cluster(body["port"], body["resolver"], body["admin"], folder, process.pid, process)
        finally:
            process.stdin.close()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
