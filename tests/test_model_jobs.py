"""Training jobs from settings to a registry, in process and on a cluster."""

import functools
import json
import math
import os
import random
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from model.artifact import save
from model.attention import Attention
from model.begun import came_of
from model.calibrate import BLOCK_RATE
from model.dataset import BENIGN, TUNE
from model.evaluate import load_corpus
from model.jobs import BadSettings, JobSettings, new_version, parse, work
from model.metrics import tail_threshold
from model.network import Shape, build
from model.plan import SHARES, Plan, tuning
from model.registry import Registry
from model.release import of_benign, raising
from model.retrain import manifest_of
from model.sampling import Sampler
from model.scorer import Scorer
from model.train import Cancelled, history, logits
from model.wide import HEADS, has_wide, plain_of
from serve_app.descendants import descendants
from tests.model_fixtures import SMALL, manifest, write
from verdicts.policy import Policy

pytestmark = [
    pytest.mark.patient,
    pytest.mark.usefixtures("short_blocks"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
]

LABELS = [{"name": "qzx9k2v7.info", "label": "generated"}]


@pytest.fixture
def registry(tmp_path: Path) -> str:
    write(tmp_path / "made", "b-1")
    Registry(tmp_path / "models").seed_from_released(tmp_path / "made")
    return str(tmp_path / "models")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder, rng = tmp_path / "data", random.Random(2)
    folder.mkdir()
    words = ["river", "stone", "market", "garden", "summer", "paper"]
    (folder / "good.txt").write_text("".join(f"{rng.choice(words)}{rng.choice(words)}{i}.com\n" for i in range(1500)))
    (folder / "dga.csv").write_text(
        "name,family\n" + "".join("".join(rng.choices("bcdfghjkqxz", k=14)) + ".biz,qakbot\n" for i in range(900))
    )
    (folder / "feed.txt").write_text("".join(f"login-{rng.choice(words)}{i}.top\n" for i in range(900)))
    rows = [("good.txt", "plain", "benign"), ("dga.csv", "csv", "dga"), ("feed.txt", "plain", "feed")]
    (folder / "sources.toml").write_text(
        "".join(
            f'[[source]]\npath="{path}"\nform="{form}"\nkind="{kind}"\nuse="teach"\nlicence="MIT"\nreason="-"\nshare=1\n'
            for path, form, kind in rows
        )
    )
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "train"}, "data '', expected"),
        ({"kind": "retrain"}, r"no name has a label, expected at least one"),
        ({"kind": "dream"}, "dream"),
        ({"colour": "red"}, "colour"),
        ({"kind": "retrain", "labels": [{"name": "a.de", "label": "odd"}]}, "odd"),
        ({"kind": "train", "data": "x", "epochs": -1}, "epochs -1, expected 0 or more"),
        ({"labels": LABELS, "batch_size": 19}, "batch_size 19, expected 20 or more"),
        ({"labels": LABELS, "batch_size": 16_385}, "batch_size 16385, expected 0 to 16384"),
        ({"labels": LABELS, "minutes": 30}, "minutes 30.0, expected 0 to 10"),
        ({"kind": "train", "data": "x", "minutes": float("nan")}, "minutes nan, expected 0 or more"),
        ({"kind": "train", "data": "x", "minutes": float("inf")}, "minutes inf, expected 0 or more"),
        ({"kind": "train", "data": "x", "seed": -1}, "seed -1, expected 0 to 4294967295"),
        ({"kind": "train", "data": "x", "held_out": 5}, "held_out 5, expected -1 to 4"),
        ({"labels": [{"name": "a..b", "label": "benign"}]}, r"'a\.\.b': empty label"),
        (
            {"labels": [*LABELS, {"name": "QZX9k2v7.info.", "label": "benign"}]},
            r"'qzx9k2v7\.info' is generated and benign, expected one label",
        ),
        (
            {"labels": LABELS, "teachers": ["a"]},
            r"teachers \['a'\], expected none: kind retrain uses epochs, minutes, ",
        ),
        ({"labels": LABELS, "start": "seed-2020"}, "start 'seed-2020', expected none: kind retrain uses"),
        ({"labels": LABELS, "data": "x"}, "data 'x', expected none: kind retrain uses"),
        ({"labels": LABELS, "network": "seed"}, "network 'seed', expected none"),
        ({"labels": LABELS, "rows": 5}, "rows 5, expected none"),
        ({"labels": LABELS, "held_out": -1}, "held_out -1, expected none"),
        ({"kind": "train", "data": "x", "labels": LABELS * 9}, r"labels \[.{56}\.\.\., expected none: kind train, "),
        ({"kind": "train", "data": "x", "seen": ["a.de"]}, "network segments uses data, epochs, minutes"),
        ({"kind": "train", "network": "seed", "data": "x", "teachers": ["a"]}, "network seed uses data, epochs, rows"),
        ({"kind": "train", "data": "x", "epochs": 5, "minutes": 2}, "epochs 5 and minutes 2, expected one of them"),
        ({"kind": "train", "network": "seed", "data": "x", "minutes": 2}, "minutes 2.0, expected none"),
        ({"kind": "train", "data": "x", "head": "malicious"}, "head malicious, expected a start, and no teachers"),
        ({"kind": "train", "data": "x", "start": "a", "head": "other"}, "'other'"),
        (
            {"kind": "train", "data": "x", "start": "a", "head": "malicious", "teachers": ["a"]},
            "head malicious, expected a start, and no teachers",
        ),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSettings, match=message):
        parse(settings)


def test_retraining_adds_a_child_of_the_serving_model(registry: str, tmp_path: Path) -> None:
    idle = [{"name": "a.de", "label": "unsure"}, {"name": "printer", "label": "benign"}]  # these teach nothing
    settings = parse({"kind": "retrain", "labels": LABELS + idle, "epochs": 1, "batch_size": 64})
    lines: list[dict[str, Any]] = []
    version = work(settings, registry, tmp_path / "run", "tuned-1", lines.append, lambda: False)
    found = Registry(registry).get(version).manifest
    assert (found.metrics["labels"], found.notes) == (1, "b-1 fine-tuned with 1 labels.")
    assert (version, found.parent) == ("tuned-1", "b-1") and lines and Registry(registry).serving() == "b-1"


def test_training_makes_a_calibrated_judged_artifact(
    registry: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = Shape(channels=16, dense=16)
    monkeypatch.setattr("model.plan.Plan", functools.partial(Plan, blocks=2, grammars=300, shape=shape))
    settings = parse({"kind": "train", "data": str(data), "epochs": 1})
    monkeypatch.setattr("model.plan.stages", lambda plan: [plan])  # words are the next test's, for their time
    version = work(settings, registry, tmp_path / "run", "segments-1", lambda line: None, lambda: False)
    first = Registry(registry).get(version).manifest
    assert (first.held_out, first.parent) == (0, "")
    Registry(registry).promote(version, force=True)
    work(
        parse({"labels": LABELS, "epochs": 1}), registry, tmp_path / "tune", "tuned-1", lambda line: None, lambda: False
    )
    begun = msgspec.structs.replace(settings, start="tuned-1")
    with pytest.raises(BadSettings, match="start tuned-1, fine-tuned with 1 labels, which may be of any family; "):
        work(begun, registry, tmp_path / "on", "segments-2", lambda line: None, lambda: False)
    on = msgspec.structs.replace(begun, held_out=-1)  # nothing was trained in the folder yet
    version = work(on, registry, tmp_path / "on", "segments-2", lambda line: None, lambda: False)
    manifest = Registry(registry).get(version).manifest
    teacher = version  # of the registry
    for handing in ({"teachers": [teacher]}, {"start": teacher}):
        what, now = next(iter(handing)).rstrip("s"), msgspec.structs.replace(settings, **handing)  # type: ignore[arg-type]
        with pytest.raises(BadSettings, match=f"{what} segments-2, whose held_out is -1, saw the families of fold 0; "):
            work(now, registry, tmp_path / f"knows-{what}", "segments-9", lambda line: None, lambda: False)
    taught = msgspec.structs.replace(settings, teachers=[teacher, teacher], held_out=-1)
    taught_by = work(taught, registry, tmp_path / "taught", "segments-3", lambda line: None, lambda: False)
    told = Registry(registry).get(taught_by).manifest.metrics
    assert told["plan"]["teachers"] == [teacher, teacher]
    assert manifest.metrics["labels"] == told["labels"] == 1 and "labels" not in first.metrics  # tuned-1's, handed on
    head = msgspec.structs.replace(on, start=version, head="generated")
    version = work(head, registry, tmp_path / "head", "headed-1", lambda line: None, lambda: False)
    headed = Registry(registry).get(version)
    assert (headed.manifest.metrics["plan"]["head"], headed.manifest.parent) == ("generated", teacher)
    shifts = [headed.network.get_layer(name).get_weights()[1].item() for name in ("raised", "beyond")]
    corpus = load_corpus(str(data), lambda line: None, -1)
    least, ceiling = raising(of_benign(headed.network, corpus))
    assert shifts == pytest.approx([-least, -ceiling], abs=1e-6) and least != ceiling
    benign = corpus.x[corpus.where(BENIGN, TUNE)]
    beyond = np.array([tail_threshold(logits(plain_of(headed.network, "generated"), benign)[:, 0], BLOCK_RATE)])
    block = headed.manifest.calibration["generated"](beyond).item()
    assert headed.manifest.thresholds.block.value == pytest.approx(block, rel=1e-3)
    wrong = msgspec.structs.replace(settings, teachers=["seed-2020"])
    with pytest.raises(BadSettings, match="teacher seed-2020, expected a trained `segments`"):
        work(wrong, registry, tmp_path / "wrong", "segments-4", lambda line: None, lambda: False)
    judged = json.loads((Path(registry) / version / "evaluation.json").read_text())
    assert set(judged["parts"]) == {"train", "validation", "test"}
    assert all(sum(part["confusion"].values()) == part["names"] > 0 for part in judged["parts"].values())
    assert "highest" not in json.dumps(judged["hard_benign"])
    assert (manifest.held_out, manifest.parent, manifest.metrics["plan"]["rate"]) == (-1, "tuned-1", Plan().rate / 5)
    assert set(manifest.splits) == {"teach", "tune", "judge"} and manifest.calibration["generated"].slope > 0
    assert manifest.thresholds.block.benign == manifest.thresholds.alert_score.benign
    assert [source.use for source in manifest.sources] == ["teach"] * 3
    few = msgspec.structs.replace(settings, rows=100)
    some = work(few, registry, tmp_path / "few", "segments-5", lambda line: None, lambda: False)
    used, whole = Registry(registry).get(some).manifest, manifest
    assert used.splits["teach"] != whole.splits["teach"] and used.splits["judge"] == whole.splits["judge"]
    assert sum(source.rows for source in used.sources) < sum(source.rows for source in whole.sources) / 2
    assert {len(source.digest) for source in manifest.sources} == {64} and len({*manifest.sources}) == 3


def test_a_new_network_is_taught_its_words_after_it_and_goes_on_where_it_was(
    registry: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.plan.Plan", functools.partial(Plan, blocks=1, grammars=300, shape=SMALL))
    settings = parse({"kind": "train", "data": str(data), "epochs": 1})
    lines: list[dict[str, Any]] = []
    with pytest.raises(Cancelled):  # with the first words' epoch behind it
        work(settings, registry, tmp_path / "run", "new-1", lines.append, lambda: lines[-1].get("head") == "malicious")
    told = [(line["epoch"], line["done"], line.get("head", "")) for line in lines if "epoch" in line]
    version = work(settings, registry, tmp_path / "run", "new-1", lines.append, lambda: False)
    found = Registry(registry).get(version)
    assert told == [(1, 0.8, ""), (2, 0.95, "malicious")]
    assert [(line["epoch"], line["done"], line.get("head")) for line in lines if "epoch" in line][2:] == [
        (3, 1.0, "generated")
    ]
    history = (Path(registry) / version / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == [1, 2, 3]
    metrics = found.manifest.metrics
    assert [stage["head"] for stage in (*metrics["stages"], metrics["plan"])] == list(SHARES)
    assert all(has_wide(found.network, head) for head in HEADS) and metrics["plan"]["shape"]["worded"] == HEADS


def test_words_are_taught_by_benign_names_as_they_are_not_by_the_hard_ones(
    registry: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[np.ndarray] = []

    def noted(self: Sampler, *how: Any, **more: Any) -> Any:
        drawn.append(self.pools["benign"].cumulative)
        return batches(self, *how, **more)

    batches = Sampler.batches
    monkeypatch.setattr(Sampler, "batches", noted)
    monkeypatch.setattr("model.plan.Plan", functools.partial(Plan, blocks=1, grammars=300, mining=0.5, shape=SMALL))
    settings = parse({"kind": "train", "data": str(data), "epochs": 2})
    work(settings, registry, tmp_path / "run", "new-1", lambda line: None, lambda: False)
    plain, hard, *words = drawn
    assert not np.array_equal(hard, plain) and len(words) == 2
    assert all(np.array_equal(each, plain) for each in words)


def test_a_fine_tuned_network_s_forms_are_held_below_its_own_ceiling(
    registry: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = msgspec.structs.replace(SMALL, grams=1000, worded=HEADS)
    begun = manifest("worded-1", metrics={"plan": {"shape": msgspec.to_builtins(shape)}})
    save(tmp_path / "worded-1", build(shape), begun)
    monkeypatch.setattr("model.plan.Plan", functools.partial(Plan, blocks=1, grammars=300))
    asked: list[Any] = []
    monkeypatch.setattr("model.release.logits", lambda part, x: asked.append(part) or logits(part, x))
    settings = parse({"kind": "train", "data": str(data), "start": str(tmp_path / "worded-1"), "epochs": 1})
    version = work(settings, registry, tmp_path / "run", "new-1", lambda line: None, lambda: False)
    network = Registry(registry).get(version).network
    assert len(asked) == 1  # of many names each answer takes minutes
    least, ceiling = raising(of_benign(network, load_corpus(str(data), lambda line: None)))
    raised, beyond = (network.get_layer(name).get_weights() for name in ("raised", "beyond"))
    assert (raised[0].item(), beyond[0].item()) == (1.0, 1.0)
    assert (raised[1].item(), beyond[1].item()) == pytest.approx((-least, -ceiling), abs=1e-6)


def test_what_came_of_a_network_of_other_lists_says_so(
    registry: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.plan.Plan", functools.partial(Plan, blocks=1, grammars=300, shape=SMALL))
    monkeypatch.setattr("model.plan.stages", lambda plan: [plan])

    lines: list[dict[str, Any]] = []

    def train(version: str, **changes: Any) -> list[str]:
        """The notices before it was trained."""
        lines.clear()
        settings = parse({"kind": "train", "data": str(data), "epochs": 1, **changes})
        work(settings, registry, tmp_path / version, version, lines.append, lambda: False)
        return told()

    def told() -> list[str]:
        return [line["notice"] for line in lines if "notice" in line]

    train("first")
    with monkeypatch.context() as no_training, pytest.raises(Cancelled):  # of the same lists, other families judge it
        no_training.setattr("model.release.train", lambda *how, **more: (_ for _ in ()).throw(Cancelled))
        train("alike", start="first", held_out=-1)
    assert told() == []
    read = [line["reading"] for line in lines if "reading" in line]
    assert read == ["good.txt", "dga.csv", "feed.txt"]  # once, for both folds
    with (data / "good.txt").open("a") as file:
        file.writelines(f"another{i}.com\n" for i in range(200))
    assert train("second", start="first") == [came_of(["first"])]
    found = Registry(registry).get("second").manifest
    judged = json.loads((Path(registry) / "second" / "evaluation.json").read_text())
    assert found.metrics["other_lists"] == ["first"] and judged["notices"] == [came_of(["first"])]
    assert manifest_of(found, "tuned", 1, {}).metrics["other_lists"] == ["first"]


def test_a_teacher_is_an_artifact_that_nothing_begins_from(
    registry: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.plan.Plan", functools.partial(Plan, blocks=1, grammars=300))
    monkeypatch.setattr("model.plan.Attention", functools.partial(Attention, 16, 1, 2, 0.0, 16))
    settings = parse({"kind": "train", "network": "attention", "data": str(data), "epochs": 1})
    version = work(settings, registry, tmp_path / "run", "attention-1", lambda line: None, lambda: False)
    found = Registry(registry).get(version)
    assert found.manifest.network == "attention" and found.manifest.thresholds.block.value is not None
    assert Scorer(found)(found.encoding(["wikipedia.org", "kxrutmcfwxyiruqvnrrgxybzz.ru"])).shape == (2, 2)
    teacher = f"{registry}/{version}"
    begun = parse({"kind": "train", "data": str(data), "epochs": 1, "start": teacher})
    with pytest.raises(BadSettings, match="attention-1, expected a trained `segments`"):
        work(begun, registry, tmp_path / "begun", "segments-2", lambda line: None, lambda: False)


@pytest.mark.parametrize(("key", "value"), [("held_out", -1), ("start", "seed-2020"), ("rows", 9)])
def test_a_run_goes_on_with_the_settings_it_was_begun_with(
    registry: str, data: Path, tmp_path: Path, key: str, value: Any
) -> None:
    settings = parse({"kind": "train", "data": str(data)})
    mistyped = msgspec.structs.replace(settings, seed=7)  # and corrected before anything was trained
    for moved in (mistyped, settings, msgspec.structs.replace(settings, data=f"{data}/")):
        with pytest.raises(Cancelled):
            work(moved, registry, tmp_path / "run", "segments-1", lambda line: None, lambda: True)
    (tmp_path / "run" / "checkpoint").mkdir()
    (tmp_path / "run" / "checkpoint" / "state.json").touch()
    other = msgspec.structs.replace(settings, **{key: value})
    with pytest.raises(BadSettings, match=f"run: was begun with {key} .*, now it is {value!r}; expected"):
        work(other, registry, tmp_path / "run", "segments-1", lambda line: None, lambda: True)


def test_a_run_goes_on_with_the_lists_it_was_begun_with(
    registry: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.plan.Plan", functools.partial(Plan, blocks=1, grammars=300, shape=SMALL))
    settings, run, lines = parse({"kind": "train", "data": str(data), "epochs": 2}), tmp_path / "run", [{}]
    feed, sources = data / "feed.txt", data / "sources.toml"
    whole, stated = feed.read_text(), sources.read_text()

    def go_on(stop: str) -> None:
        lines.append({})
        with pytest.raises(Cancelled):
            work(settings, registry, run, "segments-1", lines.append, lambda: stop in lines[-1])

    go_on("names")  # before anything was trained, lists may change
    feed.write_text(whole + "another.top\n")
    go_on("epoch")
    feed.write_text(whole)
    with pytest.raises(ValueError, match="checkpoint: other names of feed.txt than those it was begun with; expected"):
        work(settings, registry, run, "segments-1", lambda line: None, lambda: False)
    feed.write_text(whole + "another.top\n")
    sources.write_text(stated.replace('kind="feed"\nuse="teach"', 'kind="feed"\nuse="judge"'))
    with pytest.raises(ValueError, match="checkpoint: other names to teach, tune, judge than those it was begun with"):
        work(settings, registry, run, "segments-1", lambda line: None, lambda: False)
    sources.write_text(stated)
    go_on("epoch")


def test_two_trainings_do_not_share_a_folder(registry: str, data: Path, tmp_path: Path) -> None:
    settings, run = parse({"kind": "train", "data": str(data)}), tmp_path / "run"

    def second(line: dict[str, Any]) -> None:
        with pytest.raises(BadSettings, match="run: another training runs there"):
            work(settings, registry, run, "segments-2", lambda line: None, lambda: False)
        raise Cancelled

    for _ in range(2):  # the first leaves the folder to the next
        with pytest.raises(Cancelled):
            work(settings, registry, run, "segments-1", second, lambda: False)


def test_labelled_and_seen_names_come_as_people_write_them(registry: str, tmp_path: Path) -> None:
    labels = [{"name": "B\u00fccher-QZX.Info.", "label": "generated"}, {"name": "a\nb.com", "label": "benign"}]
    settings = parse({"labels": labels, "seen": ["WWW.Example.De.", "a..b"], "epochs": 1, "batch_size": 20})
    work(settings, registry, tmp_path / "run", "tuned-1", lambda line: None, lambda: False)


@pytest.fixture
def of_2020(tmp_path: Path) -> dict[str, Any]:
    """Settings for the seed network, with the two lists."""
    (tmp_path / "benign_domains.csv").write_text("Domain\n" + "".join(f"site{i}.com\n" for i in range(40)))
    (tmp_path / "malicious_domains.txt").write_text("".join(f"0{i}x.net\n" for i in range(40)))
    return {"kind": "train", "network": "seed", "data": str(tmp_path), "epochs": 2}


def test_the_seed_network_s_two_trainings_are_told_one_after_the_other(
    registry: str, tmp_path: Path, of_2020: dict[str, Any]
) -> None:
    told: list[dict[str, Any]] = []
    version = work(parse(of_2020), registry, tmp_path / "run", "seed-1", told.append, lambda: False)
    assert [(line["epoch"], line["epochs"]) for line in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [line["epoch"] for line in history(Registry(registry).path(version))] == [1, 2]


@pytest.mark.parametrize("lines", [1, 3])
def test_training_the_seed_network_is_cancelled(
    registry: str, tmp_path: Path, lines: int, of_2020: dict[str, Any]
) -> None:
    told: list[dict[str, Any]] = []
    settings = parse(of_2020)
    with pytest.raises(Cancelled):
        work(settings, registry, tmp_path / "run", "seed-1", told.append, lambda: len(told) == lines)
    assert len(told) == lines and [found.version for found in Registry(registry).list()] == ["b-1"]


def test_a_job_cancelled_in_its_last_step_adds_nothing(registry: str, tmp_path: Path) -> None:
    asked: list[int] = []
    settings = parse({"labels": LABELS, "epochs": 1, "batch_size": 20})
    with pytest.raises(Cancelled):  # asked once a step, then once a line, then once more
        work(settings, registry, tmp_path / "run", "tuned-1", lambda line: asked.append(1), lambda: bool(asked))
    assert [found.version for found in Registry(registry).list()] == ["b-1"]


def test_a_cancelled_job_adds_nothing(registry: str, data: Path, tmp_path: Path) -> None:
    settings = parse({"kind": "train", "data": str(data)})
    with pytest.raises(Cancelled):
        work(settings, registry, tmp_path / "run", "segments-1", lambda line: None, lambda: True)
    assert [manifest.version for manifest in Registry(registry).list()] == ["b-1"]


def test_a_version_tells_kind_and_time() -> None:
    assert new_version(JobSettings("retrain"), 0) == "tuned-19700101-000000"


def noted(runs: Path, state: str) -> Any:
    """The actor's class, in this process, with one job in this state."""
    from deployments.trainer import Jobs

    jobs = Jobs(str(runs))
    (runs / "j1").mkdir()
    job = {"id": "j1", "kind": "train", "settings": {"network": "segments"}, "error": "", "ended": 0, "progress": {}}
    jobs._write(job | {"state": state})
    return jobs


def test_a_report_is_noted_line_by_line(tmp_path: Path) -> None:
    jobs = noted(tmp_path, "running")
    assert jobs.report("j1", {}, {"epoch": 1}) is False and jobs.report("j1", {}, {"epoch": 2}) is False
    found = jobs.status("j1", after=1)
    assert found["progress"] == {"epoch": 2} and found["history"] == [{"epoch": 2}]


def test_a_cancelled_job_hears_it_with_its_next_report(tmp_path: Path) -> None:
    jobs = noted(tmp_path, "running")
    jobs.cancel("j1")
    assert jobs.report("j1", {}, None) is True


def test_a_job_whose_cluster_stopped_is_shown_as_failed(tmp_path: Path) -> None:
    noted(tmp_path, "running")
    from deployments.trainer import Jobs

    found = Jobs(str(tmp_path)).status("j1", 0)
    assert found["state"] == "failed" and "interrupted" in found["error"]


def test_a_full_disk_does_not_leave_a_job_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = noted(tmp_path, "running")
    (tmp_path / "j1" / "history.jsonl").symlink_to("/dev/full")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):  # the task hears it, and fails for this reason
            jobs.report("j1", {}, {"epoch": 1})
        jobs.report("j1", {"state": "failed", "error": "No space left"}, None)
    assert [job["state"] for job in jobs.jobs()] == ["failed"] == [jobs._read("j1")["state"]]
    assert sorted(path.name for path in (tmp_path / "j1").iterdir()) == ["history.jsonl", "job.json"]
    jobs.report("j1", {"ended": 1}, None)
    assert json.loads((tmp_path / "j1" / "job.json").read_text())["state"] == "failed"


def test_what_was_cut_short_hides_no_other_job(tmp_path: Path) -> None:
    jobs = noted(tmp_path, "done")
    (tmp_path / "j2").mkdir()
    (tmp_path / "j2" / "job.json").write_text("")
    (tmp_path / "j1" / "history.jsonl").write_text('{"epoch": 1}\n{"epo')
    assert [job["id"] for job in jobs.jobs()] == ["j1"] and jobs.status("j1", 0)["history"] == [{"epoch": 1}]


def test_a_job_s_name_cannot_leave_its_folder(tmp_path: Path) -> None:
    from deployments.trainer import UnknownJob

    with pytest.raises(UnknownJob, match="no such training job"):
        noted(tmp_path, "done").status("../j1", 0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import ray

    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # a busy machine starts slowly
    os.environ.setdefault("RAY_worker_niceness", "0")  # as of the cluster's processes
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80_000_000,
        _temp_dir=str(tmp_path_factory.mktemp("r")), namespace="verdict", address="local",
    )  # fmt: skip
    yield
    ray.shutdown()


def wait(job: str, runs: str, states: tuple[str, ...], seconds: float = 200) -> dict[str, Any]:
    from deployments import trainer

    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found = trainer.status(job, runs)
        if found["state"] in states:
            return found
        time.sleep(0.3)
    raise AssertionError(f"job is {found}")


def training() -> int:
    """The process of the training that runs."""
    (found,) = (p for p in descendants(os.getpid()) if Path(f"/proc/{p}/cmdline").read_bytes()[:9] == b"ray::_run")
    return found


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # Ray's own
def test_a_job_on_the_cluster_ends_in_the_registry(cluster: None, registry: str, tmp_path_factory: Any) -> None:
    from deployments import trainer
    from deployments.trainer import NICE

    runs = str(tmp_path_factory.mktemp("runs"))
    job = trainer.start({"kind": "retrain", "labels": LABELS, "epochs": 1, "batch_size": 64}, registry, runs)
    with pytest.raises(trainer.Busy):
        trainer.start({"kind": "retrain", "labels": LABELS}, registry, runs)
    found = wait(job, runs, ("done", "failed", "cancelled"))
    assert found["state"] == "done", found["error"]
    assert found["version"] in [manifest.version for manifest in Registry(registry).list()]
    assert found["history"] and found["progress"] == found["history"][-1] and found["settings"]["labels"] == 1

    job = trainer.start({"kind": "retrain", "labels": LABELS, "epochs": 1000, "minutes": 9.0}, registry, runs)
    wait(job, runs, ("running",))
    process = training()
    trainer.cancel(job, runs)
    assert wait(job, runs, ("done", "failed", "cancelled"))["state"] == "cancelled"
    assert [found["state"] for found in trainer.jobs(runs)] == ["cancelled", "done"]
    with pytest.raises(trainer.UnknownJob, match="no such training job"):
        trainer.status("../x", runs)

    job = trainer.start({"kind": "retrain", "labels": LABELS, "epochs": 1000, "minutes": 9.0}, registry, runs)
    wait(job, runs, ("running",))
    while process in descendants(os.getpid()):  # or a replica could begin in it, with its niceness and its memory
        time.sleep(0.3)
    process = training()
    assert os.getpriority(os.PRIO_PROCESS, process) == max(NICE, os.getpriority(os.PRIO_PROCESS, 0))
    os.kill(process, signal.SIGKILL)
    lost = wait(job, runs, ("done", "failed", "cancelled"))
    assert lost["state"] == "failed" and "its process was lost" in lost["error"] and lost["ended"]
    with pytest.raises(BadSettings):
        trainer.start({"kind": "retrain"}, registry, runs)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # Ray's own
def test_a_roll_back_does_not_wait_for_a_replay_that_is_going(cluster: None, registry: str, tmp_path: Path) -> None:
    from deployments import analyst

    Registry(registry).add(write(tmp_path / "more", "b-2"))
    Registry(registry).promote("b-2")
    (Path(registry) / "slow-1").mkdir()
    file = Path(registry) / "slow-1" / "manifest.json"
    os.mkfifo(file)  # whoever reads it waits for us
    with ThreadPoolExecutor(1) as thread:
        replay = thread.submit(analyst.ask, registry, "replay", "slow-1", [("a.org", 1)], Policy(), set())
        writing = opened_once_read(file)
        try:
            assert analyst.change(registry, "roll_back") == "b-1" and not replay.done()
        finally:
            os.write(writing, b"{}")
            os.close(writing)
        with pytest.raises(analyst.Refused):
            replay.result()


def opened_once_read(file: Path, seconds: float = 120) -> int:
    """A pipe opened for writing, once somebody reads it."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            return os.open(file, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody does yet
            time.sleep(0.1)
    raise AssertionError("nobody reads it")


@pytest.mark.parametrize(
    ("state", "kind", "network", "message"),
    [
        ("done", "train", "segments", "job j1: a train of segments, done; expected"),
        ("cancelled", "train", "seed", "job j1: a train of seed, cancelled; expected a train of segments or attention"),
        ("failed", "retrain", "segments", "job j1: a retrain, failed; expected"),
    ],
)
def test_what_leaves_nothing_to_go_on_from_is_not_resumed(
    tmp_path: Path, state: str, kind: str, network: str, message: str
) -> None:
    from deployments.trainer import NotResumable

    jobs = noted(tmp_path, state)
    jobs._write(jobs._read("j1") | {"kind": kind, "settings": {"network": network}})
    with pytest.raises(NotResumable, match=message):
        jobs.resume("j1", "", math.inf)
    assert jobs.status("j1", after=0)["resumable"] is jobs.jobs()[0]["resumable"] is False


@pytest.mark.parametrize(("state", "network"), [("cancelled", "segments"), ("failed", "attention")])
def test_what_left_a_checkpoint_is_said_to_be_resumable(tmp_path: Path, state: str, network: str) -> None:
    jobs = noted(tmp_path, state)
    jobs._write(jobs._read("j1") | {"settings": {"network": network}})
    assert jobs.status("j1", after=0)["resumable"] is jobs.jobs()[0]["resumable"] is True


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # Ray's own
def test_a_cancelled_training_goes_on_from_its_last_epoch(
    cluster: None, registry: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deployments import trainer

    # From a small network, which has one stage: that a new one's goes on with its words is told above.
    begun = manifest("small-1", metrics={"plan": {"shape": msgspec.to_builtins(SMALL)}})
    save(tmp_path / "small-1", build(SMALL), begun)
    settings = {"kind": "train", "data": str(data), "start": str(tmp_path / "small-1"), "minutes": 0.02}
    runs = str(tmp_path / "runs")
    job = trainer.start(settings, registry, runs)
    with pytest.raises(trainer.Busy):
        trainer.resume(job, registry, runs)
    trainer.cancel(job, runs)
    wait(job, runs, ("cancelled",))
    run, told = Path(runs) / job, []
    with monkeypatch.context() as small, pytest.raises(Cancelled):  # an epoch, quickly
        small.setattr("model.plan.Plan", functools.partial(Plan, blocks=1, grammars=300))
        work(parse(settings), registry, run, "segments-1", told.append, lambda: any("epoch" in line for line in told))
    state = json.loads((run / "checkpoint" / "state.json").read_text())
    plan = msgspec.to_builtins(msgspec.structs.replace(tuning(Plan(shape=SMALL)), minutes=0.02))
    (run / "checkpoint" / "state.json").write_text(json.dumps(state | {"epoch": 3, "seconds": 0.0, "plan": plan}))
    trainer.resume(job, registry, runs)
    found = wait(job, runs, ("done", "failed", "cancelled"))
    assert found["state"] == "done", found["error"]
    assert [line["epoch"] for line in found["history"] if "epoch" in line] == [4] and found["ended"]
    assert found["version"] in Registry(registry).versions()


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # Ray's own
def test_a_job_that_waits_for_a_silent_server_is_cancelled(cluster: None, registry: str, tmp_path: Path) -> None:
    from deployments import trainer

    runs = str(tmp_path / "runs")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        data = f"http://127.0.0.1:{silent.getsockname()[1]}"
        job = trainer.start({"kind": "train", "data": data}, registry, runs)
        asker, _ = silent.accept()
        with asker:  # it would fail once its own patience with the server ends
            trainer.cancel(job, runs)
            assert wait(job, runs, ("done", "failed", "cancelled"))["state"] == "cancelled"
            while asker.recv(4096):  # until the process is gone
                pass
    assert [found["state"] for found in trainer.jobs(runs)] == ["cancelled"]


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # Ray's own
def test_an_actor_is_of_its_settings_and_is_ended_with_the_application(cluster: None, tmp_path: Path) -> None:
    import ray

    from deployments import trainer
    from deployments.actors import NAMESPACE, end_actors, name_of

    for place in ("one", "two"):  # a redeployment with another folder is not served by the former one's actor
        (tmp_path / place / "j1").mkdir(parents=True)
        (tmp_path / place / "j1" / "job.json").write_text(json.dumps({"id": place, "state": "done"}))
        assert [job["id"] for job in trainer.jobs(str(tmp_path / place))] == [place]
    names = {name_of(trainer.NAME, str(tmp_path / place)) for place in ("one", "two")}
    assert names <= set(end_actors())
    ends = time.monotonic() + 60
    while any(each["namespace"] == NAMESPACE for each in ray.util.list_named_actors(all_namespaces=True)):
        assert time.monotonic() < ends
        time.sleep(0.1)


@pytest.mark.cluster
def test_an_analyst_that_ends_over_a_question_is_told_and_another_one_answers(cluster: None, tmp_path: Path) -> None:
    import ray

    from deployments import analyst
    from deployments.actors import actor

    its = actor(analyst.Analyst, analyst.NAME, str(tmp_path))
    pid = ray.get(its.__ray_call__.remote(lambda self: os.getpid()))
    os.kill(pid, signal.SIGSTOP)  # so that it is in the middle of the question
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(analyst.ask, str(tmp_path), "roll_back")
        time.sleep(0.5)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(analyst.Unanswered, match="ended meanwhile"):
            asked.result()
    ends = time.monotonic() + 30
    while True:
        try:
            with pytest.raises(analyst.Refused):  # there is nothing to roll back to
                analyst.ask(str(tmp_path), "roll_back")
            break
        except analyst.Unanswered:  # what is asked before the other one is there
            assert time.monotonic() < ends
            time.sleep(0.1)
