"""Ray's own HAProxyApi with the real HAProxy, which dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from serve_app import haproxy_revival
from serve_app.environment import short_directory
from serve_app.local.ports import free_port


@pytest.fixture
def folder() -> Iterator[Path]:
    made = short_directory()
    try:
        yield made
    finally:
        rmtree(made, ignore_errors=True)


def api_in(folder: Path) -> Any:
    """A manager's HAProxy as Serve has it, mended, with nothing else of Serve."""
    from ray.serve._private.haproxy import HAProxyApi, HAProxyConfig
    from ray.serve.config import HTTPOptions

    class Mended(HAProxyApi):  # type: ignore[misc]
        pass

    haproxy_revival.mend(Mended)
    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=free_port()),
        socket_path=str(folder / "a.sock"),
        metrics_port=free_port(),
        stats_port=free_port(),
        server_state_base=str(folder),
        server_state_file=str(folder / "server-state"),
        nbthread=1,
    )
    return Mended(config, config_file_path=str(folder / "haproxy.cfg"))


async def struck(api: Any) -> int:
    """Start it and kill it; the process that was."""
    await api.start()
    killed: int = api._proc.pid
    os.kill(killed, signal.SIGKILL)
    await api._proc.wait()
    return killed


def test_a_dead_haproxy_is_started_anew_at_a_health_check(folder: Path) -> None:
    async def check() -> None:
        api = api_in(folder)
        killed = await struck(api)
        try:
            assert await asyncio.gather(*[api.is_running() for _ in range(3)]) == [True] * 3
            assert await api._get_running_pid() == api._proc.pid != killed
            assert api.count_haproxy_processes() == 1
        finally:
            await api.stop()

    asyncio.run(check())


def test_a_change_of_replicas_reaches_one_that_was_dead(folder: Path) -> None:
    from ray.serve._private.haproxy import BackendConfig, ServerConfig

    async def check() -> None:
        api = api_in(folder)
        await struck(api)
        servers = [ServerConfig("r2", "127.0.0.1", free_port())]
        api.set_backend_configs({"verdict": BackendConfig("verdict", "/", servers=servers, app_name="verdict")})
        try:
            await api.reload()
            assert list((await api.get_all_stats())["verdict"]) == ["r2"]
            first = api._proc.pid
            await api.reload()  # as ever, from the one that lives now
            assert await api._get_running_pid() == api._proc.pid != first
        finally:
            await api.stop()

    asyncio.run(check())


def test_one_that_cannot_come_up_is_not_healthy(folder: Path) -> None:
    async def check() -> None:
        api = api_in(folder)
        await struck(api)
        api.cfg.nbthread = -1
        assert not await api.is_running()

    asyncio.run(check())


def test_one_that_serve_stops_stays_dead(folder: Path) -> None:
    async def check() -> None:
        api = api_in(folder)
        await api.start()
        async with asyncio.timeout(30):
            stopping = asyncio.create_task(api.stop())
            while not stopping.done():
                await api.is_running()
                await asyncio.sleep(0)
        assert api.count_haproxy_processes() == 0

    asyncio.run(check())


MENDED = """
import sys
from serve_app import haproxy_revival
haproxy_revival.watch()
assert not any(name.startswith("ray.serve") for name in sys.modules)
from ray.serve._private.haproxy import HAProxyApi
print(HAProxyApi.is_running.__module__, HAProxyApi._graceful_reload.__module__)
"""


def test_the_managers_module_is_mended_when_it_is_imported() -> None:
    said = subprocess.run([sys.executable, "-c", MENDED], capture_output=True, text=True, timeout=120)
    assert said.stdout.split() == ["serve_app.haproxy_revival"] * 2, said.stderr
