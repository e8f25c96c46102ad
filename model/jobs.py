"""What a training job does, in any process: from settings to a new artifact in a registry.

`work` runs in a Ray task, in the `verdict train` command, or in a test; it knows none of them.
"""

import contextlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from model.artifact import Artifact
from model.families import FOLDS
from model.retrain import LARGEST_BATCH, MAX_MINUTES, SMALLEST_BATCH, Label
from verdicts.files import READABLE, write_atomically
from verdicts.locks import held
from verdicts.names import BadName, shown, typed

Progress = Callable[[dict[str, Any]], None]

EPOCH_STEPS = 100  # batches that an epoch of a retrain is: it has no data to go through once


class BadSettings(ValueError):
    """Settings of a job that cannot be; the message names the key and what was expected."""


class JobSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to train. Only what its kind uses (`USED`) may differ from the defaults; 0 means: that network's own.

    `retrain` fine-tunes the serving model with `labels`, held in place by `seen` names; it needs no data. `train`
    trains anew from the data folder (or URL) `data`, laid out as `model/sources.toml` says; for the network `seed`
    the folder of the two lists of 2020. The network `attention` is a teacher, for a GPU (`model.attention`).
    """

    kind: Literal["retrain", "train"] = "retrain"
    network: Literal["segments", "attention", "seed"] = "segments"
    data: str = ""
    epochs: int = 0
    minutes: float = 0.0
    batch_size: int = 0
    rows: int = 0  # sample size: at most this many names of each kind (seed: the first of each list)
    seed: int = 0
    labels: list[dict[str, str]] = []  # [{"name", "label": generated|malicious|benign|unsure}]
    seen: list[str] = []
    held_out: int = 0  # train: the fold of families that does not teach; -1: all teach
    # Of a train, artifacts by version (of the registry, or released) or folder:
    start: str = ""  # to go on from, by `model.plan.tuning`
    teachers: list[str] = []  # that teach the network, by `model.plan.distilling`
    head: Literal["", "generated", "malicious"] = ""  # of `start`, to be taught alone, by `model.plan.alone`


USED = {  # by kind, or by network where a kind's networks differ
    "retrain": ("epochs", "minutes", "batch_size", "seed", "labels", "seen"),
    "segments": ("data", "epochs", "minutes", "batch_size", "rows", "seed", "held_out", "start", "teachers", "head"),
    "attention": ("data", "epochs", "minutes", "batch_size", "rows", "seed", "held_out"),
    "seed": ("data", "epochs", "rows", "seed"),
}


def parse(settings: dict[str, Any]) -> JobSettings:
    """Settings from JSON; raises `BadSettings`."""
    try:
        found = msgspec.convert(settings, JobSettings)
        labels = labels_of(found)
    except (msgspec.ValidationError, BadName) as error:
        raise BadSettings(f"training settings: {error}") from error
    kinds: dict[str, str] = {}
    for label in labels:
        if (kind := kinds.setdefault(label.name, label.label)) != label.label:
            raise BadSettings(f"training settings: {shown(label.name)} is {kind} and {label.label}, expected one label")
    check(found)
    return found


def check(found: JobSettings) -> None:
    """Raises `BadSettings` for what cannot be, and for what would be passed over."""
    retrain = found.kind == "retrain"
    what = "kind retrain" if retrain else f"kind train, network {found.network}"
    used = USED["retrain" if retrain else found.network]
    for name, default in msgspec.to_builtins(JobSettings()).items():
        given = getattr(found, name)
        if given != default and name not in (*used, "kind", *([] if retrain else ["network"])):
            raise BadSettings(
                f"training settings: {name} {_brief(given)}, expected none: {what} uses {', '.join(used)}"
            )
    if not retrain and found.epochs and found.minutes:
        raise BadSettings(
            f"training settings: epochs {found.epochs} and minutes {found.minutes:g}, expected one of them"
        )
    if found.head and (not found.start or found.teachers):
        raise BadSettings(f"training settings: head {found.head}, expected a start, and no teachers")
    if found.kind == "train" and not found.data:
        raise BadSettings("training settings: data '', expected the folder or URL of the training data")
    if retrain and not found.labels:
        raise BadSettings(
            "training settings: no name has a label, expected at least one; the dashboard's vetting page gives them"
        )
    most: dict[str, float] = {"seed": 2**32 - 1, "held_out": FOLDS - 1, "batch_size": LARGEST_BATCH}
    most |= {"minutes": MAX_MINUTES} if retrain else {}
    for name in ("epochs", "minutes", "batch_size", "rows", "seed", "held_out"):
        low, high = -1 if name == "held_out" else 0, most.get(name, math.inf)
        if not low <= getattr(found, name) <= high or not math.isfinite(getattr(found, name)):
            upto = "or more" if high == math.inf else f"to {high:g}" if name == "minutes" else f"to {high}"
            raise BadSettings(f"training settings: {name} {getattr(found, name)}, expected {low} {upto}")
    if retrain and 0 < found.batch_size < SMALLEST_BATCH:
        raise BadSettings(
            f"training settings: batch_size {found.batch_size}, expected {SMALLEST_BATCH} or more, of which labels "
            "are a twentieth"
        )


def _brief(given: Any) -> str:
    text = repr(given) if isinstance(given, str) else str(given)
    return text if len(text) <= 60 else f"{text[:57]}..."


def labels_of(settings: JobSettings) -> list[Label]:
    """The settings' labels, typed, their names normalised; raises `BadName`."""
    labels = msgspec.convert(settings.labels, list[Label])
    return [msgspec.structs.replace(label, name=typed(label.name)) for label in labels]


def seen_of(settings: JobSettings) -> list[str]:
    """The settings' seen names, normalised; what a log holds that is no name is passed over."""
    found = []
    for name in settings.seen:
        with contextlib.suppress(BadName):
            found.append(typed(name))
    return found


def work(
    settings: JobSettings, registry: str, run: Path, version: str, progress: Progress, cancelled: Callable[[], bool]
) -> str:
    """Do the job in the folder `run` and add the artifact to the registry; return its version.

    Raises `model.train.Cancelled`, `BadSettings`, and what data and registry raise.
    """
    from model.registry import Registry
    from model.train import Cancelled

    def told(line: dict[str, Any]) -> None:
        """Each line is also a moment to stop, for what trains, reads or judges without asking."""
        progress(line)
        if cancelled():
            raise Cancelled(f"cancelled after {line}")

    models = Registry(registry)
    path = run / version
    if settings.kind == "retrain":
        _retrain(settings, models, path, told, cancelled)
    elif settings.network == "seed":
        _seed(settings, path, told)
    else:
        run.mkdir(parents=True, exist_ok=True)
        busy = BadSettings(f"{run}: another training runs there, expected to wait for it, or another folder")
        with held(run / "lock", busy):  # two would write each other's checkpoints
            _segments(settings, models, path, run, told, cancelled)
    if cancelled():
        raise Cancelled("cancelled before the artifact was added")
    return models.add(path)


def new_version(settings: JobSettings, now: float | None = None) -> str:
    """A version for a job's artifact, by kind and UTC time."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{settings.network if settings.kind == 'train' else 'tuned'}-{stamp}"


def _retrain(settings: JobSettings, models: Any, path: Path, progress: Progress, cancelled: Callable[[], bool]) -> None:
    from model.artifact import save
    from model.retrain import Tuning, manifest_of, retrain, teaching_of

    parent = models.get(models.serving())
    tuning = Tuning(seed=settings.seed)
    if settings.minutes:
        tuning = msgspec.structs.replace(tuning, minutes=settings.minutes)
    if settings.batch_size:
        tuning = msgspec.structs.replace(tuning, batch_size=settings.batch_size)
    if settings.epochs:
        tuning = msgspec.structs.replace(tuning, steps=EPOCH_STEPS * settings.epochs)
    history: list[dict[str, Any]] = []
    labels = labels_of(settings)
    network = retrain(parent, labels, seen_of(settings), tuning, _both(history.append, progress), cancelled)
    save(path, network, manifest_of(parent.manifest, path.name, len(teaching_of(labels)), {}), history)


def _seed(settings: JobSettings, path: Path, progress: Progress) -> None:
    from model.experiment2020 import Lists, load
    from model.release_seed import release

    lists = load(settings.data)
    if settings.rows:
        lists = Lists(lists.benign[: settings.rows], lists.malicious[: settings.rows])
    release(lists, path, settings.epochs or 15, settings.seed, progress)


def _segments(
    settings: JobSettings, models: Any, path: Path, run: Path, progress: Progress, cancelled: Callable[[], bool]
) -> None:
    from model.dataset import ENCODING
    from model.plan import Plan, alone, distilling, reading, stages, tuning
    from model.registry import load_named
    from model.release import release

    _same_as_before(settings, run)
    plan = Plan(seed=settings.seed)
    if settings.network == "attention":
        plan = reading(plan)
    elif settings.teachers:
        plan = distilling(plan, settings.teachers)
    elif settings.start and not settings.head:
        plan = tuning(plan)
    start, shape = _start(settings, models)
    if shape is not None:
        plan = msgspec.structs.replace(plan, shape=shape)
    if settings.head:
        plan = alone(plan, settings.head)
    if settings.epochs or settings.minutes:
        plan = msgspec.structs.replace(plan, epochs=settings.epochs or plan.epochs, minutes=settings.minutes)
    if settings.batch_size:
        plan = msgspec.structs.replace(plan, batch_size=settings.batch_size)
    teachers = [load_named(teacher, models) for teacher in settings.teachers]
    for teacher in teachers:
        if teacher.manifest.encoding != ENCODING:
            raise BadSettings(f"training settings: teacher {teacher.version}, expected a trained `segments`")
        _never_saw(teacher, "teacher", settings.held_out)
    plans = [plan] if settings.start or settings.network == "attention" else stages(plan)
    release(
        settings.data, path, run / "checkpoint", plans, settings.rows, progress, cancelled, settings.held_out, start,
        teachers,
    )  # fmt: skip


def _start(settings: JobSettings, models: Any) -> tuple[Artifact | None, Any]:
    """What the training begins from and its shape, if anything; raises `BadSettings`."""
    from model.network import Shape
    from model.registry import load_named

    if not settings.start:
        return None, None
    start = load_named(settings.start, models)
    wrong = BadSettings(f"training settings: start {settings.start}, expected a trained `segments`")
    if start.manifest.network != "segments":
        raise wrong
    try:
        shape = msgspec.convert(start.manifest.metrics["plan"]["shape"], Shape)
    except (KeyError, msgspec.ValidationError) as error:
        raise wrong from error
    _never_saw(start, "start", settings.held_out)
    return start, shape


def _never_saw(found: Artifact, what: str, held_out: int) -> None:
    """Raise `BadSettings` where this artifact would hand on families that the new network is said not to know."""
    saw, labels = found.manifest.held_out, found.manifest.metrics.get("labels", 0)
    if held_out != saw and held_out >= 0:
        raise BadSettings(
            f"training settings: {what} {found.version}, whose held_out is {saw}, saw the families of fold {held_out}; "
            f"expected one that did not, or held_out {saw}"
        )
    if labels and held_out >= 0:
        raise BadSettings(
            f"training settings: {what} {found.version}, fine-tuned with {labels} labels, which may be of any family; "
            "expected one that was not, or held_out -1"
        )


def _same_as_before(settings: JobSettings, run: Path) -> None:
    """Note the settings of a run, or raise `BadSettings` where it goes on from a checkpoint of others.

    A checkpoint does not show which families taught it. The data may lie elsewhere by now.
    """
    file = run / "settings.json"
    given = {key: value for key, value in msgspec.to_builtins(settings).items() if key != "data"}
    before = json.loads(file.read_text()) if file.exists() and (run / "checkpoint" / "state.json").exists() else given
    for key, value in given.items():
        if before.get(key) != value:
            raise BadSettings(
                f"{run}: was begun with {key} {before.get(key)!r}, now it is {value!r}; expected the same settings, or "
                "a new folder"
            )
    write_atomically(file, json.dumps(given).encode(), READABLE)


def _both(first: Progress, second: Progress) -> Progress:
    def progress(line: dict[str, Any]) -> None:
        first(line)
        second(line)

    return progress
