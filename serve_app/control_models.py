"""`/v1/models` and `/v1/explain`: what may serve, what would change if it did, and why a name got its verdict."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypedDict, cast

import msgspec

from deployments import analyst
from model.manifest import Manifest
from model.replay import Change
from serve_app.control_calls import Call, Committed, check_note
from serve_app.judge import is_popular, judge_one
from serve_app.operations import Number, Operation
from serve_app.wire import WireError
from verdicts.arguments import DAY_MS
from verdicts.names import ineligible, typed
from verdicts.policy import ListHit, Thresholds, Tier, Verdict
from verdicts.store import Document, Filter

REPLAYED = 20_000  # of the most asked names, and of the highest scores: what is rare is where generated names are
SHOWN_CHANGES = 1000
EXPLAIN_BUDGET_S = 8.0  # less than the dashboard waits

Through = Callable[..., Coroutine[Any, Any, Any]]  # `Call.long`, or another way to its threads


class Promotion(msgspec.Struct, forbid_unknown_fields=True):
    """`force`: serve a model that fails the guard set all the same."""

    note: str = ""
    force: bool = False


class RollBack(msgspec.Struct, forbid_unknown_fields=True):
    """Why."""

    note: str = ""


class Range(msgspec.Struct, forbid_unknown_fields=True):
    """Logged names of this time to ask again, Unix milliseconds."""

    start: Number | None = None
    end: Number | None = None


class NameToExplain(msgspec.Struct, forbid_unknown_fields=True):
    """One name, as it would be asked."""

    name: str


class Models(TypedDict):
    """Every model that may serve, and the version that does ("" for none)."""

    serving: str
    models: list[Manifest]


class Model(TypedDict):
    """One model; `history` as its training wrote it, a line an object."""

    manifest: Manifest
    history: list[dict[str, Any]]
    evaluation: dict[str, Any]
    serving: bool


class Served(Committed):
    """The version that serves from now on; `notices` says what to know of it, such as that it never blocks."""

    serving: str
    notices: list[str]


class Replayed(TypedDict):
    """What a candidate would change: `names` and their `queries` asked again, queries by tier before and after."""

    names: int
    queries: int
    before: dict[Tier, int]
    after: dict[Tier, int]
    changes: list[Change]  # the first of them
    changed: int  # all of them
    start: int
    end: int
    notices: list[str]  # what to know of the candidate, such as that it never blocks


class Character(TypedDict):
    """How much the explained head's logit falls when this character is hidden."""

    character: str
    weight: float


class Family(TypedDict):
    """The known family that a name resembles most, with its share of the likelihood over all of them."""

    family: str
    share: float


class Alone(TypedDict):
    """What the model says of a name without the lists."""

    tier: Tier
    rule: str
    score: float
    generated: float


class Explained(TypedDict):
    """Why a name has its verdict: the entry that decides, else what moved the model."""

    name: str
    verdict: Verdict
    model: str
    entry: ListHit | None
    characters: list[Character]
    head: str
    nearest: Family | None
    alone: Alone | None


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/models", "viewer", show),
        Operation("POST", "/v1/models/rollback", "admin", roll_back),
        Operation("GET", "/v1/models/{version}", "viewer", show_one),
        Operation("POST", "/v1/models/{version}/promote", "admin", promote),
        Operation("POST", "/v1/models/{version}/replay", "analyst", replay),
        Operation("POST", "/v1/explain", "viewer", explain),
    ]


async def show(call: Call) -> Models:
    """The manifests of all models, and which of them serves."""
    found: Models = await _registry(call, analyst.models)
    return found


async def show_one(call: Call) -> Model:
    """One manifest, with the history of its training and its evaluation."""
    found: Model = await _registry(call, analyst.model, call.path("version"))
    return found


async def promote(call: Call, body: Promotion) -> Served:
    """Let a version serve, if it passes the guard set; classifiers follow within seconds."""
    return await _changed(call, body.note, "promote", call.path("version"), body.force, _in_force(call))


async def roll_back(call: Call, body: RollBack) -> Served:
    """Let the version serve that served before."""
    return await _changed(call, body.note, "roll_back")


async def replay(call: Call, body: Range) -> Replayed:
    """The verdicts that this version would change, over logged names that no list decided, or decides by now."""
    end = body.end if body.end is not None else call.desk.now()
    start = body.start if body.start is not None else end - DAY_MS
    if start >= end:
        raise WireError(
            "malformed", f"start {start}, end {end}: expected the start before the end, in Unix milliseconds"
        )
    with call.desk.replaying():
        return await _replayed(call, start, end)


async def _replayed(call: Call, start: int, end: int) -> Replayed:
    where = Filter(start=start, end=end, source=("model",))
    aside = call.desk.replay
    await _registry(call, analyst.known, call.path("version"), through=aside)  # before the log is read, which is long
    most, highest = [
        await aside(call.desk.store.frequent, where, "qname", REPLAYED, order) for order in ("count", "score")
    ]
    view = call.context.follower.view
    logged = most | highest
    names = await aside(lambda: {name: logged[name] for name in logged if view.lists.match(name) is None})
    popular = await aside(lambda: {name for name in names if is_popular(view, name)})
    asked = list(names.items())
    report = await _registry(
        call, analyst.ask, "replay", call.path("version"), asked, view.policy, popular, through=aside
    )
    changes = report["changes"]
    notices = await _registry(call, analyst.notices, call.path("version"), view.policy.thresholds, through=aside)
    told = {"changes": changes[:SHOWN_CHANGES], "changed": len(changes), "notices": notices, "start": start, "end": end}
    return cast(Replayed, {**report, **told})


async def explain(call: Call, body: NameToExplain) -> Explained:
    """The verdict of a name as it would be now, the list entry that decides, and what the model alone says of it."""
    name = typed(body.name)
    deadline = time.time() + EXPLAIN_BUDGET_S
    verdict, model, view = await judge_one(call.context, name, deadline)
    hit = view.lists.match(name)
    why: dict[str, Any] = {}
    # Without an entry, too, the model is not asked of every name.
    if verdict.source == "model" or hit is not None and ineligible(name) is None:
        try:
            why = await _why(call, name, view.policy.thresholds, deadline)
        except WireError:
            if hit is None:  # an entry decides without the model
                raise
    return {
        "name": name, "verdict": verdict, "model": model, "entry": hit,
        "characters": why.get("characters", []), "head": why.get("head", ""), "nearest": why.get("nearest"),
        "alone": cast(Alone, {key: why[key] for key in Alone.__annotations__}) if why else None,
    }  # fmt: skip


async def _why(call: Call, name: str, thresholds: Thresholds | None, deadline: float) -> dict[str, Any]:
    """What moved the model; a classifier that is silent costs no more than the time that is left."""
    try:
        async with asyncio.timeout(deadline - time.time()):
            return await call.context.graph.explain(name, thresholds)
    except TimeoutError:
        raise WireError("expired", f"the model gave no explanation within {EXPLAIN_BUDGET_S:g} s") from None


async def _changed(call: Call, note: str, what: str, *arguments: Any) -> Served:
    """The registry's pointer decides what serves; the document moves the epoch, so that resolvers refresh."""
    check_note(note)
    former = await _registry(call, analyst.pointer)
    served = await _registry(call, analyst.change, what, *arguments)
    try:
        committed = await call.commit([Document("model", "serving", {"version": served})], note)
    except Exception:  # what nobody answers for must not serve; and who asks again would go back one further
        await _registry(call, analyst.take_back, served, former)
        raise
    notices = await _registry(call, analyst.notices, served, _in_force(call))
    return {**committed, "serving": served, "notices": notices}


def _in_force(call: Call) -> Thresholds | None:
    """The thresholds that an administrator set in place of the model's own."""
    return call.context.follower.view.policy.thresholds


async def _registry(call: Call, act: Callable[..., Any], *arguments: Any, through: Through | None = None) -> Any:
    try:
        return await (through or call.long)(act, call.context.settings.registry, *arguments)
    except analyst.Refused as error:
        raise WireError(error.code, str(error)) from None
    except analyst.Unanswered as error:
        raise WireError("unavailable", str(error), retry_after=5) from None
