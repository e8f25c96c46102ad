"""`/v1/jobs`: training on the cluster, started, watched, cancelled, resumed."""

import heapq
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import msgspec
from msgspec import Meta

from serve_app.control_calls import Call, Committed, check_note, failure_of
from serve_app.operations import Operation, one_of
from serve_app.wire import WireError
from verdicts.arguments import DAY_MS
from verdicts.names import shown
from verdicts.store import Document, Filter
from verdicts.tokens import Forbidden

log = logging.getLogger("ray.serve")

SEEN_NAMES = 30_000  # of recent traffic, to hold the network in place
SEEN_MS = 7 * DAY_MS
MAX_LABELS = 100_000  # that teach at once
ENDED = ("done", "failed")


class Start(msgspec.Struct, forbid_unknown_fields=True):
    """`kind` retrain or train; `settings` as `model.jobs.JobSettings`. What a retrain is not
    given of labels and seen names, it takes from the store."""

    kind: Annotated[str, one_of("retrain", "train")]
    settings: Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/JobSettings"})] = {}
    note: str = ""


class Resumption(msgspec.Struct, forbid_unknown_fields=True):
    """Why."""

    note: str = ""


class HistoryAfter(msgspec.Struct):
    """From which line of its history on."""

    after: Annotated[int, Meta(ge=0, le=1 << 31)] = 0


class Job(TypedDict):
    """A training job, as `deployments.trainer` tells it; `ended` 0: not yet; `resumable`: it can go on
    where it ended."""

    id: str
    kind: str
    state: Annotated[str, Meta(extra_json_schema={"enum": ["queued", "running", "done", "failed", "cancelled"]})]
    settings: dict[str, Any]
    version: str
    device: str
    started: int
    ended: int
    progress: dict[str, Any]
    error: str
    resumable: bool


class JobWithHistory(Job):
    """`history`: its lines from the asked one on."""

    history: list[dict[str, Any]]


class Jobs(TypedDict):
    """All training jobs, newest first."""

    jobs: list[Job]


class Started(Committed):
    """The job that began."""

    id: str


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/jobs", "viewer", show),
        Operation("POST", "/v1/jobs", "analyst", start),
        Operation("GET", "/v1/jobs/{id}", "viewer", show_one),
        Operation("DELETE", "/v1/jobs/{id}", "analyst", cancel),
        Operation("POST", "/v1/jobs/{id}/resume", "analyst", resume),
    ]


async def show(call: Call) -> Jobs:
    """Training jobs, newest first."""
    return {"jobs": await _trainer(call, "jobs", runs_of(call))}


async def show_one(call: Call, query: HistoryAfter) -> JobWithHistory:
    """One training job, with the lines of its history from one on."""
    found: JobWithHistory = await _trainer(call, "status", call.path("id"), runs_of(call), query.after)
    return found


async def start(call: Call, body: Start) -> Started:
    """Start a training job; one at a time."""
    check_note(body.note)
    settings, notice = {**body.settings, "kind": body.kind}, ""
    await _check_role(call, settings)
    if body.kind == "retrain":
        given = {key: value for key, value in settings.items() if value or key not in ("labels", "seen")}
        stored, notice = await call.long(lambda: taught(call.desk.store, call.desk.now()))
        settings, notice = stored | given, "" if "labels" in given else notice
    job = await _trainer(call, "start", settings, call.context.settings.registry, runs_of(call), notice)
    return await _noted(call, job, {"kind": body.kind, "state": "started"}, body.note)


async def resume(call: Call, body: Resumption) -> Started:
    """Go on with a training that was cancelled or failed, from its last epoch."""
    check_note(body.note)
    job = call.path("id")
    found: Job = await _trainer(call, "status", job, runs_of(call))
    await _check_role(call, found["settings"])
    await _trainer(call, "resume", job, call.context.settings.registry, runs_of(call))
    return await _noted(call, job, {"kind": found["kind"], "state": "resumed"}, body.note)


async def cancel(call: Call) -> Job:
    """Ask a training job to stop; it does within seconds, adding no model. One that has ended stays as it is."""
    job = call.path("id")
    found: Job = await _trainer(call, "status", job, runs_of(call))
    if found["state"] in ENDED:  # it came too late for those
        return cast(Job, {key: value for key, value in found.items() if key in Job.__annotations__})
    # Before it is done, for it cannot be taken back: what could not be written down is not.
    await call.commit([Document("job", job, {"kind": found["kind"], "state": "cancelled"})])
    asked: Job = await _trainer(call, "cancel", job, runs_of(call))
    return asked


async def _noted(call: Call, job: str, state: dict[str, str], note: str) -> Started:
    """Write down that a job began; it is cancelled where that cannot be, and named where it could not be cancelled."""
    try:
        reply = await call.commit([Document("job", job, state)], note)
    except Exception as error:  # nobody is told of it, and nobody would find it in the audit
        try:
            await _trainer(call, "cancel", job, runs_of(call))
        except Exception as another:
            log.warning("job %s could not be cancelled", job, exc_info=another)
            first, second = failure_of(error), failure_of(another)
            said = f"{first}; job {job} has begun, may run on and is to be cancelled, which failed: {second}"
            raise WireError(first.code, said, first.retry_after) from error
        raise
    return {**reply, "id": job}


async def _check_role(call: Call, settings: dict[str, Any]) -> None:
    """Refuse settings that are for an admin alone. Raises `Forbidden`."""
    if call.role != "admin":
        versions: list[str] = []
        if settings.get("start") or settings.get("teachers"):
            versions = await call.long(versions_of, call.context.settings.registry)
        refuse_elsewhere(settings, call.context.settings.training_data, versions)


def refuse_elsewhere(settings: dict[str, Any], data: Sequence[str], versions: Sequence[str]) -> None:
    """Refuse what would have the head node read a file or URL of the caller's choice. Raises `Forbidden`."""
    teachers = settings.get("teachers") or []
    for name, given, which, known in (
        ("data", [settings.get("data")], "the `training_data` among the args of serve.yaml", data),
        ("start", [settings.get("start")], "the versions", versions),
        ("teachers", teachers if isinstance(teachers, list) else [teachers], "the versions", versions),
    ):
        for place in given:
            if place and place not in known:
                expected = f"expected one of {which} ({', '.join(known) or 'none yet'}), or role admin"
                raise Forbidden(f"{name} {shown(str(place))}: {expected}")


def versions_of(registry: str) -> list[str]:
    """The versions that a training may name: those of the registry and the released ones."""
    from model.registry import Registry, released

    return sorted({*Registry(registry).versions(), *released()})


def taught(store: Any, now: int) -> tuple[dict[str, Any], str]:
    """The latest labels that analysts gave, and the names lately asked for; and what is to be known of labels that are
    left out, if any are."""
    count = 0

    def counted() -> Iterator[Document]:
        nonlocal count
        for document in store.scan("label"):
            count += 1
            yield document

    latest = heapq.nlargest(MAX_LABELS, counted(), key=lambda document: document.epoch)
    labels = [{"name": document.key, "label": (document.body or {})["label"]} for document in latest]
    recent = Filter(start=now - SEEN_MS, end=now, source=("model",))
    notice = ""
    if count > len(latest):
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(latest[-1].time / 1000))
        notice = (
            f"the latest {len(latest):,} labels teach, given since {since}; {count - len(latest):,} older ones do not"
        )
    return {"labels": labels, "seen": list(store.frequent(recent, "qname", SEEN_NAMES))}, notice


def runs_of(call: Call) -> str:
    """The folder of jobs: beside the spool, on a disk that survives the process."""
    return str(Path(call.context.settings.spool_dir).parent / "jobs")


async def _trainer(call: Call, what: str, *arguments: Any) -> Any:
    from ray.exceptions import RayActorError

    from deployments import trainer
    from deployments.analyst import Unanswered
    from model.jobs import BadSettings

    try:
        return await call.long(getattr(trainer, what), *arguments)
    except BadSettings as error:
        raise WireError("malformed", str(error)) from None
    except trainer.UnknownJob as error:
        raise WireError("not-found", str(error)) from None
    except (trainer.Busy, trainer.NotResumable) as error:
        raise WireError("conflict", str(error)) from None
    except (RayActorError, Unanswered) as error:  # it was killed, or its node was, and begins anew; or it is slow
        raise WireError("unavailable", str(error), retry_after=5) from None
