"""`/v1/status`: what runs, how well, and which resolvers report."""

import asyncio
import logging
from typing import Any, TypedDict

from serve_app.control_calls import Call
from serve_app.operations import Operation

log = logging.getLogger("ray.serve")

PATIENCE_S = 3.0


class Resolver(TypedDict):
    """The last report of a resolver's engine."""

    time: int
    resolver: str
    boot: str
    batch: int
    epoch: int
    generation: str
    mode: str
    version: str
    seen: int
    discarded: int


class Deployment(TypedDict):
    """A deployment's state and its replicas by state, as Serve has them."""

    status: str
    replicas: dict[str, int]


class Status(TypedDict):
    """What runs, and how well. `stale_since` null: decisions are followed; `spool` and `store` of one replica."""

    epoch: int
    generation: str
    paused: bool
    stale_since: int | None
    error: str
    model: dict[str, Any]
    resolvers: list[Resolver]
    spool: dict[str, Any]
    store: dict[str, Any]
    deployments: dict[str, Deployment]
    in_flight: int
    limit: float


def operations() -> list[Operation]:
    return [Operation("GET", "/v1/status", "viewer", show)]


async def show(call: Call) -> Status:
    """What runs, how well, and which resolvers report.

    `resolvers`: name, boot, epoch, mode, version and time (Unix milliseconds) of the last report of each."""
    context = call.context
    follower = context.follower
    told, deployments = await asyncio.gather(_log(call), _deployments(call))
    return {
        "epoch": follower.epoch.number,
        "generation": follower.epoch.generation,
        "paused": follower.policy.paused,
        "stale_since": None if follower.stale_since is None else int(follower.stale_since * 1000),
        "error": follower.error,
        "model": {**context.model, "version": context.model.get("model", "")},
        "resolvers": told.pop("resolvers", []),
        "spool": {key: value for key, value in told.items() if key.startswith("spool") or key in ("stored", "dead")},
        "store": {"state": told.get("store", "unreachable"), **{k: told[k] for k in ("since", "error") if k in told}},
        "deployments": deployments,
        "in_flight": context.admission.in_flight,
        "limit": context.admission.limit,
    }


async def _log(call: Call) -> dict[str, Any]:
    try:
        return dict(await asyncio.wait_for(call.context.graph.log_status(), PATIENCE_S))
    except Exception as error:
        return {"error": str(error) or type(error).__name__}


async def _deployments(call: Call) -> dict[str, Any]:
    """Empty while Serve's controller is away; on a thread that no decision needs, for it may hang until then."""
    try:
        return await asyncio.wait_for(call.long(deployment_states), PATIENCE_S)
    except Exception as error:
        log.warning("Serve's controller does not answer: %s", str(error) or type(error).__name__)
        return {}


def deployment_states() -> dict[str, Any]:
    """Each deployment's state and its replicas by state, as Serve's controller has them; empty without Serve."""
    import ray

    if not ray.is_initialized():
        return {}
    from ray import serve

    return {
        name: {"status": str(found.status.value), "replicas": {str(k): v for k, v in found.replica_states.items()}}
        for application in serve.status().applications.values()
        for name, found in application.deployments.items()
    }
