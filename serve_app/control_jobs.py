"""`/v1/jobs`: training on the cluster, started, watched, cancelled."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from serve_app.control_calls import Call, Desk, route
from serve_app.wire import WireError
from verdicts.store import Document, Filter

SEEN_NAMES = 30_000  # of recent traffic, to hold the network in place
SEEN_MS = 7 * 86_400_000
MAX_LABELS = 100_000


class Start(msgspec.Struct, forbid_unknown_fields=True):
    """`kind` retrain or train; `settings` as `model.jobs.JobSettings`. What a retrain is not
    given of labels and seen names, it takes from the store."""

    kind: str
    settings: dict[str, Any] = {}
    note: str = ""


def routes(desk: Desk) -> list[BaseRoute]:
    return [
        route(desk, "GET", "/v1/jobs", "viewer", show),
        route(desk, "POST", "/v1/jobs", "analyst", start),
        route(desk, "GET", "/v1/jobs/{id}", "viewer", show_one),
        route(desk, "DELETE", "/v1/jobs/{id}", "analyst", cancel),
    ]


async def show(call: Call) -> Any:
    return {"jobs": await _trainer(call, "jobs", runs_of(call))}


async def show_one(call: Call) -> Any:
    return await _trainer(call, "status", call.path("id"), runs_of(call), call.number("after", 0, 0, 1 << 31))


async def start(call: Call) -> Any:
    wanted = call.body(Start)
    settings = {**wanted.settings, "kind": wanted.kind}
    if wanted.kind == "retrain":
        given = {key: value for key, value in settings.items() if value or key not in ("labels", "seen")}
        settings = await call.desk.long(lambda: taught(call.desk.store, call.desk.now())) | given
    job = await _trainer(call, "start", settings, call.context.settings.registry, runs_of(call))
    reply = await call.commit([Document("job", job, {"kind": wanted.kind, "state": "started"})], wanted.note)
    return {**reply, "id": job}


async def cancel(call: Call) -> Any:
    job = call.path("id")
    found = await _trainer(call, "cancel", job, runs_of(call))
    await call.commit([Document("job", job, {"kind": found.get("kind", ""), "state": "cancelled"})])
    return found


def taught(store: Any, now: int) -> dict[str, Any]:
    """The labels that analysts gave, and the names lately asked for."""
    labels = [
        {"name": document.key, "label": document.body["label"]}
        for document in itertools.islice(store.scan("label"), MAX_LABELS)
    ]
    recent = Filter(start=now - SEEN_MS, end=now, source=("model",))
    return {"labels": labels, "seen": [row.key for row in store.top(recent, "qname", SEEN_NAMES)]}


def runs_of(call: Call) -> str:
    """The folder of jobs: beside the spool, on a disk that survives the process."""
    return str(Path(call.context.settings.spool_dir).parent / "jobs")


async def _trainer(call: Call, what: str, *arguments: Any) -> Any:
    from deployments import trainer
    from model.jobs import BadSettings

    try:
        return await call.desk.long(getattr(trainer, what), *arguments)
    except BadSettings as error:
        raise WireError("malformed", str(error)) from None
    except trainer.UnknownJob as error:
        raise WireError("not-found", str(error)) from None
    except trainer.Busy as error:
        raise WireError("conflict", str(error)) from None
    except OSError as error:  # the disk of the jobs is full
        raise WireError("unavailable", str(error), retry_after=60) from None
