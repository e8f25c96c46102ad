"""A second replica is asked where the first one is silent.

A replica that is stopped or hangs keeps what it was given until the caller's budget is over, and the router goes on
giving it questions until a health check ends it. To judge has no effect, so asking another one as well is safe (Dean
and Barroso 2013, "The tail at scale"). Second asks are few by rule: a cluster that is merely full must not be asked
twice as much.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

SHARE = 0.05  # second asks of all asks, in the long run
BURST = 10.0  # and this many at once: as many may wait at a replica when it stops


class SecondAsk:
    """Asks, and asks again once `patience` (a share of the time that is left) has passed without an answer."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._allowed = BURST

    async def ask(self, call: Callable[..., Awaitable[Any]], *arguments: Any, deadline: float) -> Any:
        """The first answer to `call(*arguments)`; `deadline` is Unix seconds.

        The one that is not needed any more is cancelled. Raises what the last one raised that was waited for.
        """
        self._allowed = min(BURST, self._allowed + SHARE)
        waiting = {asyncio.ensure_future(call(*arguments))}
        try:
            done, _ = await asyncio.wait(waiting, timeout=self._patience * max(0.0, deadline - time.time()))
            if not done and self._allowed >= 1:
                self._allowed -= 1
                waiting.add(asyncio.ensure_future(call(*arguments)))
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                good = [one for one in done if one.exception() is None]
                if good or not waiting:
                    return (good or list(done))[0].result()
        finally:
            for one in waiting:
                one.cancel()
