"""serve_app/local/processes.py: children that end with us, and what a killed run left is found and ended."""

import errno
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve_app.local import cluster
from serve_app.local.processes import LAST_LINES, LOGS_KEPT, Child, end_marked, how_it_ended, marked, set_aside
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True)
print("up", child.pid, flush=True)
child.wait()
"""


_started: list[Child] = []


@pytest.fixture
def mark() -> Iterator[str]:
    text = uuid.uuid4().hex
    yield text
    while _started:
        _started.pop().kill()
    end_marked(text, patience_s=0.0)


def child(mark: str, folder: Path, code: str, patience_s: float = 10.0) -> Child:
    found = Child("a part", [sys.executable, "-c", code], folder / "part.log", mark, patience_s)
    found.start()
    _started.append(found)
    # Anywhere: one that writes on may have written more than the last lines.
    until(lambda: any(line.startswith("up") for line in found.log.read_text().splitlines()))
    return found


def test_a_child_is_told_to_end_and_does(mark: str, tmp_path: Path) -> None:
    part = child(mark, tmp_path, SLEEPER)
    part.terminate()
    assert part.wait() and part.ended() == -signal.SIGTERM


def test_a_child_that_will_not_end_is_killed_after_its_patience(mark: str, tmp_path: Path) -> None:
    part = child(mark, tmp_path, STUBBORN, patience_s=0.2)
    part.terminate()
    assert not part.wait() and part.ended() == -signal.SIGKILL


def test_the_last_lines_are_those_since_the_last_start(mark: str, tmp_path: Path) -> None:
    (tmp_path / "part.log").write_text("of the run before\n")
    assert child(mark, tmp_path, SLEEPER).last_lines() == "up"


def test_a_log_that_somebody_emptied_or_removed_has_the_lines_since(mark: str, tmp_path: Path) -> None:
    (tmp_path / "part.log").write_text("of the run before\n")
    part = child(mark, tmp_path, SLEEPER)
    part.log.write_text("new\n")
    assert part.last_lines() == "new"
    part.log.unlink()
    assert part.last_lines() == ""


WRITER = """
import sys, time
print('up', flush=True)
for number in range(100_000):
    print('line', number, 'of many, each as long as those of a log are by and large', flush=True)
    time.sleep(0.0001)
"""


def test_a_log_is_bounded_while_its_process_goes_on_writing(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.local.processes.LOG_OCTETS", 100_000)
    part = child(mark, tmp_path, WRITER)
    rounds = 0
    for _ in range(LOGS_KEPT + 2):
        until(lambda: part.log.stat().st_size > 100_000)
        part.bound_log()
        rounds += part.log.stat().st_size < 100_000
    until(lambda: part.last_lines().count("line") == LAST_LINES)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["part.log", *(f"part.log.{number}" for number in range(1, LOGS_KEPT + 1))]
    assert rounds == LOGS_KEPT + 2 and b"\0" not in part.log.read_bytes()  # it writes at the end, not where it was
    first = (tmp_path / "part.log.1").read_text().splitlines()[-1].split()
    assert first[0] == "line" and int(first[1]) > 1000


def test_a_long_log_of_the_run_before_is_kept_beside_the_new_one(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.local.processes.LOG_OCTETS", 10)
    (tmp_path / "part.log").write_text("of the run before\n")
    child(mark, tmp_path, SLEEPER)
    assert (tmp_path / "part.log").read_text() == "up\n"
    assert (tmp_path / "part.log.1").read_text() == "of the run before\n"


def test_a_long_log_is_emptied_where_the_disk_takes_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("serve_app.local.processes.LOG_OCTETS", 10)
    monkeypatch.setattr("shutil.copyfile", full)
    log = tmp_path / "part.log"
    log.write_text("of the run before\n")
    Child("a part", [], log, "mark", 1.0).bound_log()
    assert log.read_text() == ""


def test_what_serve_logged_is_kept_of_as_many_starts_as_the_other_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = cluster.Plan(
        str(tmp_path), "run", "sqlite:///store", "models", "spool", str(tmp_path / "serve"), 1, 2, os.devnull
    )

    starts = iter(range(LOGS_KEPT + 3))

    def log(found: dict[str, Any], *_: object) -> None:
        logs = Path(found["logging_config"]["logs_dir"])
        logs.mkdir()
        (logs / f"replica_of_start_{next(starts)}.log").touch()

    monkeypatch.setattr("serve_app.cluster.start", lambda *_, **__: None)
    monkeypatch.setattr("serve_app.cluster.deploy", log)
    for _ in range(LOGS_KEPT + 3):
        cluster._start(plan)
    found = {path.name: [log.name for log in path.iterdir()] for path in tmp_path.iterdir()}
    folders = ["serve", *(f"serve.{number}" for number in range(1, LOGS_KEPT + 1))]
    assert found == {name: [f"replica_of_start_{LOGS_KEPT + 2 - age}.log"] for age, name in enumerate(folders)}


def test_a_start_that_logged_nothing_displaces_none(tmp_path: Path) -> None:
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve.1").mkdir()
    set_aside(tmp_path / "serve")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["serve", "serve.1"]


def test_a_grandchild_in_another_session_is_found_and_ended(mark: str, tmp_path: Path) -> None:
    part = child(mark, tmp_path, PARENT)
    part.kill()
    assert len(marked(mark)) == 1
    assert end_marked(mark) == 1 and marked(mark) == []


def test_a_stopped_process_is_ended_too(mark: str, tmp_path: Path) -> None:
    part = child(mark, tmp_path, SLEEPER)
    os.kill(part.pid, signal.SIGSTOP)
    end_marked(mark, patience_s=0.2)
    assert marked(mark) == []


def test_the_mark_of_a_part_is_below_that_of_its_home(mark: str, tmp_path: Path) -> None:
    part = child(mark, tmp_path, SLEEPER)
    assert marked(mark) == marked(part.mark) == [part.pid]


def test_the_mark_of_another_home_is_left_alone(mark: str, tmp_path: Path) -> None:
    part = child(mark, tmp_path, SLEEPER)
    end_marked(mark[:-1], patience_s=0.0)
    assert part.ended() is None


def test_a_child_ends_when_its_parent_is_killed(mark: str, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from serve_app.local.processes import Child
part = Child("a part", [sys.executable, "-c", {SLEEPER!r}], Path({str(tmp_path / "part.log")!r}), {mark!r}, 1.0)
part.start()
print(part.pid, flush=True)
import time; time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline().strip().isdigit()
    until(lambda: (tmp_path / "part.log").read_text().startswith("up"))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: marked(mark) == [])


@pytest.mark.parametrize(
    ("status", "words"), [(3, "ended with status 3"), (-9, "was ended by SIGKILL"), (-99, "was ended by signal 99")]
)
def test_an_exit_status_in_words(status: int, words: str) -> None:
    assert how_it_ended(status) == words
