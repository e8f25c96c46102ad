"""A real Elasticsearch for tests: the server from Maven Central, run on a free port of the loopback.

The archive is the one that Elastic's own integration tests use: the server without most modules. It is fetched once
into `build/elastic`. Java comes from JAVA_HOME or /usr/lib/jvm and must be a whole JDK (the server needs jdk.jlink,
which the runtimes on PyPI leave out).
"""

import atexit
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import pytest

from serve_app.local.ports import free_port
from tests.requires import need

VERSION = os.environ.get("VERDICT_TEST_ELASTIC", "9.5.3")
RUNNING = "VERDICT_TEST_ELASTIC_URL"
BUILD = Path(__file__).parent.parent / "build" / "elastic"
JAVA_AT_LEAST = 21
JAVA_OPTIONS = "-Xms512m -Xmx512m -XX:TieredStopAtLevel=1"  # starts in half the time
OPERATED = "-Xms2g -Xmx2g"  # all compilers, and a heap that an operator would give: what a benchmark measures
START_S = 300  # on a machine that does other things too
SHARED_S = 200  # less than a test may take: one that started late is told by the tests that want it


def java_home() -> Path | None:
    """A Java runtime that is new enough, or None."""
    for home in _java_homes():
        java = home / "bin" / "java"
        if not java.exists():
            continue
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        found = re.search(r'version "(\d+)', said)
        if found and int(found[1]) >= JAVA_AT_LEAST:
            return home
    return None


def _java_homes() -> Iterator[Path]:
    if "JAVA_HOME" in os.environ:
        yield Path(os.environ["JAVA_HOME"])
    yield from sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)


def distribution(version: str = VERSION) -> Path:
    """The unpacked server, fetched where it is not there yet. Raises `OSError` when it cannot be fetched."""
    home = BUILD / f"elasticsearch-{version}"
    if home.exists():
        return home
    BUILD.mkdir(parents=True, exist_ok=True)
    archive = BUILD / f"elasticsearch-{version}.zip"
    if not archive.exists():
        _fetch(version)
    unpacked = BUILD / f"unpack-{os.getpid()}"
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(unpacked)
    except zipfile.BadZipFile as error:  # cut short
        archive.unlink()
        raise OSError(f"{archive}: {error}, and is gone now") from error
    (unpacked / f"elasticsearch-{version}").rename(home)
    unpacked.rmdir()
    for program in (home / "bin").iterdir():
        program.chmod(0o755)
    return home


def _fetch(version: str) -> None:
    """Let Maven fetch the archive by its coordinates; it checks the digest."""
    maven = shutil.which("mvn")
    if maven is None:
        raise OSError("mvn, which fetches the server from Maven Central, is not installed")
    done = subprocess.run(
        [maven, "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
         f"-Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:{version}:zip",
         f"-DoutputDirectory={BUILD}", "-Dmdep.useBaseVersion=true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise OSError(f"mvn could not fetch Elasticsearch {version}: {(done.stdout + done.stderr)[-500:]}")


class ElasticServer:
    """One server with its own data; `start` again after `kill` finds the same data on the same port."""

    def __init__(
        self, folder: Path, java: Path, version: str = VERSION, settings: dict[str, str] | None = None,
        java_options: str = JAVA_OPTIONS,
    ) -> None:  # fmt: skip
        self.home = distribution(version)
        self.folder = folder
        self._java = java
        self._java_options = java_options
        self._settings = settings or {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        # The server refuses to run as root.
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None

    def start(self) -> None:
        """Run the server until it answers; `RuntimeError` with its log when it does not."""
        config = self.folder / "config"
        if not config.exists():
            self._configure(config)
        log = os.open(self.folder / "out.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        environment = {
            "PATH": "/usr/bin:/bin", "ES_JAVA_HOME": str(self._java), "ES_PATH_CONF": str(config),
            "ES_JAVA_OPTS": self._java_options, "HOME": str(self.folder), "ES_TMPDIR": str(self.folder / "tmp"),
        }  # fmt: skip
        self._process = subprocess.Popen(
            [self.home / "bin" / "elasticsearch"], env=environment, stdout=log, stderr=log, start_new_session=True,
            cwd=self.folder, user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None, extra_groups=[] if self._user else None,
        )  # fmt: skip
        os.close(log)
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            if healthy(self.get):
                return
            time.sleep(0.25)
        said = (self.folder / "out.log").read_text("utf-8", "replace")[-3000:]
        self.kill()
        raise RuntimeError(f"Elasticsearch did not start:\n{said}")

    def _configure(self, config: Path) -> None:
        """A configuration of its own: loopback, no security, only the modules that are there."""
        shutil.copytree(self.home / "config", config)
        settings = {
            "cluster.name": "verdict-test", "node.name": "one", "discovery.type": "single-node",
            "network.host": "127.0.0.1", "http.port": str(self.port), "transport.port": str(free_port()),
            "path.data": str(self.folder / "data"), "path.logs": str(self.folder / "logs"),
            "xpack.security.enabled": "false", "cluster.routing.allocation.disk.threshold_enabled": "false",
            "action.destructive_requires_name": "false", **self._settings,
        }  # fmt: skip
        (config / "elasticsearch.yml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        options = config / "jvm.options"
        lines = [line for line in options.read_text().splitlines() if "gc.log" not in line]
        options.write_text("\n".join(lines) + "\n")
        (self.folder / "tmp").mkdir()
        if self._user:
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
            for parent in (self.folder, *self.folder.parents, self.home, *self.home.parents):
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)

    def get(self, path: str) -> dict[str, object]:
        """GET a path as JSON; `OSError` when there is no answer."""
        return get(self.url, path)

    def freeze(self) -> None:
        """Stop every process of the server where it stands."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass


Server = TypeVar("Server", bound=ElasticServer)
Answer = dict[str, object]


def get(url: str, path: str) -> Answer:
    """GET a path of the server at this URL as JSON; `OSError` when there is no answer."""
    try:
        with urllib.request.urlopen(url + path, timeout=30) as reply:
            found: Answer = json.load(reply)
    except urllib.error.HTTPError as error:
        return {"status": error.code}
    return found


def healthy(get: Callable[[str], Answer]) -> bool:
    """Whether a server answers and has its indices, by its own `get`."""
    try:
        return get("/_cluster/health?wait_for_status=yellow&timeout=20s")["status"] in ("yellow", "green")
    except OSError:
        return False


@lru_cache(maxsize=1)
def answers(url: str) -> bool:
    """Whether the server at this URL becomes healthy within minutes; where not, no other test waits for it again."""
    until = time.monotonic() + SHARED_S
    while not (found := healthy(partial(get, url))) and time.monotonic() < until:
        time.sleep(0.25)
    return found


@lru_cache(maxsize=1)
def shared_url() -> str:
    """The URL of one server for the whole test run; skips (or fails) with the reason where none can be had.

    VERDICT_TEST_ELASTIC_URL names one that runs already, or is being started.
    """
    running = os.environ.get(RUNNING)
    if running:
        if not answers(running):
            pytest.fail(f"{RUNNING}: no healthy Elasticsearch at {running}", pytrace=False)
        return running
    server = own_server()
    server.start()
    return server.url


@lru_cache(maxsize=1)
def operated_url() -> str:
    """The URL of one server for a whole benchmark, run as an operator would run it."""
    server = own_server(java_options=OPERATED)
    server.start()
    return server.url


def own_server(settings: dict[str, str] | None = None, java_options: str = JAVA_OPTIONS) -> ElasticServer:
    """A server for one test to maltreat, not started yet."""
    return own_server_of(ElasticServer, settings, java_options)


def own_server_of(
    kind: type[Server], settings: dict[str, str] | None = None, java_options: str = JAVA_OPTIONS
) -> Server:
    """The same, of another kind."""
    java = java_home()
    need(java, f"no JDK {JAVA_AT_LEAST} or later in JAVA_HOME or /usr/lib/jvm: Elasticsearch cannot run")
    try:
        distribution()
    except OSError as error:
        need(False, f"Elasticsearch cannot be fetched from Maven Central: {error}")
    assert java is not None
    memory = Path("/dev/shm")  # an index that is made and dropped in memory spares the disk's syncs
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 << 30
    folder = Path(tempfile.mkdtemp(prefix="verdict-elastic-", dir=memory if roomy else None))
    server = kind(folder, java, settings=settings, java_options=java_options)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)  # before its folder goes
    return server
