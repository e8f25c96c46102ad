"""What every call of the control API goes through: credential, limits, audit, errors, and the one way to write."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypedDict, TypeVar
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serve_app.control_desk import FEW, Desk
from serve_app.operations import Operation
from serve_app.wire import WireError, error_response, json_response
from verdicts.lists import BadEntry
from verdicts.names import BadName, shown
from verdicts.store import Conflict, Document, Epoch, Misconfigured, Store, Unavailable
from verdicts.tokens import BadToken, Forbidden, Identity, Unauthorised

log = logging.getLogger("ray.serve")

T = TypeVar("T")

MAX_BODY = 8 << 20  # bytes; a list to import is the largest
READ_AT_ONCE = 64 << 10  # bytes: a body is parsed within a millisecond
MAX_AUTHOR = 120  # characters
MAX_NOTE = 500
RANK = {"viewer": 0, "analyst": 1, "admin": 2}


class Committed(TypedDict):
    """From which epoch on a change is in force, and of which store."""

    epoch: int
    generation: str


class Call:
    """One request, its caller known."""

    def __init__(self, desk: Desk, request: Request, identity: Identity, author: str, role: str) -> None:
        self.desk = desk
        self.context = desk.context
        self.request = request
        self.identity = identity
        self.author = author
        self.role = role
        self._bulk = False  # whether it is counted among the changes of many entries

    async def answered(self, operation: Operation, body: bytes) -> Any:
        """What the operation answers this caller."""
        try:
            read = partial(operation.arguments, body, self.request.query_params)
            # A long list is read on a thread, so that no frame waits meanwhile.
            arguments = await self.make(len(body), read) if len(body) > READ_AT_ONCE else read()
            return await operation.handler(self, **arguments)
        finally:
            if self._bulk:
                self.desk.let_out_bulk()

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    async def search(self, ask: Callable[[Store], T]) -> T:
        """As `Desk.search`, for this caller."""
        return await self.desk.search(self.author, ask)

    async def long(self, act: Callable[..., T], *arguments: Any) -> T:
        """As `Desk.long`, or `Desk.look` where this caller only asks."""
        return await (self.desk.look if self.request.method == "GET" else self.desk.long)(act, *arguments)

    async def make(self, entries: int, act: Callable[[], T]) -> T:
        """As `Desk.make`. Raises `WireError` where too many changes of many entries are under way."""
        self._let_in(entries)
        return await self.desk.make(entries, act)

    async def commit(self, documents: Iterable[Document], note: str = "", expect: int | None = None) -> Committed:
        """Write through the verdict log, in this caller's name; the reply says from which epoch on it holds. Raises
        `WireError` as `make` does."""
        check_note(note)
        documents = list(documents)
        self._let_in(len(documents))  # an undo is short, and what it takes back may be long
        epoch: Epoch = await self.context.graph.commit(documents, self.author, note, expect)
        return {"epoch": epoch[0], "generation": epoch[1]}

    def _let_in(self, entries: int) -> None:
        """A change of many keeps its place from where it is first known to be one until its end."""
        if entries > FEW and not self._bulk:
            self.desk.let_in_bulk()
            self._bulk = True


def check_note(note: str) -> None:
    """Refuse one that is too long; for those who do more than write, before they do."""
    if len(note) > MAX_NOTE:
        raise WireError("malformed", f"note: {len(note)} characters, expected at most {MAX_NOTE}")


def mounted(desk: Desk, operation: Operation) -> Route:
    """The route of an operation."""

    async def answer(request: Request) -> Response:
        began = time.monotonic()
        author, token = "-", "-"
        failure: WireError | None = None
        reply: Any = None

        def leave_trace(outcome: str) -> None:
            # Every call does, also those that only read and those that were refused; what is changed stands in the
            # store's history as well.
            log.info(
                "control call",
                extra={
                    "method": operation.method,
                    "path": request.url.path[:200],
                    "author": author,
                    "token": token,
                    "outcome": outcome,
                    "milliseconds": round((time.monotonic() - began) * 1000, 1),
                },
            )

        try:
            call = await _call(desk, request, operation.role)
            author, token = call.author, call.identity.id
            body = await _body_of(request)
            answered = call.answered(operation, body)
            reply = await (answered if operation.method == "GET" else desk.to_its_end(answered))
        except asyncio.CancelledError:  # the caller has hung up, or has waited as long as Serve lets it
            leave_trace("gone")
            raise
        except ClientDisconnect:
            failure = WireError("malformed", "the caller hung up before its body was whole")
        except Exception as error:
            failure = failure_of(error)
            if failure.code == "internal":
                log.exception("control call %s %s failed", operation.method, operation.path)
        leave_trace(failure.code if failure else "ok")
        desk.context.metrics.answer(failure.code if failure else "ok")
        return error_response(failure) if failure else json_response(reply)

    return Route(operation.path, answer, methods=[operation.method])


async def _call(desk: Desk, request: Request, role: str) -> Call:
    identity = desk.context.identify(request.headers.get("authorization"), "viewer")
    effective = role_of(identity, request.headers.get("verdict-role"))
    if RANK[effective] < RANK[role]:
        raise Forbidden(f"role {effective}: expected {role}")
    return Call(desk, request, identity, author_of(identity, request.headers.get("verdict-user")), effective)


def role_of(identity: Identity, stated: str | None) -> str:
    """The lower of the token's role and the role stated for the person it acts for."""
    if stated is None:
        return identity.role
    if stated not in RANK:
        raise WireError("malformed", f"Verdict-Role {shown(stated)}: expected one of {', '.join(RANK)}")
    return min(identity.role, stated, key=lambda role: RANK[role])


def author_of(identity: Identity, stated: str | None) -> str:
    """Who stands in the history: the token's name, and before it the person that the token's holder names.

    The token's name always stays, so that nobody can sign as somebody else.
    """
    if not stated:
        return identity.name
    person = "".join(c for c in unquote(stated) if c.isprintable())[:MAX_AUTHOR]
    return identity.name if person == identity.name else f"{person} ({identity.name})"


async def _body_of(request: Request) -> bytes:
    from serve_app.routes import body_of  # it mounts us

    return await body_of(request, MAX_BODY)


def failure_of(error: BaseException) -> WireError:
    """The answer for whatever a handler raised."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):  # as another process raised it
        error = cause
    if isinstance(error, WireError):
        return error
    if isinstance(error, Unauthorised):
        return WireError("unauthorised", str(error))
    if isinstance(error, Forbidden):
        return WireError("forbidden", str(error))
    if isinstance(error, (BadEntry, BadName, BadToken)):
        return WireError("malformed", str(error))
    if isinstance(error, Conflict):
        return WireError("conflict", str(error))
    if isinstance(error, (Unavailable, Misconfigured, OSError)):  # the last: a full disk, a bucket that is away
        return WireError("unavailable", str(error), retry_after=5)
    return WireError("internal", "a defect here; the log has the details")
