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

LEAST_S = 0.02  # with less time left, another one's answer would hardly come in time
SHARE = 0.05  # second asks of all asks, in the long run
BURST = 10.0  # and this many at once: as many may wait at a replica when it stops


class Abandoned(RuntimeError):
    """A replica gave up what it was asked, as one does that is shut down."""


class SecondAsk:
    """Asks, and asks again once `patience` (a share of the time that is left) has passed without an answer."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._allowed = BURST

    async def ask(self, call: Callable[..., Awaitable[Any]], *arguments: Any, deadline: float) -> Any:
        """The first answer to `call(*arguments)`; `deadline` is Unix seconds.

        The one that is not needed any more is cancelled. Raises what the last one raised that was waited for, or
        `Abandoned`.
        """
        self._allowed = min(BURST, self._allowed + SHARE)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        waiting: set[asyncio.Future[Any]] = set()

        def ask_one() -> None:
            one = asyncio.ensure_future(call(*arguments))
            waiting.add(one)
            one.add_done_callback(ended)

        def ended(one: asyncio.Future[Any]) -> None:
            waiting.discard(one)
            error = Abandoned("a replica gave up") if one.cancelled() else one.exception()
            if answer.done():
                return
            if error is None:
                answer.set_result(one.result())
            elif not waiting:
                answer.set_exception(error)

        def ask_another() -> None:
            if not answer.done() and self._allowed >= 1:
                self._allowed -= 1
                ask_one()

        ask_one()
        left = deadline - time.time()
        timer = loop.call_later(self._patience * left, ask_another) if left >= LEAST_S else None
        try:
            return await answer
        finally:
            if timer is not None:
                timer.cancel()
            for one in waiting:
                one.cancel()
