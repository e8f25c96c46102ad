"""The document of benchmarks: parts run with a limit, reports kept, nothing shown that was not measured."""

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest import bench
from loadtest.bench import PARTS, Part, chosen, document, measure
from loadtest.plots import draw, panels
from loadtest.stats import Report, Result

ROOT = Path(__file__).parent.parent
REPORT = Report(
    "Names",
    "python -m x",
    [Result("a", "q/s", [1.0, 2.0]), Result("b", "q/s", [3.0, 4.0], "a", [1.0, 2.0])],
    {"cores": "2"},
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for reports, and a module path for parts of the test's own."""
    monkeypatch.setattr(bench, "REPORTS", tmp_path)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    return tmp_path


def part(place: Path, program: str, limit: float = 20.0) -> Part:
    (place / "probe_bench.py").write_text(program)
    return Part("probe", "probe_bench", "Does it work?", limit)


WRITES = "import shutil, sys\nshutil.copy('made.json', sys.argv[sys.argv.index('--out') + 1])"
HANGS = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\nwhile 1: 0"


def test_a_part_that_reports_is_kept(place: Path) -> None:
    REPORT.save(place / "made.json")
    assert measure(part(place, WRITES), quick=False) == ""
    assert Report.load(place / "probe.json") == REPORT and not (place / "probe.json.new").exists()


def test_a_quick_run_keeps_nothing(place: Path) -> None:
    REPORT.save(place / "made.json")
    assert measure(part(place, WRITES), quick=True) == "" and not (place / "probe.json").exists()


@pytest.mark.parametrize(("program", "reason"), [("raise SystemExit(3)", "ended with 3"), ("", "wrote no report")])
def test_a_part_that_fails_is_named_and_keeps_its_former_report(place: Path, program: str, reason: str) -> None:
    REPORT.save(place / "probe.json")
    assert reason in measure(part(place, program), quick=False)
    assert Report.load(place / "probe.json") == REPORT


@pytest.mark.parametrize("module", sorted({part.module for part in PARTS} | {"loadtest.compare", "loadtest.soak"}))
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = importlib.import_module(f"{module}.__main__" if module.endswith(".peers") else module)
    monkeypatch.setattr(sys, "argv", [module, "--out", str(tmp_path / "none" / "report.json"), "--unknown"])
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert "none/report.json: expected a file in a folder that can be written to" in capsys.readouterr().err


def test_a_part_that_hangs_is_ended_with_what_it_started(place: Path) -> None:
    assert measure(part(place, HANGS, limit=1.0), quick=False) == "not done after 1 s"


def test_a_part_that_missed_a_goal_is_reported_all_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    REPORT.save(place / "made.json")
    assert measure(part(place, WRITES + "\nraise SystemExit(1)"), quick=False) == ""
    assert Report.load(place / "probe.json") == REPORT and "a goal was missed" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_part_that_runs(place: Path, number: str) -> None:
    """It has a session of its own, which the terminal's signal does not reach."""
    (place / "probe_bench.py").write_text(
        f"import os, signal, time\nopen('pid', 'w').write(str(os.getpid()))\nos.kill(os.getppid(), signal.{number})\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass"
    )
    program = (
        f"from pathlib import Path; from loadtest import bench; bench.REPORTS = bench.ROOT = Path({str(place)!r}); "
        "bench.PARTS = (bench.Part('probe', 'probe_bench', 'Does it work?'),); raise SystemExit(bench.main([]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 130 and "interrupted in probe" in done.stderr and "Traceback" not in done.stderr
    pid = int((place / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


def test_every_load_tool_ends_at_a_signal_without_a_trace() -> None:
    """Most had one. `recorded` and `clusters`, which serve until they are told to end, catch it themselves."""
    ends = {}
    for path in sorted((ROOT / "loadtest").rglob("*.py")):
        _, is_program, what = path.read_text().partition('if __name__ == "__main__":\n')
        if is_program and "peers/litserve" not in str(path):  # a peer's own server
            ends[path.name] = what.strip()
    assert len(ends) > 20 and set(ends.values()) == {"program(main)"}, ends


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_benchmark_that_is_told_to_end_puts_its_things_away_and_says_one_line(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "loadtest.store_bench", "--quick"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    ) as bench:
        end = time.monotonic() + 60.0
        while not list(tmp_path.rglob("quick.db")) and time.monotonic() < end:
            time.sleep(0.05)
        bench.send_signal(number)
        said = bench.communicate(timeout=60)[1]
    assert (bench.returncode, said) == (130, "interrupted\n") and not list(tmp_path.iterdir())


def test_a_part_that_is_ended_puts_its_things_away(tmp_path: Path) -> None:
    program = "import time\ntry:\n    print('there', flush=True)\n    time.sleep(60)\nfinally:\n    open('away', 'w')"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        bench.end(process)
    assert (tmp_path / "away").exists()


def test_the_document_shows_each_report_under_its_command(place: Path) -> None:
    REPORT.save(place / "plugin.json")
    text = document({"store": "ended with 1"})
    assert "## Names\n\n    python -m x\n" in text and "![Names](benchmarks/plugin.svg)" in text
    assert "The last run failed: ended with 1." in text and "cores 2" in text
    assert (place / "plugin.svg").read_text().startswith("<?xml")


def test_the_same_figures_draw_the_same_plot(tmp_path: Path) -> None:
    assert draw(REPORT, tmp_path / "a.svg") and draw(REPORT, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_single_bar_is_no_chart(tmp_path: Path) -> None:
    alone = Report("T", "c", [Result("a", "q/s", [1.0])], {})
    assert panels(alone) == {} and not draw(alone, tmp_path / "x.svg")


def test_parts_are_chosen_by_name() -> None:
    assert [p.name for p in chosen("store,plugin")] == ["store", "plugin"] and chosen("") == list(PARTS)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="--only speed: expected some of clone, start"):
        chosen("speed")


@pytest.mark.parametrize("module", [p.module for p in PARTS])
def test_every_part_exists(module: str) -> None:
    assert importlib.util.find_spec(module) is not None
