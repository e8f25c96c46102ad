"""The small pure parts: the queue, results of trainings, registration data, list decisions."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import dashboard
from dashboard import registration as registrations
from dashboard.decision import entries_of
from dashboard.facts import facts_of_record
from dashboard.frame import THEME
from dashboard.opening import USED
from dashboard.pages.audit import which
from dashboard.pages.health import log_facts, octets, resolver_rows, store_trouble
from dashboard.queue import queue
from dashboard.registration import NotKnown, facts_of, registration
from dashboard.rows import chart_of
from dashboard.training import CURVES, confusion_rows, curves, job_row, model_row, progress_of
from dashboard.training_form import TrainingForm
from dashboard.vetted import in_force
from model.jobs import parse
from tests.stores import batch_of, observation
from verdicts.records import records_of
from verdicts.store import BatchState, Cell, Top

pytestmark = pytest.mark.anyio


def top(name: str, clients: int, score: float) -> Top:
    return Top(name, 5, clients, score, 0.0, 1, "alert", 0)


def test_the_queue_takes_the_weightiest_and_lets_the_rest_expire() -> None:
    tops = [top("a.example.org", 1, 0.9), top("b.example.org", 10, 0.5), top("c.example.org", 2, 0.8)]
    assert [row["key"] for row in queue(tops, [])][:2] == ["b.example.org", "c.example.org"]


def test_the_queue_leaves_out_what_was_decided_or_lies_under_a_decision() -> None:
    tops = [top("a.example.org", 1, 0.9), top("x.shop.example.com", 1, 0.9), top("new.example.net", 1, 0.9)]
    assert [row["key"] for row in queue(tops, ["a.example.org", "shop.example.com"])] == ["new.example.net"]


def test_a_decision_on_the_registered_domain_is_one_entry() -> None:
    entries = entries_of(["a.shop.co.uk", "b.shop.co.uk"], "benign", "1 day", True, now=1000)
    assert entries == [{"list": "benign", "suffix": "shop.co.uk", "expires": 86_401_000}]


def test_for_good_has_no_end() -> None:
    assert entries_of(["a.example.org"], "blocklist", "for good", False)[0]["expires"] is None


def test_a_resolver_that_fell_silent_is_not_waited_for() -> None:
    resolvers = [{"epoch": 5, "time": 100_000}, {"epoch": 4, "time": 100_000}, {"epoch": 1, "time": 10_000}]
    assert in_force(5, resolvers, 100_500) == (1, 2)


def test_a_chart_takes_the_unknown_out_of_what_passed() -> None:
    cells = [Cell(0, ("benign", "none"), 4), Cell(0, ("unknown", "none"), 3), Cell(100, ("malicious", "block"), 2)]
    chart = chart_of(0, 200, 100, cells)
    assert {s["key"]: s["values"] for s in chart["series"]} == {
        "none": [4, 0], "unknown": [3, 0], "alert": [0, 0], "block": [0, 2],
    }  # fmt: skip


def test_reconciliation_sums_what_was_promised_and_stored() -> None:
    now = 10_000_000
    batches = [
        BatchState("r", "b", 1, now - 300_000, 12, 2, 10, 9, 0), BatchState("r", "b", 2, now - 200_000, 5, 0, 5, 5, 0),
        BatchState("r", "b", 5, now - 100_000, 5, 0, 5, 5, 0), BatchState("r", "b", 6, now - 1000, 4, 0, 4, 2, 0),
    ]  # fmt: skip
    row = resolver_rows(batches, {}, now)[0]
    assert (row["seen"], row["rows"], row["stored"], row["discarded"]) == (26, 24, 21, 2)
    assert (row["missing"], row["pending"], row["lost"], row["state"]) == (1, 2, 2, "lossy")


def test_curves_take_what_a_training_reports() -> None:
    lines = [{"epoch": 1, "epochs": 4, "loss": 0.9}, {"epoch": 2, "epochs": 4, "loss": 0.5, "val_loss": 0.6}]
    assert curves(lines, CURVES)[1] == {"label": "loss, validation", "points": [[2.0, 0.6]]}
    assert progress_of(lines) == 0.5
    lines.append({"epoch": 3, "loss": 0.2, "head": "generated"})
    told = [(curve["label"], len(curve["points"])) for curve in curves(lines, CURVES)]
    assert told == [("loss, training", 2), ("loss, training, words of generated", 1), ("loss, validation", 1)]


def test_a_training_that_is_being_judged_is_done() -> None:
    assert job_row({"state": "running", "progress": {"judged": 65_536, "of": 500_000}})["progress"] == 1.0
    assert job_row({"state": "running", "progress": {"reading": "a.csv", "list": 1, "of": 9}})["progress"] == 0.0


def test_confusion_rows_follow_from_the_four_counts() -> None:
    counts = {"true_negative": 90, "false_positive": 10, "false_negative": 20, "true_positive": 80}
    row = confusion_rows({"parts": {"judge": {"confusion": counts}}})[0]
    assert (row["part"], row["accuracy"], row["recall"], row["fpr"]) == ("test", 0.85, 0.8, 0.1)


async def test_registration_is_asked_once_and_kept() -> None:
    asked: list[str] = []

    def ask(domain: str) -> dict[str, Any]:
        asked.append(domain)
        return {"registration_date": datetime(2026, 1, 1, tzinfo=UTC)}

    for _ in range(3):
        answer = await registration("kept.example.org", ask)
    assert asked == ["kept.example.org"]
    assert facts_of(answer, datetime(2026, 1, 11, tzinfo=UTC).timestamp())[0]["value"] == "10 days"


async def test_offline_says_so() -> None:
    def ask(domain: str) -> dict[str, Any]:
        raise NotKnown("offline, or the registry does not answer")

    registrations._cache.pop("off.example.org", None)
    with pytest.raises(NotKnown, match="offline"):
        await registration("off.example.org", ask)


def test_the_server_keeps_the_models_that_the_pages_use() -> None:
    sources = (Path(dashboard.__path__[0])).rglob("*.py")
    named = {name for source in sources for name in re.findall(r"pmui\.([A-Z]\w+)", source.read_text())}
    assert named <= {component.__name__ for component in USED}


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        ({"value": 0.9, "bound": 2e-5}, "\u2264 2.0e-05"),
        ({"value": 0.9, "bound": 2e-4}, "never blocks"),  # measured, and too many
        ({"value": 0.9, "bound": None}, "never blocks"),
        ({"value": None, "bound": 2e-5}, "never blocks"),
        (None, "never blocks"),
    ],
)
def test_a_model_is_said_to_block_only_where_it_does(block: dict[str, float] | None, shown: str) -> None:
    assert model_row({"version": "m", "thresholds": {"block": block}}, "")["block"] == shown


@pytest.mark.parametrize(
    ("bound", "in_force", "shown"),
    [
        (2e-5, {"block": None}, "never blocks"),
        (2e-5, {"block": 0.95}, "\u2264 2.0e-05"),
        (2e-5, {"block": 0.85}, "blocks by policy, not measured"),  # more names than its own threshold
        (2e-4, {"block": 0.9}, "\u2264 2.0e-04"),  # by its own it would not
        (None, {"block": 0.99}, "blocks by policy, not measured"),
    ],
)
def test_a_model_is_said_to_block_as_the_policy_makes_it(
    bound: float | None, in_force: dict[str, float | None], shown: str
) -> None:
    manifest = {"version": "m", "thresholds": {"block": {"value": 0.9, "bound": bound}}}
    assert model_row(manifest, "", in_force)["block"] == shown


@pytest.mark.parametrize("resumable", [True, False])
def test_a_job_that_the_cluster_would_resume_can_be_resumed(resumable: bool) -> None:
    assert job_row({"state": "cancelled", "resumable": resumable})["resumable"] is resumable


@pytest.mark.parametrize(
    ("kind", "network", "unused"),
    [
        ("retrain", "segments", {"network", "data", "rows"}),
        ("retrain", "seed", {"network", "data", "rows"}),
        ("train", "segments", set()),
        ("train", "seed", {"batch_size", "minutes"}),
    ],
)
def test_a_training_form_shows_and_sends_what_its_kind_of_job_uses(kind: str, network: str, unused: set[str]) -> None:
    form = TrainingForm(lambda: None, allowed=True)
    for field, value in ((form.data, "/data"), (form.rows, "9"), (form.minutes, "2.5"), (form.batch, "64")):
        field.value = value
    form.kind.value, form.network.value = kind, network
    settings = form.settings()
    assert {"network", "data", "epochs", "batch_size", "rows", "minutes", "seed"} - set(settings) == unused
    assert (form.data.visible, form.batch.visible) == (kind == "train", "batch_size" not in unused)
    labels = [{"name": "a.example.org", "label": "benign"}] if kind == "retrain" else []
    parse({"kind": kind, "labels": labels, **settings})  # which refuses what would be passed over


MODELS = [
    {"version": "a", "network": "segments"},
    {"version": "b", "network": "attention"},
    {"version": "c", "network": "seed"},
]


def test_a_training_form_offers_models_to_go_on_from_and_teachers_once_more_is_asked_for() -> None:
    form = TrainingForm(lambda: None, allowed=True)
    form.offer(MODELS)
    assert (list(form.begin.options.values()), form.teachers.options) == (["", "a"], ["a", "b"])
    form.kind.value, form.data.value = "train", "/data"
    form.begin.value, form.head.value = "a", "generated"
    assert not form.begin.visible and not {"start", "head", "teachers", "held_out"} & set(form.settings())
    form.more.value = True
    assert form.begin.visible and form.head.visible and form.teachers.visible
    taken = parse({"kind": "train", **form.settings()})
    assert (taken.start, taken.head, taken.teachers, taken.held_out) == ("a", "generated", [], 0)
    form.head.value, form.teachers.value, form.held_out.value = "", ["a", "b"], -1
    taken = parse({"kind": "train", **form.settings()})
    assert (taken.start, taken.head, taken.teachers, taken.held_out) == ("a", "", ["a", "b"], -1)
    for field, value in ((form.network, "seed"), (form.kind, "retrain")):
        field.value = value
        assert not form.more.visible and not form.begin.visible and "start" not in form.settings()


def test_a_model_that_left_the_registry_is_chosen_no_more() -> None:
    form = TrainingForm(lambda: None, allowed=True)
    form.offer(MODELS)
    form.begin.value, form.teachers.value = "a", ["a", "b"]
    form.offer(MODELS[1:])
    assert (form.begin.value, form.teachers.value) == ("", ["b"])


@pytest.mark.parametrize(
    ("typed", "taken"), [("2.5", None), ("-1", None), ("two", None), ("", 0), ("2.0", 2), ("3000000000", 3 * 10**9)]
)
def test_a_whole_number_is_taken_as_typed_or_not_at_all(typed: str, taken: int | None) -> None:
    form = TrainingForm(lambda: None, allowed=True)
    form.seed.value = typed
    if taken is not None:
        assert form.settings()["seed"] == taken
        return
    with pytest.raises(ValueError, match="Seed: .*expected a whole number from 0 on"):
        form.settings()


def test_the_verdict_log_is_told_in_words_and_units() -> None:
    spool = {"spool_bytes": 1536, "spool_limit": 1 << 30, "spool_host": "h", "spool_name": "a", "stored": 7, "dead": 2}
    facts = log_facts(spool, {"state": "unavailable", "since": 1.5, "error": "refused"})
    assert [(fact["label"], fact["value"]) for fact in facts] == [
        ("Waiting on disk", "1.5 KiB"), ("Spool", "h a"), ("Rows stored", 7), ("Rows given up", 2),
        ("Store", "unavailable"), ("Store since", 1500), ("Store says", "refused"),
    ]  # fmt: skip
    assert facts[0]["more"] == "of 1.0 GiB before reports are refused" and "rejected" in facts[3]["more"]
    assert log_facts({}, {}) == [] and [octets(n) for n in (0, 1023, 5 << 20, "?")] == ["0 B", "1023 B", "5.0 MiB", "?"]


def test_a_store_that_takes_nothing_is_told_with_its_words_and_what_waits() -> None:
    spool = {"spool_bytes": 1536, "spool_limit": 1 << 30}
    told = store_trouble(spool, {"state": "unavailable", "since": 1.5, "error": "index [i] blocked: lift the block"})
    assert "index [i] blocked: lift the block" in told and "1.5 KiB of 1.0 GiB" in told
    assert store_trouble({}, {"state": "unreachable", "error": "killed"}) == "The verdict log does not answer: killed"
    assert store_trouble(spool, {"state": "healthy"}) == store_trouble({}, {}) == ""


@pytest.mark.parametrize(
    ("action", "enforced", "told"),
    [
        ("passthru", False, "\u2192 passthru"),  # done, whatever the mode
        ("nxdomain", False, "\u2192 nxdomain (not enforced)"),
        ("nxdomain", True, "\u2192 nxdomain"),
    ],
)
def test_a_record_says_what_was_not_done_and_nothing_of_what_was(action: str, enforced: bool, told: str) -> None:
    (record,) = records_of(batch_of([observation("a.example.org", 1, action=action, enforced=enforced)]))
    assert facts_of_record(record)[0]["more"] == told


def test_an_audited_list_is_called_as_elsewhere() -> None:
    assert which("list", "benign/a.example.org") == "allowlist/a.example.org"
    assert which("incident", "benign/x") == "benign/x"


def test_the_theme_holds_what_the_library_reads_of_one_that_has_two_schemes() -> None:
    assert set(THEME) == {"light", "dark"}
