"""Whether the log stands still, and all pages with it: asked of the cluster once for all open pages of a process."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from dashboard.client import Client, Refused
from dashboard.pages.health import octets

EVERY_S = 3  # after an answer it is asked again
SILENT_S = 15  # without an answer: more than a question may take, so that one which fails alarms nobody
BEHIND_BYTES = 64 << 20  # on disk: what waits where all goes in at once is less


class Standstill:
    """What is known of it now; nobody waits for an answer."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._asking: asyncio.Task[None] | None = None
        self._asked = -float("inf")  # when the last question was answered or given up
        self._heard = clock()
        self._said = ""

    def told(self) -> str:
        """A sentence for the head of every page; "" where the log goes on."""
        now = self._clock()
        if now > self._asked + SILENT_S:  # nobody looked: what was known is of then
            self._heard, self._said = now, ""
        idle = self._asking is None or self._asking.done()
        if self._client.configured and idle and now >= self._asked + EVERY_S:
            self._asked = now
            self._asking = asyncio.ensure_future(self._ask())
        return self._said

    async def _ask(self) -> None:
        try:
            status = await self._client.as_user("", "viewer").status()
        except Refused as error:
            if self._clock() > self._heard + SILENT_S:
                self._said = f"The cluster does not tell whether the log goes on; what is shown may be old. {error}"
        else:
            self._heard = self._clock()
            self._said = standstill(status.get("spool") or {}, status.get("store") or {}, time.time())
        finally:
            self._asked = self._clock()


def standstill(spool: dict[str, Any], store: dict[str, Any], now: float) -> str:
    """What keeps the log from going on, by what `/v1/status` says of spool and store at `now` (Unix seconds)."""
    waiting, state = spool.get("spool_bytes"), str(store.get("state") or "healthy")
    if state != "healthy":
        if waiting is None:
            return "The verdict log does not answer: the log may stand still, and what is shown be old."
        since = store.get("since")
        told = (
            f"has taken nothing of it for {_long(now - since)}" if isinstance(since, int | float) else "takes nothing"
        )
        return f"The log stands still, and so does what is shown: the store {told}."
    if isinstance(waiting, int) and waiting > BEHIND_BYTES:
        return f"The log is behind, and so is what is shown: {octets(waiting)} of it wait to go into the store."
    return ""


def _long(seconds: float) -> str:
    """As exactly as somebody wants to know it, so that the sentence stays the same for a while."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes < 24 * 60 else "")
