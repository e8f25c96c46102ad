"""Whether the log stands still, or all blocking: asked of the cluster once for all open pages of a process."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dashboard.client import Client, Refused
from dashboard.data import Data, Failure
from dashboard.pages.health import octets
from verdicts.store import Document

EVERY_S = 3  # after an answer it is asked again
SOON_S = 0.5  # after somebody decided here: by then the cluster follows it
SILENT_S = 15  # without an answer: more than a question may take, so that one which fails alarms nobody
PAUSED = "Nothing is blocked: every resolver is paused"
BEHIND_BYTES = 64 << 20  # on disk: what waits where all goes in at once is less


class Told(NamedTuple):
    """Sentences for the head of every page; "" where there is nothing to say."""

    log: str = ""
    pause: str = ""
    since: int = 0  # of the pause, Unix milliseconds; 0: not known


class Standstill:
    """What is known of it now; nobody waits for an answer."""

    def __init__(self, client: Client, data: Data, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._data, self._clock = client, data, clock
        self._asking: asyncio.Task[None] | None = None
        self._asked = -float("inf")  # when the last question was answered or given up
        self._next = -float("inf")  # when it is asked again
        self._heard = clock()
        self._said = Told()

    def told(self) -> Told:
        """What stands still."""
        now = self._clock()
        if now > self._asked + SILENT_S:  # nobody looked: what was known is of then
            self._heard, self._said = now, Told()
        idle = self._asking is None or self._asking.done()
        if self._client.configured and idle and now >= self._next:
            self._asked, self._next = now, now + EVERY_S
            self._asking = asyncio.ensure_future(self._ask(self._next))
        return self._said

    def decided(self) -> None:
        """Somebody decides through this process: it may be a pause, or the end of one."""
        self._next = self._clock() + SOON_S
        asyncio.get_running_loop().call_later(SOON_S, self.told)  # whatever the beat of those who look

    async def _ask(self, following: float) -> None:
        try:
            status = await self._client.as_user("", "viewer").status()
        except Refused as error:
            if self._clock() > self._heard + SILENT_S:
                silent = f"The cluster does not tell whether the log goes on; what is shown may be old. {error}"
                self._said = self._said._replace(log=silent)
        else:
            self._heard = self._clock()
            log = standstill(status.get("spool") or {}, status.get("store") or {}, time.time())
            if status.get("paused"):
                self._said = self._said._replace(log=log, pause=self._said.pause or PAUSED)
                await self._ask_who()
            else:
                self._said = Told(log)
        finally:
            self._asked = self._clock()
            if self._next == following:  # nobody decided meanwhile
                self._next = self._asked + EVERY_S

    async def _ask_who(self) -> None:
        try:
            async with asyncio.timeout(EVERY_S):
                changes = await self._data.history("policy", "policy")
        except (Failure, TimeoutError):  # what the cluster said is true all the same
            return
        pause, since = paused(changes)
        self._said = self._said._replace(pause=pause, since=since)


def paused(changes: Iterable[Document]) -> tuple[str, int]:
    """That everything is paused, by whom, and since when (Unix milliseconds), by the policy's changes, newest first."""
    for change in changes:
        if (change.body or {}).get("paused") and not (change.previous or {}).get("paused"):
            return f"{PAUSED} by {change.author}" if change.author else PAUSED, change.time
    return PAUSED, 0


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
