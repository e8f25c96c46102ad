"""What all pages share: filters in the address, reading that is cancelled when the filters move on, states."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import panel as pn

from dashboard.accounts import Role, allows
from dashboard.client import Control, Refused
from dashboard.components import LOADING, READY, Box, Component
from dashboard.data import Data, Failure
from dashboard.filters import CUSTOM, FIELDS, RANGE_FIELDS, Filters
from dashboard.typed import BadFilter

logger = logging.getLogger("dashboard")

OnRefusal = Callable[[Refused], Awaitable[None]]

RETRY_S = 5  # after which a page tries again that got no answer


class Context(NamedTuple):
    """What a page may use; one a session."""

    data: Data
    control: Control
    user: str
    role: Role
    go: Callable[[str], None]  # to an address of this application
    tell: Callable[[str, str], None]  # a message to the person: text, and success, error, warning or info
    kept: dict[str, Any]  # by a page's path: what it finds again when the person comes back to it
    since: int = 0  # when the person's last visit ended, Unix milliseconds; 0: not known


class Page:
    """One visit to a page. `beat` is called each second while the page is shown."""

    path: ClassVar[str]
    title: ClassVar[str]
    beat_seconds: ClassVar[int] = 0  # 0: read once, and when the filters change
    usual_range: ClassVar[str] = "1h"  # where the address names none
    taken: ClassVar[tuple[str, ...]] = RANGE_FIELDS  # of its address; what it does not show counts nothing out

    def __init__(self, context: Context, query: dict[str, str]) -> None:
        self.context = context
        self.query = query
        self.filters = Filters(self.usual_range)
        self.filters.restore({key: value for key, value in query.items() if key in self.taken})
        self._reading: asyncio.Task[None] | None = None
        self._seconds = 0
        self.failed = False
        self._watcher = self.filters.param.watch(self._filters_changed, list(FIELDS))

    def view(self) -> Any:
        """The page's content; called once."""
        raise NotImplementedError

    async def read(self) -> None:
        """Read what the page shows. May raise `Failure`, which `parts()` then show."""

    def parts(self) -> Iterable[Component]:
        """The components that show loading and failure."""
        return ()

    def address(self) -> str:
        """Where this page with its present filters is found again."""
        query = self.filters.query()
        return self.path + ("?" + query if query else "")

    async def start(self) -> None:
        await self.reload()

    def stop(self) -> None:
        self.filters.param.unwatch(self._watcher)
        if self._reading is not None:
            self._reading.cancel()

    async def beat(self) -> None:
        self._seconds += 1
        every = min(self.beat_seconds or RETRY_S, RETRY_S) if self.failed else self.beat_seconds
        if every and self._seconds % every == 0 and (not self._reading or self._reading.done()):
            await self.reload()

    async def reload(self) -> None:
        """Read again; a reading that still runs for older filters is dropped."""
        if self._reading is not None:
            self._reading.cancel()
        reading = self._reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.shield(reading)
        except asyncio.CancelledError:
            if not reading.cancelled():  # not the reading was dropped for a newer one, but whoever waits here
                raise

    async def _read(self) -> None:
        failed = True
        try:
            await self.read()
        except Failure as failure:
            self.show({"kind": "failed", "text": str(failure)})
        except BadFilter as error:
            failed = False
            self.show({"kind": "failed", "title": "This filter matches nothing", "text": str(error)})
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("page %s", self.path)
            text = "the server's log tells more; this page tries again by itself"
            self.show({"kind": "failed", "title": "This page met an error", "text": text})
        else:
            failed = False
            self.show(READY)
        self.failed = failed

    def show(self, status: dict[str, str]) -> None:
        for part in self.parts():
            if part.status != status:
                part.status = status

    def _filters_changed(self, *_: Any) -> None:
        self.show(LOADING)
        self.context.go(self.address())
        schedule(self.reload)

    def zoom(self, message: dict[str, Any]) -> None:
        """Show the interval of a chart's bar that was clicked."""
        if message.get("action") == "interval":
            self.filters.param.update(range=CUSTOM, start=int(message["start"]), end=int(message["end"]))

    def may(self, role: Role) -> bool:
        return allows(self.context.role, role)

    async def act(
        self, doing: Awaitable[Any], done: str | Callable[[Any], str], refused: OnRefusal | None = None
    ) -> Any:
        """As `act`, for this page."""
        return await act(self.context.tell, doing, done, refused)


async def act(
    tell: Callable[[str, str], None],
    doing: Awaitable[Any],
    done: str | Callable[[Any], str],
    refused: OnRefusal | None = None,
) -> Any:
    """Do something through the control API and say how it went, in words that may depend on its answer; None where it
    was refused, which `refused` tells where it is given, or is not known to be done."""
    try:
        result = await doing
        said = done if isinstance(done, str) else done(result)
    except Refused as error:
        if refused is None:
            tell(str(error), "error")
        else:
            await refused(error)
        return None
    except Exception:
        logger.exception("a change met an error")
        tell("This page met an error; it may be done all the same. The server's log tells more.", "error")
        return None
    tell(said, "success")
    return {} if result is None else result


def schedule(doing: Callable[[], Awaitable[None]]) -> None:
    """Run what returns an awaitable on the session's event loop, with its document."""

    async def run() -> None:
        await doing()

    pn.state.execute(run)  # which tells coroutine functions from others by their kind: a lambda would not do


def panel(*objects: Any) -> Box:
    """A bordered surface of the page."""
    return Box("panel", objects)


def stack(*objects: Any, **params: Any) -> Box:
    """Below each other, the whole width: the frame of a page, and of what a page shows and hides together."""
    return Box("stack", objects, **params)


def aside(*objects: Any) -> Box:
    """Beside what is longer than the window: in sight however far that is scrolled. Where it is narrow the single keys
    alone are, as a bar at the lower edge."""
    return Box("aside", objects)


def toolbar(*objects: Any, gap: int = 12) -> Box:
    """Inputs and buttons in a row that wraps."""
    return Box("toolbar", objects, f"gap: {gap}px")


def columns(*objects: Any, least: int = 420, shares: tuple[int, ...] = ()) -> Box:
    """Side by side where there is room for `least` pixels each, below each other on a phone.

    `shares`: how the room beyond that is divided; without it evenly.
    """
    for item, share in zip(objects, shares or (1,) * len(objects), strict=True):
        item.style = f"flex: {share} 1 {least}px; min-width: min({least}px, 100%)"
    return Box("columns", objects)
