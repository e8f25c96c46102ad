"""The HTTP routes of the ingress: limits before parsing, credentials before work, errors in one form."""

import asyncio
import logging
import time
import zlib
from collections.abc import Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from serve_app import control, exposition, openapi
from serve_app.admission import TellTakes
from serve_app.context import Context
from serve_app.judge import judge_frame, judge_one
from serve_app.unread import CloseUnread
from serve_app.wire import (
    BUDGET_HEADER,
    UNREADABLE,
    WireError,
    budget_of,
    error_response,
    json_response,
    names_of,
    question_of,
)
from verdicts.names import BadName, normalise
from verdicts.observations import Acknowledgement, BadObservation, Batch, check
from verdicts.spool import SpoolFull
from verdicts.tokens import Forbidden, Identity, Unauthorised

log = logging.getLogger("ray.serve")

BODY_S = 30.0  # for a body to be whole

Handler = Callable[[Request], Awaitable[Response]]

_batch = msgspec.json.Decoder(Batch)


def application(context: Context) -> Starlette:
    """The ASGI application of one ingress replica."""
    handlers = _Handlers(context)
    routes: list[BaseRoute] = [
        Route("/v1/verdicts", handlers.guarded(handlers.verdicts), methods=["POST"]),
        Route("/v1/observations", handlers.guarded(handlers.observations), methods=["POST"]),
        Route("/v1/verdict", handlers.guarded(handlers.verdict), methods=["POST"]),
        Route("/healthz", handlers.guarded(handlers.healthz), methods=["GET"]),
        Route("/readyz", handlers.guarded(handlers.readyz), methods=["GET"]),
        Route("/openapi.json", handlers.guarded(handlers.openapi), methods=["GET"]),
        Route("/metrics", handlers.guarded(handlers.metrics), methods=["GET"]),
        *control.routes(context),
    ]
    built = Starlette(
        routes=routes,
        middleware=[Middleware(TellTakes, context.admission), Middleware(CloseUnread)],
        exception_handlers={HTTPException: _not_found, WireError: _wire_error},
    )
    built.router.redirect_slashes = (
        False  # a redirect names http:// and the caller's Host: behind TLS, a token in clear
    )
    return built


class _Handlers:
    def __init__(self, context: Context) -> None:
        self.context = context

    def guarded(self, handler: Handler) -> Handler:
        """The handler, with every failure turned into the one form of errors and counted."""

        async def answer(request: Request) -> Response:
            try:
                response = await handler(request)
                self.context.metrics.answer("ok")
                return response
            except WireError as error:
                failure = error
            except Unauthorised as error:
                failure = WireError("unauthorised", str(error))
            except Forbidden as error:
                failure = WireError("forbidden", str(error))
            except ClientDisconnect:
                failure = WireError("malformed", "the caller hung up before its body was whole")
            except Exception:
                log.exception("%s failed", request.url.path)
                failure = WireError("internal", "a defect here; the log has the request's id")
            self.context.metrics.answer(failure.code)
            return error_response(failure)

        return answer

    async def verdicts(self, request: Request) -> Response:
        began = time.time()
        self._identify(request, "resolver", "analyst")
        budget = self._budget(request)
        deadline = began + budget
        body = await body_of(request, self.context.settings.max_frame_bytes, min(budget, BODY_S))
        names = names_of(body, self.context.settings.max_names)
        reply = await judge_frame(self.context, names, zlib.crc32(body), deadline)
        return Response(reply, media_type="application/json")

    async def verdict(self, request: Request) -> Response:
        began = time.time()
        self._identify(request, "resolver", "analyst")
        budget = self._budget(request)
        body = await body_of(request, self.context.settings.max_frame_bytes, min(budget, BODY_S))
        question = question_of(body)
        try:
            name = normalise(question.qname)
        except BadName as error:
            raise WireError("malformed", str(error)) from None
        verdict, model, view = await judge_one(self.context, name, began + budget)
        self.context.records.add(name, question.client, verdict, model, int((time.time() - began) * 1e6))
        head = {"epoch": view.epoch.number, "generation": view.epoch.generation, "model": model, "qname": name}
        return json_response({**head, **msgspec.to_builtins(verdict)})

    async def observations(self, request: Request) -> Response:
        identity = self._identify(request, "resolver")
        body = await body_of(request, self.context.settings.max_report_bytes)
        try:
            batch = _batch.decode(body)
            check(batch)
        except (*UNREADABLE, BadObservation) as error:
            raise WireError("malformed", f"observations: {error}") from None
        if identity.role == "resolver" and batch.resolver != identity.name:
            raise Forbidden(f"token {identity.id}: of resolver {identity.name}, expected it to report as that")
        try:
            await self.context.graph.append(body)
        except SpoolFull as error:
            self.context.metrics.rows("refused", len(batch.rows))
            raise WireError("unavailable", str(error), retry_after=5) from None
        self.context.metrics.rows("kept", len(batch.rows))
        return json_response(self._acknowledge(batch))

    def _acknowledge(self, batch: Batch) -> Acknowledgement:
        follower = self.context.follower
        view = follower.view  # before the changes: told twice is harmless, never told is not
        changed, refresh = follower.changes_since(batch.epoch, batch.generation)
        policy = view.policy
        return Acknowledgement(
            view.epoch.number, view.epoch.generation, changed, refresh, policy.paused, policy.overrides
        )

    async def healthz(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        state = readiness(self.context)
        return json_response(state, 200 if state["ready"] else 503)

    async def openapi(self, request: Request) -> Response:
        return json_response(await asyncio.to_thread(openapi.document, self.context.settings.max_names))

    async def metrics(self, request: Request) -> Response:
        self._identify(request, "viewer")
        try:
            nodes = await exposition.asked()
            if not nodes:
                raise WireError("not-found", "metrics: no node offers them; start the cluster with --metrics-port")
            text = await exposition.gather(nodes)
        except exposition.NoAnswer as error:
            raise WireError("unavailable", str(error), retry_after=5) from None
        return Response(text, media_type=exposition.MEDIA_TYPE)

    def _identify(self, request: Request, *roles: str) -> Identity:
        return self.context.identify(request.headers.get("authorization"), *roles)

    def _budget(self, request: Request) -> float:
        settings = self.context.settings
        return budget_of(request.headers.get(BUDGET_HEADER), settings.default_budget_ms, settings.max_budget_ms)


async def body_of(request: Request, limit: int, patience_s: float = BODY_S) -> bytes:
    """The request's body; refused before it is read where its length says so, else once it is too long or late."""
    stated = request.headers.get("content-length", "")
    if stated.isascii() and stated.isdigit() and (len(stated) > 18 or int(stated) > limit):
        raise WireError("too-large", f"body: {stated[:20]} octets, expected at most {limit}")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(patience_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise WireError("too-large", f"body: more than {limit} octets")
                chunks.append(chunk)
    except TimeoutError:
        raise WireError("expired", f"body: not whole within {patience_s:.3g} s") from None
    return b"".join(chunks)


def readiness(context: Context) -> dict[str, object]:
    """What `/readyz` says: whether verdicts can be given, and of each part what is stale and since when."""
    follower, model = context.follower, context.model
    stale = follower.stale_since
    return {
        "ready": follower.loaded and "unreachable" not in model,
        "decisions": {
            "epoch": follower.epoch.number,
            "loaded": follower.loaded,
            "stale_since": None if stale is None else int(stale * 1000),
            "error": follower.error,
        },
        "model": model,
        "log": {key: value for key, value in context.log_state.items() if key != "resolvers"},  # asked by anyone
    }


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        refusal = error_response(WireError("method-not-allowed", f"method {request.method[:10]}: not for this path"))
        refusal.headers["Allow"] = ", ".join(_methods_of(request))
        return refusal
    return error_response(WireError("not-found", "no such path; /openapi.json lists them"))


def _methods_of(request: Request) -> list[str]:
    """Of this path; Starlette tells those of the first route that has it, and a path has a route for each."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    there = [route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for methods in there for method in methods})


async def _wire_error(request: Request, error: Exception) -> Response:
    if isinstance(error, WireError):
        return error_response(error)
    return error_response(WireError("internal", "a defect here"))
