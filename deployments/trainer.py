"""Training jobs on the cluster: started, watched, cancelled and resumed through one actor, done in a task with a GPU if
any.

The functions below are what the control API calls; they block for a Ray call, so call them from a thread. A job is a
dict: `id`, `kind`, `state` (queued, running, done, failed, cancelled), `settings` (labels and seen names as their
number), `version` (of the artifact it makes), `device` (gpu or cpu), `started`, `ended` (Unix milliseconds; `ended` 0
while it runs), `progress` (the latest line of its history), `error`; and, where it is told, `resumable`. Its folder
holds `job.json` and `history.jsonl`, a line each time it reports; both survive the actor and the cluster.
"""

import contextlib
import json
import logging
import os
import threading
import time
import traceback
import uuid
from pathlib import Path
from typing import Any

import msgspec
import ray

from deployments.actors import actor
from deployments.analyst import TooLate, Unanswered
from model.jobs import BadSettings, JobSettings, new_version, parse, work
from model.train import Cancelled
from verdicts.files import READABLE, write_atomically

log = logging.getLogger("ray.serve")

NAME = "verdict-trainer"
CALL_S = 30.0  # deadline of one call to the actor
SPARE_S = 5.0  # of it, for the end of what has begun: later than that no job begins
POLL_S = 0.5  # how often a task asks whether it was cancelled
PATIENCE_S = 5.0  # that a cancelled task has for its end: it may be making a corpus, or waiting for a silent server
COUNTED = ("labels", "seen")  # the settings that are told by their number alone
NICE = 10  # of a training: beside one as urgent as itself a classifier on a processor takes twice as long for a batch


class UnknownJob(KeyError):
    """No job of this id."""

    def __str__(self) -> str:
        return str(self.args[0])


class Busy(RuntimeError):
    """A job is running already: one at a time, for a GPU is shared with the classifier."""


class NotResumable(RuntimeError):
    """A job that is done, or leaves nothing to go on from."""


def start(settings: dict[str, Any], registry: str, runs: str, notice: str = "") -> str:
    """Start a job and return its id. `settings` as `model.jobs.JobSettings`; `registry` a folder or URI; `runs` the
    folder for jobs, on the machine of Ray's head; with `notice`, what is to be known of it, its history begins. Raises
    `model.jobs.BadSettings`, `Busy`; `Unanswered`, and then it does not begin later either."""
    parsed = parse(settings)
    return str(_call(_actor(runs).start, parsed, registry, _until(), notice))


def jobs(runs: str) -> list[dict[str, Any]]:
    """All jobs, newest first."""
    return list(_call(_actor(runs).jobs))


def status(job: str, runs: str, after: int = 0) -> dict[str, Any]:
    """One job, with `history`: its lines from number `after` on. Raises `UnknownJob`."""
    return dict(_call(_actor(runs).status, job, after))


def cancel(job: str, runs: str) -> dict[str, Any]:
    """Ask a job to stop; it does within a few seconds, adding nothing to the registry. Raises `UnknownJob`."""
    return dict(_call(_actor(runs).cancel, job))


def resume(job: str, registry: str, runs: str) -> None:
    """Go on with a job that was cancelled or failed, from its last epoch, in its own settings. Raises `UnknownJob`,
    `NotResumable`, `Busy`; `Unanswered` as `start`."""
    _call(_actor(runs).resume, job, registry, _until())


class Jobs:
    """The actor: job folders, and the task of the job that runs. Not thread-safe; Ray calls it one by one."""

    def __init__(self, runs: str) -> None:
        self.runs = Path(runs)
        self.runs.mkdir(parents=True, exist_ok=True)
        self._stop: set[str] = set()
        self._task: Any = None  # of the job that runs, or of the last one
        self._running = ""  # that job
        self._unwritten: dict[str, dict[str, Any]] = {}  # what a full disk did not take
        for job in self.jobs():
            if job["state"] in ("queued", "running"):  # its task ended with the actor that started it
                self._write(job | {"state": "failed", "error": "interrupted: the cluster stopped", "ended": _now()})

    def start(self, settings: JobSettings, registry: str, until: float, notice: str = "") -> str:
        _in_time(until)
        self._refuse_a_second()
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
        job = {
            "id": name, "kind": settings.kind, "settings": _shown(settings), "started": _now(), "progress": {},
        }  # fmt: skip
        (self.runs / name).mkdir()
        if notice:
            self._note(name, {"notice": notice})
        self._begin(job, settings, registry)
        return name

    def resume(self, job: str, registry: str, until: float) -> None:
        _in_time(until)
        self._refuse_a_second()
        found = self._read(job)
        if not _resumable(found):
            kind = found.get("kind", "job")
            what = f"train of {found['settings'].get('network')}" if kind == "train" else kind
            raise NotResumable(
                f"job {job}: a {what}, {found['state']}; expected a train of segments or attention, cancelled or failed"
            )
        settings = {key: value for key, value in found["settings"].items() if key not in COUNTED}
        self._stop.discard(job)
        self._begin(found, parse(settings), registry)

    def _refuse_a_second(self) -> None:
        if any(job["state"] in ("queued", "running") for job in self.jobs()):
            raise Busy("a training job is running; expected to wait for it, or cancel it")

    def _begin(self, job: dict[str, Any], settings: JobSettings, registry: str) -> None:
        """Start the task of a job, in whose folder it goes on from the checkpoint that is there."""
        # Where the classifiers have every GPU, a processor is slower but begins.
        gpus = 1 if ray.available_resources().get("GPU", 0) >= 1 else 0
        name, device = job["id"], "gpu" if gpus else "cpu"
        self._write(job | {"state": "queued", "version": "", "device": device, "ended": 0, "error": ""})
        # One call a process: a replica that began in it later would be as patient as the training was, and as large.
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0, max_calls=1)(_run)
        me = ray.get_runtime_context().current_actor
        self._task, self._running = task.remote(me, name, settings, registry, str(self.runs / name)), name

    def jobs(self) -> list[dict[str, Any]]:
        self._notice_lost()
        found = []
        for name in sorted({file.parent.name for file in self.runs.glob("*/job.json")} | set(self._unwritten)):
            try:
                job = self._read(name)
                found.append(_told(job))
            except ValueError as error:  # cut short when the machine went down
                log.error("%s: %s", self.runs / name / "job.json", error)
        return found[::-1]

    def status(self, job: str, after: int) -> dict[str, Any]:
        self._notice_lost()
        found = self._read(job)
        history = _lines(self.runs / job / "history.jsonl")[after:]
        return _told(found) | {"history": history}

    def cancel(self, job: str) -> dict[str, Any]:
        found = self._read(job)
        if found["state"] == "queued":  # perhaps no machine is free for it: nothing would hear the request
            ray.cancel(self._task)
            return _told(self._write(found | {"state": "cancelled", "ended": _now()}))
        if found["state"] == "running":
            self._stop.add(job)
        return _told(found)

    def report(self, job: str, changes: dict[str, Any], line: dict[str, Any] | None) -> bool:
        """Note what a task says of its job; the reply tells whether it should stop."""
        found = self._read(job)
        if found["state"] == "cancelled":
            return True
        if line is not None:
            self._note(job, line)
            changes = changes | {"progress": line}
        if changes:
            self._write(found | changes)
        return job in self._stop

    def _note(self, job: str, line: dict[str, Any]) -> None:
        with (self.runs / job / "history.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _read(self, job: str) -> dict[str, Any]:
        if job in self._unwritten:
            return self._unwritten[job]
        file = self.runs / Path(job).name / "job.json"
        if Path(job).name != job or not file.is_file():
            raise UnknownJob(f"job {job!r}: no such training job")
        return dict(json.loads(file.read_text()))

    def _write(self, job: dict[str, Any]) -> dict[str, Any]:
        file = self.runs / job["id"] / "job.json"
        try:
            write_atomically(file, json.dumps(job).encode(), READABLE)
        except OSError as error:  # a job must not stand as running for ever because its end could not be written
            log.error("%s: %s", file, error)
            self._unwritten[job["id"]] = job
        else:
            self._unwritten.pop(job["id"], None)
        return job

    def _notice_lost(self) -> None:
        """Note the end of a task that ended without a word, as one does whose process or machine was killed."""
        if self._task is None or not ray.wait([self._task], timeout=0)[0]:
            return
        task, self._task = self._task, None
        try:
            ray.get(task)
            reason = "it ended without a word"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        found = self._read(self._running)
        if found["state"] in ("queued", "running"):
            self._write(found | {"state": "failed", "error": f"its process was lost: {reason}", "ended": _now()})


def _run(jobs: Any, job: str, settings: JobSettings, registry: str, folder: str) -> None:
    """The task: work, reporting line by line; a thread asks meanwhile whether to stop."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    stop, ended = threading.Event(), threading.Event()

    def report(changes: dict[str, Any], line: dict[str, Any] | None = None) -> None:
        if ray.get(jobs.report.remote(job, changes, line)):
            stop.set()

    def watch() -> None:
        while not ended.wait(POLL_S) and not stop.is_set():
            with contextlib.suppress(ray.exceptions.RayError):
                report({})
        if not ended.wait(PATIENCE_S):
            with contextlib.suppress(ray.exceptions.RayError):
                report({"state": "cancelled", "ended": _now()})
            os._exit(0)

    version = new_version(settings)
    report({"state": "running", "version": version})
    threading.Thread(target=watch, daemon=True).start()
    try:
        if stop.is_set():
            raise Cancelled("cancelled before it began")
        work(settings, registry, Path(folder), version, lambda line: report({}, line), stop.is_set)
        outcome = {"state": "done"}
    except Cancelled:
        outcome = {"state": "cancelled"}
    except Exception as error:  # the job's own fault, to be read by who started it
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error  # of a report
        outcome = {"state": "failed", "error": f"{type(cause).__name__}: {cause}"}
        traceback.print_exc()
    finally:
        ended.set()
    report(outcome | {"ended": _now()})


def _actor(runs: str) -> Any:
    return actor(Jobs, NAME, runs)


def _call(method: Any, *arguments: Any) -> Any:
    try:
        return ray.get(method.remote(*arguments), timeout=CALL_S)
    except ray.exceptions.GetTimeoutError:
        raise Unanswered(f"the trainer gave no answer within {CALL_S:.0f} s") from None
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TooLate):
            raise Unanswered(str(error.cause)) from None
        told = (UnknownJob, NotResumable, Busy, BadSettings, OSError)
        raise error.cause if isinstance(error.cause, told) else error from None


def _until() -> float:
    return time.time() + CALL_S - SPARE_S


def _in_time(until: float) -> None:
    """Who asked has been told that there was no answer: nobody would know of a job that begins now."""
    if time.time() > until:
        raise TooLate(f"the trainer did not come to it within {CALL_S - SPARE_S:.0f} s; nothing was begun")


def _shown(settings: JobSettings) -> dict[str, Any]:
    """Settings fit to be listed: labels and names as their number."""
    fields: dict[str, Any] = msgspec.to_builtins(settings)
    return fields | {key: len(fields[key]) for key in COUNTED}


def _told(job: dict[str, Any]) -> dict[str, Any]:
    """A job as whoever asks is told of it."""
    return job | {"resumable": _resumable(job)}


def _resumable(job: dict[str, Any]) -> bool:
    """Whether a job leaves checkpoints to go on from and has ended before its end."""
    checkpoints = job.get("kind") == "train" and job.get("settings", {}).get("network") != "seed"
    return checkpoints and job["state"] in ("cancelled", "failed")


def _lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a history; one that was cut short is left out."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def _now() -> int:
    return int(time.time() * 1000)
