"""What chaos concludes from what it saw: times from probes, promises from counts. The real thing is in tests/e2e."""

import contextlib
import itertools
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from loadtest import chaos
from loadtest.chaos import SHORT, Finding, Form, broken, document, late, try_out
from loadtest.driver import Driver, Tally
from loadtest.faults import FAIL_OPEN, FAULTS, Fault, chosen
from loadtest.prober import EVERY_S, Probe, Prober, Times, times
from loadtest.promises import TRIED
from loadtest.rig import Books, Rig

ROOT = Path(__file__).parent.parent


def probes(*runs: tuple[float, float, float, bool]) -> list[Probe]:
    """Runs of (from, to, latency, judged), a probe each 100 ms."""
    found = []
    for start, end, latency, judged in runs:
        found += [Probe(start + i / 10, latency, True, judged) for i in range(round((end - start) * 10))]
    return found


def test_fresh_names_are_asked_while_those_before_them_wait() -> None:
    """One after another, an outage of a second was two of eighty names, and `clients notice nothing` was kept."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with Prober(silent.getsockname()[1], "example.net", patience=0.5) as prober:
            began = time.monotonic()
            time.sleep(2.0)
            seconds = time.monotonic() - began
    found = prober.probes
    assert len(found) >= 0.5 * seconds / EVERY_S and found == sorted(found)  # one after another: a tenth
    assert not any(probe.answered for probe in found)


def test_a_fault_is_noticed_when_failing_open_costs_nothing_any_more() -> None:
    seen = probes((0, 1, 0.01, True), (1, 2, 0.5, False), (2, 4, 0.001, False), (4, 6, 0.01, True))
    assert times(seen, begun=1, ended=3) == Times(pytest.approx(1.001), pytest.approx(1.01), pytest.approx(2.901))


def test_a_fault_nobody_felt_has_no_time_of_notice() -> None:
    assert times(probes((0, 6, 0.01, True)), 1, 3) == Times(None, pytest.approx(0.01))


def test_what_a_kill_does_comes_after_it() -> None:
    seen = probes((0, 1, 0.01, True), (1, 2, 0.5, False), (2, 4, 0.001, False), (4, 7, 0.01, True))
    assert times(seen, begun=1, ended=1).notice == pytest.approx(1.001)
    later = [*seen, *probes((7, 7.1, 0.001, False), (7.1, 10, 0.01, True))]
    assert times(later, 1, 1) == times(seen, 1, 1) and times(later[40:], 4, 4).notice is None


def test_an_outage_is_as_long_as_no_verdict_came() -> None:
    seen = probes((0, 1, 0.01, True), (1, 1.2, 0.5, False), (1.2, 5, 0.01, True), (5, 5.2, 0.5, False))
    assert times(seen, begun=1, ended=5.2).felt == pytest.approx(0.6)


def test_one_verdict_between_failures_is_no_recovery() -> None:
    seen = probes(
        (0, 1, 0.01, True), (1, 3.2, 0.5, False), (3.2, 3.3, 0.01, True), (3.3, 4, 0.5, False), (4, 6, 0.01, True)
    )
    assert times(seen, 1, 3).recover == pytest.approx(1.01)


def test_verdicts_that_have_just_begun_are_no_recovery_yet() -> None:
    seen = probes((0, 1, 0.01, True), (1, 3, 0.5, False), (3, 4, 0.01, True))
    assert times(seen, 1, 3).recover is None  # they ended so in an outage that was not over


def test_what_never_heals_has_no_time_of_recovery() -> None:
    assert times(probes((0, 1, 0.01, True), (1, 6, 0.001, False)), 1, 3).recover is None


REFUSED, QUIET = (next(f for f in FAULTS if f.name == name) for name in ("wire refused", "log killed"))
GOOD = Finding(
    REFUSED, Tally(sent=100, answered=100, latencies=[0.001] * 100), 50, 10, Times(0.1, 0.5),
    Books(seen=150, counted=150, discarded=0, missing=0, dead=0), 0, 0, 1.0, 100,
)  # fmt: skip


def test_a_finding_in_order_breaks_nothing() -> None:
    assert broken(GOOD) == late(GOOD) == [] and GOOD.row()["kept"] == "yes"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lost": 3}, "3 queries not in the log"),
        ({"doubled": 2}, "2 queries too many in the log"),
        ({"books": Books(150, 150, 0, 4, 0)}, "4 rows missing, 0 rejected"),
        ({"books": Books(150, 140, 5, 0, 0)}, "counts 140 + discarded 5 are not seen 150"),
        ({"times": Times(0.1, None)}, "no fresh verdicts came again"),
        ({"growth": 65.0}, "CoreDNS grew by 65 MiB"),
        ({"tally": Tally()}, "not measured: 0 of about 100 queries sent, 50 probes"),
        ({"probes": 0, "unjudged": 10}, "not measured: 100 of about 100 queries sent, 0 probes"),
        ({"unjudged": 0}, "not measured: every fresh name had its verdict, so the failure never came"),
    ],
)
def test_each_promise_can_break(change: dict[str, object], said: str) -> None:
    assert broken(replace(GOOD, **change)) == [said]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fault": QUIET}, "10 of 50 fresh names without a verdict"),
        ({"tally": Tally(sent=100, latencies=[1.0] * 100)}, "p99 1.00 s"),
        (
            {"times": Times(None, 0.5, 2.5)},
            "each fresh name waited for the deadline in 2.5 s, none was failed open at once",
        ),
    ],
)
def test_a_promise_about_time_breaks_apart(change: dict[str, object], said: str) -> None:
    found = replace(GOOD, **change)  # type: ignore[arg-type]
    assert late(found) == [said] and broken(found) == []


def test_failed_answers_are_named() -> None:
    tally = Tally(sent=100, latencies=[0.001])
    tally.problems["no answer"] = 4
    assert broken(replace(GOOD, tally=tally)) == ["4x no answer"]


def test_a_killed_resolver_may_lose_what_it_had_not_reported_but_double_nothing() -> None:
    outage = next(f for f in FAULTS if f.outage)
    assert broken(replace(GOOD, fault=outage, lost=20)) == []
    assert broken(replace(GOOD, fault=outage, doubled=1)) == ["1 queries too many in the log"]


def test_failures_are_chosen_by_words() -> None:
    assert {f.name for f in chosen("frozen", short=False)} == {
        "classifier frozen", "preprocessor frozen", "log frozen", "cluster frozen",
    }  # fmt: skip


def test_the_short_form_is_a_part() -> None:
    assert 0 < len(chosen("", short=True)) < len(FAULTS)
    assert not SHORT.timed and Form().timed


def test_an_unknown_failure_is_refused() -> None:
    with pytest.raises(ValueError, match="expected words of none, for comparison"):
        chosen("earthquake", short=False)


def test_the_document_names_machine_command_and_every_failure() -> None:
    text = document([GOOD.row()], Form())
    assert "cores" in text and "Measured" in text and "| wire refused |" in text
    assert "`tests/test_store.py::test_a_hostile_name_is_data`" in text


def test_every_row_of_the_failure_table_is_tried_by_what_there_is() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("## What failure means")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert rows == list(TRIED)
    known = {fault.name for fault in FAULTS}
    for what in itertools.chain(*TRIED.values()):
        file, _, test = what.partition("::")
        assert what in known or re.search(rf"\b(def|func) {test}\(", (ROOT / file).read_text()), what
    assert known - {"none, for comparison"} <= set(itertools.chain(*TRIED.values()))


def test_a_load_that_fails_is_no_kept_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread's exception is nobody's: the row would have said that all was well."""
    nothing: Any = None
    monkeypatch.setattr(Driver, "run", lambda self, queries: 1 / 0)
    monkeypatch.setattr(Rig, "settled", lambda self, seconds, seen=0: Books(0, 0, 0, 0, 0))
    monkeypatch.setattr(chaos, "resident_bytes", lambda pid: 0)
    made = Rig(Path("/h"), Path("/f"), 1, 2, nothing, Path("/b"), 3, Mock(pid=1))
    quick = Fault("quick", FAIL_OPEN, lambda rig, seconds: contextlib.nullcontext(), recover_s=0.1)
    with pytest.raises(AssertionError, match="the load ended with ZeroDivisionError"):
        try_out(made, quick, Form(), seed=0)


def test_who_is_told_to_end_puts_its_things_away() -> None:
    """A mounted disk and a cluster stood there after a SIGTERM, as a service manager and `timeout` send it."""
    program = (
        "import contextlib, os, signal, time\nfrom loadtest import chaos, processes\n"
        "@contextlib.contextmanager\ndef rig(say):\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n        time.sleep(30)\n        yield\n"
        "    finally:\n        print('away')\nchaos.rig = rig\n"
        "processes.program(lambda: chaos.main(['--only', 'none']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "away\n", "interrupted\n")
