"""The peers: how each is started, in the environment of their own."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from loadtest.peers import SCORER
from serve_app.local.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "peers"
LOCK = ROOT / "locks" / "peers.txt"
START_S = 600.0


class Peer(NamedTuple):
    """One server; `command` has `{port}` and runs under the peers' Python."""

    name: str
    command: tuple[str, ...]
    frames: bool = True  # takes more than one name a request
    scorer: str = ""  # "ours": our scorer in TensorFlow's place; no goal is set against such a server


_WAITRESS = ("-m", "waitress", "--host=127.0.0.1", "--port={port}", "--threads=8")
_UVICORN = ("-m", "uvicorn", "--host=127.0.0.1", "--port={port}", "--log-level=error", "loadtest.peers.fastapi_app:app")
PEERS = (
    Peer(
        "the design of 2020 (Flask, model loaded for each request)",
        (*_WAITRESS, "loadtest.peers.design2020:app"),
        False,
    ),
    Peer("Flask, model loaded once", (*_WAITRESS, "loadtest.peers.flask_once:app")),
    Peer("FastAPI, one uvicorn process", _UVICORN),
    Peer("LitServe, batching", ("-m", "loadtest.peers.litserve_app", "{port}")),
    Peer(
        "BentoML, adaptive batching",
        ("-m", "bentoml", "serve", "--host=127.0.0.1", "--port={port}", "loadtest.peers.bentoml_app:Judge"),
    ),
    Peer("FastAPI with our scorer in it", _UVICORN, scorer="ours"),
)


def python() -> Path:
    """The peers' Python; built from their hashed lock at the first call, minutes."""
    found, done = HOME / "bin" / "python", HOME / "lock.done"
    if not done.exists() or done.read_bytes() != LOCK.read_bytes():
        import sys
        import venv

        venv.create(HOME, with_pip=True)
        install = [str(found), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(LOCK)]
        subprocess.run(install, check=True)
        done.write_bytes(LOCK.read_bytes())
        print(f"peers installed in {HOME}", file=sys.stderr)
    return found


@contextmanager
def serving(peer: Peer) -> Iterator[tuple[int, int]]:
    """Start a peer; yields its port and process number, and ends it with all it started."""
    port = free_port()
    command = [str(python()), *(part.format(port=port) for part in peer.command)]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", "BENTOML_DO_NOT_TRACK": "True",
        "VERDICT_PEER_THREADS": str(os.cpu_count() or 1), "CUDA_VISIBLE_DEVICES": "",
        SCORER: peer.scorer,
    }  # fmt: skip
    log = HOME / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait(port, process, log)
        yield port, process.pid
    finally:
        for number, patience in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
            try:
                os.killpg(process.pid, number)
                process.wait(patience)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.post(f"http://127.0.0.1:{port}/name", json={"names": ["a.org"]}, timeout=60).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()[-3000:]}")
