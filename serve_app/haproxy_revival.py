"""Serve's HAProxy manager starts a HAProxy that has died anew, in a second. By itself it never does.

Each change of the replicas then fails at it ("HAProxy crashed during startup") until Serve's controller, after three
health checks, replaces the whole manager: six to ten seconds, twenty on a busy machine. In a rolling redeployment every
ingress replica goes in that time, and the one that stands in (`serve_app/haproxy_guard.py`) knows those that went.
Ray runs `watch` in each worker process before the code of Serve, where the variable `loopback.HOOK` names it; on a
cluster of one machine `watch_alone`.
"""

import asyncio
from contextlib import suppress
from typing import Any

from serve_app.at_import import at_import
from serve_app.loopback import HOOK, behind_haproxy, bind

EVERYWHERE = "serve_app.haproxy_revival.watch"
ALONE = {HOOK: "serve_app.haproxy_revival.watch_alone"}
SERVES = "ray.serve._private.haproxy"  # the module of the manager


def watch_alone() -> None:
    """`watch`, on loopback."""
    bind()
    behind_haproxy()
    watch()


def watch() -> None:
    """Mend the manager's module when this process imports it, as one of a cluster does."""
    at_import(SERVES, lambda module: mend(module.HAProxyApi))


def mend(api: Any) -> None:
    """Let this class, Serve's `HAProxyApi`, start its HAProxy anew where it finds it dead: at a reload, at a health
    check (each second)."""
    reload, is_running, stop = api._graceful_reload, api.is_running, api.stop

    def dead(self: Any) -> bool:
        return self._proc is not None and self._proc.returncode is not None and not hasattr(self, "_stopping")

    def turn(self: Any) -> asyncio.Lock:
        """Two that start at one time would take the admin socket from each other."""
        if not hasattr(self, "_turn"):
            self._turn = asyncio.Lock()
        return self._turn  # type: ignore[no-any-return]

    async def reload_or_start(self: Any) -> None:
        async with turn(self):
            if dead(self):
                self._proc = await self._start_and_wait_for_haproxy()
            else:
                await reload(self)

    async def start_and_look(self: Any) -> bool:
        if dead(self):
            async with turn(self):
                if dead(self):
                    self._generate_config_file_internal()
                    with suppress(RuntimeError):  # it does not come up: what Serve does about that is right
                        self._proc = await self._start_and_wait_for_haproxy()
        return bool(await is_running(self))

    async def stop_for_good(self: Any) -> None:
        self._stopping = True
        await stop(self)

    api._graceful_reload, api.is_running, api.stop = reload_or_start, start_and_look, stop_for_good
