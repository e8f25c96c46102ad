"""serve_app/control_jobs.py: what the history says of a job is what became of it."""

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from deployments import analyst
from serve_app import control_jobs
from tests.control_setup import Setup
from tests.model_fixtures import write
from tests.stores import now, settled
from verdicts.store import Document, Store, Unavailable

pytestmark = pytest.mark.anyio


def job_in(state: str) -> dict[str, Any]:
    return {
        "id": "j1", "kind": "train", "state": state, "settings": {}, "version": "v2", "device": "cpu", "started": 1,
        "ended": 0, "progress": {}, "error": "", "resumable": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "told"), [("running", True), ("cancelled", True), ("done", False), ("failed", False)]
)
async def test_the_history_calls_no_job_cancelled_that_had_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, told: bool
) -> None:
    job = job_in(state)
    monkeypatch.setattr("deployments.trainer.status", lambda *_: job)
    monkeypatch.setattr("deployments.trainer.cancel", lambda *_: job)
    setup = Setup(tmp_path)
    assert (await setup.good("DELETE", "/v1/jobs/j1"))["state"] == state
    changes = (await setup.good("GET", "/v1/audit?kind=job"))["changes"]
    assert [change["body"]["state"] for change in changes] == ["cancelled"] * told


async def test_a_job_goes_on_whose_end_could_not_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr("deployments.trainer.status", lambda *_: job_in("running"))
    monkeypatch.setattr("deployments.trainer.cancel", lambda job, _: ended.append(job) or job_in("running"))
    setup = Setup(tmp_path)

    async def away(*arguments: Any) -> Any:
        raise Unavailable("the store is away")

    monkeypatch.setattr(setup.graph, "commit", away)
    assert (await setup.ask("DELETE", "/v1/jobs/j1")).status_code == 503
    assert ended == []


async def test_a_job_that_cannot_be_cancelled_for_want_of_a_store_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: Any) -> Any:
        raise analyst.Unanswered("the trainer gave no answer within 30 s")

    monkeypatch.setattr("deployments.trainer.start", lambda *_: "j1")
    monkeypatch.setattr("deployments.trainer.cancel", silent)
    setup = Setup(tmp_path)

    async def away(*arguments: Any) -> Any:
        raise Unavailable("the store is away")

    monkeypatch.setattr(setup.graph, "commit", away)
    reply = await setup.ask("POST", "/v1/jobs", {"kind": "train", "settings": {"data": "/srv"}})
    assert reply.status_code == 503 and reply.json()["message"] == (
        "the store is away; job j1 has begun, may run on and is to be cancelled, which failed: the trainer gave no"
        " answer within 30 s"
    )


async def test_a_trainer_that_ended_is_no_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.exceptions import ActorDiedError

    def ended(*_: Any) -> None:
        raise ActorDiedError

    monkeypatch.setattr("deployments.trainer.jobs", ended)
    reply = await Setup(tmp_path).ask("GET", "/v1/jobs")
    assert reply.status_code == 503 and "actor died" in reply.json()["message"] and reply.headers["Retry-After"]


@pytest.mark.parametrize("late", [False, True])
async def test_no_job_begins_of_which_nobody_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """The trainer comes to it after its caller has gone, as where it has yet to begin on a busy machine; or sooner."""
    from deployments import trainer

    jobs, waiting, begun = trainer.Jobs(str(tmp_path / "jobs")), list[Any](), list[str]()
    monkeypatch.setattr(jobs, "_begin", lambda job, *_: begun.append(job["id"]))
    monkeypatch.setattr("deployments.trainer._actor", lambda _: Remote(jobs, waiting))
    monkeypatch.setattr("ray.get", lambda call, timeout: give_up(timeout) if late else call())
    reply = await Setup(tmp_path).ask("POST", "/v1/jobs", {"kind": "train", "settings": {"data": "/srv"}})
    if not late:
        assert reply.status_code == 200 and begun == [reply.json()["id"]]
        return
    assert reply.status_code == 503 and reply.json()["message"] == "the trainer gave no answer within 30 s"
    monkeypatch.setattr("time.time", lambda now=time.time: now() + trainer.CALL_S)
    with pytest.raises(analyst.TooLate, match="nothing was begun"):
        waiting[0]()
    assert begun == [] and list(jobs.runs.iterdir()) == []


async def test_the_openapi_document_tells_all_of_what_the_trainer_says_of_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deployments import trainer

    jobs = trainer.Jobs(str(tmp_path / "jobs"))
    for state in ("done", "running"):
        (jobs.runs / state).mkdir()
        jobs._write(job_in(state) | {"id": state})
        jobs.report(state, {}, {"epoch": 1})
    monkeypatch.setattr("deployments.trainer._actor", lambda _: Remote(jobs, []))
    monkeypatch.setattr("ray.get", lambda call, timeout: call())
    setup = Setup(tmp_path)
    assert [job["resumable"] for job in (await setup.good("GET", "/v1/jobs"))["jobs"]] == [False, False]
    for state in ("done", "running"):
        assert (await setup.good("GET", f"/v1/jobs/{state}"))["history"] == [{"epoch": 1}]
        assert "history" not in await setup.good("DELETE", f"/v1/jobs/{state}")


def test_of_more_labels_than_teach_at_once_the_latest_do(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_jobs, "MAX_LABELS", 2)
    for name in ("m.org", "a.org", "z.org"):  # by name the first is the second
        store.commit([Document("label", name, {"label": "benign"})], "ann")
    settled(store)
    [first, *latest] = sorted(store.scan("label"), key=lambda label: label.epoch)
    found, notice = control_jobs.taught(store, now())
    assert first.key == "m.org" and {label["name"] for label in found["labels"]} == {"a.org", "z.org"}
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(latest[0].time / 1000))
    assert notice == f"the latest 2 labels teach, given since {since}; 1 older ones do not"
    monkeypatch.setattr(control_jobs, "MAX_LABELS", 3)
    assert control_jobs.taught(store, now())[1] == ""


async def test_the_history_of_a_retraining_begins_with_the_labels_that_were_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deployments import trainer

    jobs = trainer.Jobs(str(tmp_path / "jobs"))
    monkeypatch.setattr(jobs, "_begin", lambda job, *_: jobs._write(job_in("queued") | job))
    monkeypatch.setattr("deployments.trainer._actor", lambda _: Remote(jobs, []))
    monkeypatch.setattr("ray.get", lambda call, timeout: call())
    monkeypatch.setattr(control_jobs, "MAX_LABELS", 1)
    setup = Setup(tmp_path)
    for name in ("a.org", "b.org"):
        await setup.good("POST", "/v1/labels", {"labels": [{"name": name, "label": "benign"}]})
    job = (await setup.good("POST", "/v1/jobs", {"kind": "retrain"}))["id"]
    [line] = (await setup.good("GET", f"/v1/jobs/{job}"))["history"]
    assert line["notice"].startswith("the latest 1 labels teach") and line["notice"].endswith("; 1 older ones do not")


class Remote:
    """Calls of an actor, which it comes to when `waiting` is looked through."""

    def __init__(self, actor: Any, waiting: list[Any]) -> None:
        self._actor, self._waiting = actor, waiting

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Any:
            self._waiting.append(partial(getattr(self._actor, name), *arguments))
            return self._waiting[-1]

        return SimpleNamespace(remote=remote)


def give_up(seconds: float) -> None:
    from ray.exceptions import GetTimeoutError

    raise GetTimeoutError(f"Get timed out: {seconds} s")


async def test_a_job_is_resumed_by_who_may_start_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deployments.trainer import NotResumable

    job = {"id": "j1", "kind": "train", "state": "failed", "settings": {"data": "/etc", "labels": 0, "teachers": []}}
    resumed: list[tuple[str, str]] = []
    monkeypatch.setattr("deployments.trainer.status", lambda *_: job)
    monkeypatch.setattr("deployments.trainer.resume", lambda job, registry, _: resumed.append((job, registry)))
    setup = Setup(tmp_path)
    refused = await setup.ask("POST", "/v1/jobs/j1/resume", {}, "analyst")
    assert refused.status_code == 403 and "data '/etc': expected" in refused.json()["message"] and resumed == []
    assert (await setup.good("POST", "/v1/jobs/j1/resume", {"note": "again"}))["id"] == "j1"
    assert resumed == [("j1", str(tmp_path / "models"))]
    [change] = (await setup.good("GET", "/v1/audit?kind=job"))["changes"]
    assert (change["body"], change["note"]) == ({"kind": "train", "state": "resumed"}, "again")

    def done(*_: Any) -> None:
        raise NotResumable("job j1: a train of segments, done")

    monkeypatch.setattr("deployments.trainer.resume", done)
    assert (await setup.ask("POST", "/v1/jobs/j1/resume", {})).status_code == 409


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"data": "/etc"},
            "data '/etc': expected one of the `training_data` among the args of serve.yaml (/srv/lists), or role admin",
        ),
        ({"data": "/srv/lists/../keys"}, "data '/srv/lists/../keys': expected"),
        ({"data": "http://169.254.169.254/"}, "data 'http://169.254.169.254/': expected"),
        ({"data": "/srv/lists", "start": "/etc"}, "start '/etc': expected one of the versions (b-1, seed-2020, "),
        ({"data": "/srv/lists", "start": ["b-1"]}, "start \"['b-1']\": expected one of the versions"),
        ({"data": "/srv/lists", "teachers": ["seed-2020", "../x"]}, "teachers '../x': expected one of the versions"),
        ({"data": ["/etc"]}, "data \"['/etc']\": expected"),
        ({"data": "/srv/lists", "teachers": "/etc"}, "teachers '/etc': expected"),
    ],
)
async def test_an_analysts_training_reads_no_place_of_their_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], says: str
) -> None:
    began: list[dict[str, Any]] = []
    monkeypatch.setattr("deployments.trainer.start", lambda asked, *_: (began.append(asked), "j1")[1])
    setup = Setup(tmp_path)
    write(tmp_path / "models", "b-1")
    context = setup.contexts[0]
    context.settings = msgspec.structs.replace(context.settings, training_data=("/srv/lists",))
    refused = await setup.ask("POST", "/v1/jobs", {"kind": "train", "settings": settings}, "analyst")
    assert refused.status_code == 403 and says in refused.json()["message"] and began == []
    as_analyst = await setup.ask("POST", "/v1/jobs", {"kind": "train", "settings": settings}, Verdict_Role="analyst")
    assert as_analyst.status_code == 403 and began == []
    known = {"data": "/srv/lists", "start": "b-1", "teachers": ["seed-2020", "b-1"]}
    await setup.good("POST", "/v1/jobs", {"kind": "train", "settings": known}, "analyst")
    await setup.good("POST", "/v1/jobs", {"kind": "train", "settings": settings})
    assert [job["data"] for job in began] == ["/srv/lists", settings["data"]]
