"""`/v1/models` and `/v1/explain`: what may serve, what would change if it did, and why a name got its verdict."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from deployments import analyst
from serve_app.control_calls import Call, Desk, route
from serve_app.judge import is_popular, judge_one
from serve_app.wire import WireError
from verdicts.names import normalise
from verdicts.store import Document, Filter

REPLAYED = 20_000  # of the most asked names, and of the highest scores: what is rare is where generated names are
SHOWN_CHANGES = 1000
EXPLAIN_BUDGET_S = 8.0
DAY_MS = 86_400_000


class Note(msgspec.Struct, forbid_unknown_fields=True):
    note: str = ""
    force: bool = False  # serve a model that fails the guard set all the same


class Range(msgspec.Struct, forbid_unknown_fields=True):
    """Logged names of this time to ask again, Unix milliseconds."""

    start: int | None = None
    end: int | None = None


class Question(msgspec.Struct, forbid_unknown_fields=True):
    name: str


def routes(desk: Desk) -> list[BaseRoute]:
    return [
        route(desk, "GET", "/v1/models", "viewer", show),
        route(desk, "POST", "/v1/models/rollback", "admin", roll_back),
        route(desk, "GET", "/v1/models/{version}", "viewer", show_one),
        route(desk, "POST", "/v1/models/{version}/promote", "admin", promote),
        route(desk, "POST", "/v1/models/{version}/replay", "analyst", replay),
        route(desk, "POST", "/v1/explain", "viewer", explain),
    ]


async def show(call: Call) -> Any:
    """The manifests of all models, and which of them serves."""
    return await _registry(call, analyst.models)


async def show_one(call: Call) -> Any:
    """One manifest, with the history of its training and its evaluation."""
    return await _registry(call, analyst.model, call.path("version"))


async def promote(call: Call) -> Any:
    """Let a version serve, if it passes the guard set; classifiers follow within seconds."""
    wanted = call.body(Note)
    served = await _analyst(call, "promote", call.path("version"), wanted.force)
    return {**await _served(call, served, wanted.note), "serving": served}


async def roll_back(call: Call) -> Any:
    wanted = call.body(Note)
    served = await _analyst(call, "roll_back")
    return {**await _served(call, served, wanted.note), "serving": served}


async def replay(call: Call) -> Any:
    """The verdicts that this version would change, over logged names that no list decided."""
    wanted = call.body(Range)
    end = wanted.end or call.desk.now()
    start = wanted.start if wanted.start is not None else end - DAY_MS
    where = Filter(start=start, end=end, source=("model",))
    tops = [await call.desk.long(call.desk.store.top, where, "qname", REPLAYED, order) for order in ("count", "score")]
    names = {row.key: row.count for top in tops for row in top}
    view = call.context.follower.view
    popular = {name for name in names if is_popular(view, name)}
    report = await _analyst(call, "replay", call.path("version"), list(names.items()), view.policy, popular)
    changes = report["changes"]
    return {**report, "changes": changes[:SHOWN_CHANGES], "changed": len(changes), "start": start, "end": end}


async def explain(call: Call) -> Any:
    """The verdict of a name as it would be now, the list entry that decides, and what the model alone says of it."""
    name = normalise(call.body(Question).name)
    verdict, model, view = await judge_one(call.context, name, time.time() + EXPLAIN_BUDGET_S)
    hit = view.lists.match(name)
    entry = None if hit is None else {"list": hit.list, "suffix": hit.suffix}
    why: dict[str, Any] = {}
    if verdict.source == "model" or hit is not None:
        try:
            why = await call.context.graph.explain(name, view.policy.thresholds)
        except WireError:
            if hit is None:  # an entry decides without the model
                raise
    return {
        "name": name, "verdict": msgspec.to_builtins(verdict), "model": model, "entry": entry,
        "characters": why.get("characters", []), "head": why.get("head", ""), "nearest": why.get("nearest"),
        "alone": {key: why[key] for key in ("tier", "rule", "score", "generated")} if why else None,
    }  # fmt: skip


async def _served(call: Call, version: str, note: str) -> dict[str, Any]:
    # The registry's pointer decides what serves; the document moves the epoch, so that resolvers refresh.
    return await call.commit([Document("model", "serving", {"version": version})], note)


async def _analyst(call: Call, what: str, *arguments: Any) -> Any:
    """Have the analyst do what needs TensorFlow."""
    return await _registry(call, analyst.ask, what, *arguments)


async def _registry(call: Call, act: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return await call.desk.long(act, call.context.settings.registry, *arguments)
    except analyst.Refused as error:
        raise WireError(error.code, str(error)) from None
    except analyst.TooLong as error:
        raise WireError("unavailable", str(error), retry_after=5) from None
