import os
import subprocess
import sys
from pathlib import Path

import pytest

from serve_app.environment import HAPROXY, BadEnvironment, Ingress, end_haproxy, haproxies, variables
from tests.waiting import until


@pytest.fixture
def directory(short: Path) -> Path:
    return short / "i"


def test_throughput_settings_and_haproxy_are_on(directory: Path) -> None:
    found = variables(Ingress(directory), {})
    assert (
        found["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1" and found[HAPROXY] == "1" and found["RAY_AUTH_MODE"] == "token"
    )


def test_everything_of_haproxy_lies_in_the_private_directory(directory: Path) -> None:
    found = variables(Ingress(directory), {})
    paths = [value for name, value in found.items() if name.startswith("RAY_SERVE_HAPROXY") and "/" in value]
    assert len(paths) >= 5 and all(path.startswith(str(directory)) for path in paths)
    assert directory.stat().st_mode & 0o077 == 0
    assert Path(found["RAY_AUTH_TOKEN_PATH"]).stat().st_mode & 0o077 == 0


def test_tls_switches_haproxy_off(directory: Path) -> None:
    assert variables(Ingress(directory, tls=True), {})[HAPROXY] == "0"


def test_tls_and_haproxy_together_are_refused_with_the_reason(directory: Path) -> None:
    with pytest.raises(BadEnvironment, match="no TLS of its own"):
        variables(Ingress(directory, tls=True), {HAPROXY: "1"})


def test_what_an_operator_has_set_stays(directory: Path) -> None:
    name = "RAY_SERVE_HAPROXY_NBTHREAD"
    assert variables(Ingress(directory), {name: "9"})[name] == "9"


ASKS = """
import concurrent.futures, grpc
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
grpc.channel_ready_future(grpc.insecure_channel(f"127.0.0.1:{port}")).result(5)
"""


def test_replicas_find_each_other_where_the_way_out_is_a_proxy(directory: Path) -> None:
    caller = {"http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}
    replica = os.environ | caller | variables(Ingress(directory), caller)
    subprocess.run([sys.executable, "-c", ASKS], env=replica, check=True, timeout=60)


def test_a_directory_that_others_can_enter_is_refused(directory: Path) -> None:
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    with pytest.raises(BadEnvironment, match="this user alone"):
        variables(Ingress(directory), {})


def test_a_directory_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadEnvironment, match="octets"):
        variables(Ingress(tmp_path / ("x" * 60)), {})


def test_the_ray_token_stays_the_same(directory: Path) -> None:
    first, second = (Path(variables(Ingress(directory), {})["RAY_AUTH_TOKEN_PATH"]).read_text() for _ in "12")
    assert first == second and len(first) == 64


def test_a_token_that_a_killed_start_left_empty_is_drawn_anew(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    (directory / "ray-token").touch(mode=0o600)
    file = Path(variables(Ingress(directory), {})["RAY_AUTH_TOKEN_PATH"])
    assert len(file.read_text()) == 64 and file.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a link to somebody else")
def test_somebody_elses_link_to_a_private_directory_is_refused(directory: Path) -> None:
    (directory.parent / "mine").mkdir(mode=0o700)
    directory.symlink_to(directory.parent / "mine")
    assert variables(Ingress(directory), {})
    os.chown(directory, 65534, 65534, follow_symlinks=False)
    with pytest.raises(BadEnvironment, match="link"):
        variables(Ingress(directory), {})


def test_only_our_haproxy_is_found_and_ended(directory: Path) -> None:
    script = "import time; time.sleep(60)"
    ours, other = (
        subprocess.Popen([sys.executable, "-c", script, "-f", f"{place}/node/haproxy.cfg"])
        for place in (directory, f"{directory}-other")
    )
    try:
        until(lambda: haproxies(directory) == [ours.pid])
        assert end_haproxy(directory, patience_s=0.2) == 1
        assert ours.wait(10) != 0 and other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_somebody_else_who_reads_our_configuration_is_not_taken_for_haproxy(directory: Path) -> None:
    if os.getuid():
        pytest.skip("only the administrator can be somebody else")
    reading = ["/bin/sh", "-c", "read line", f"{directory}/haproxy.cfg"]
    with subprocess.Popen(reading, user=65534, stdin=subprocess.PIPE) as other:
        until(lambda: f"{directory}/haproxy.cfg".encode() in Path(f"/proc/{other.pid}/cmdline").read_bytes())
        assert haproxies(directory) == []
