"""serve_app/local/supervisor.py: what crashes starts again, what will not stay up stops everything, nothing is left."""

import io
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from serve_app.local.processes import Child, end_marked, marked
from serve_app.local.supervisor import NotStarted, Supervisor
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
CRASHER = "print('out of luck', flush=True); raise SystemExit(3)"


@pytest.fixture
def mark() -> Iterator[str]:
    text = uuid.uuid4().hex
    yield text
    end_marked(text, patience_s=0.0)


def part(mark: str, folder: Path, code: str, name: str = "a part") -> Child:
    return Child(name, [sys.executable, "-c", code], folder / f"{name}.log", mark, 5.0)


def test_whatever_ends_the_block_leaves_no_child(mark: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Supervisor(mark) as supervisor:
        supervisor.add(part(mark, tmp_path, SLEEPER))
        raise ZeroDivisionError
    assert marked(mark) == []


def test_a_child_that_ends_while_another_is_waited_for_is_told_with_its_last_lines(mark: str, tmp_path: Path) -> None:
    with Supervisor(mark) as supervisor:
        supervisor.add(part(mark, tmp_path, CRASHER))
        with pytest.raises(NotStarted, match="a part ended with status 3(.|\n)*out of luck"):
            supervisor.wait_for(lambda: False, "what never comes", None)


def test_what_is_watched_ends_the_waiting_for_another(mark: str) -> None:
    def failed() -> None:
        raise OSError("the build failed")

    with Supervisor(mark) as supervisor:
        supervisor.watch(failed)
        with pytest.raises(OSError, match="the build failed"):
            supervisor.wait_for(lambda: False, "what never comes", None)


def test_what_never_comes_is_not_waited_for_without_end(mark: str, tmp_path: Path) -> None:
    with Supervisor(mark) as supervisor:
        child = part(mark, tmp_path, SLEEPER)
        supervisor.add(child)
        until(child.last_lines)
        with pytest.raises(NotStarted, match="waited 0 s for rain(.|\n)*up"):
            supervisor.wait_for(lambda: False, "rain", child, patience_s=0.1)


def test_a_child_that_crashes_again_and_again_stops_everything(mark: str, tmp_path: Path) -> None:
    said = io.StringIO()
    with Supervisor(mark) as supervisor:
        supervisor.add(part(mark, tmp_path, SLEEPER, "the other"))
        supervisor.add(part(mark, tmp_path, CRASHER))
        with pytest.raises(NotStarted, match="a part: ended 4 times"):
            supervisor.supervise(Console(file=said))
    assert said.getvalue().count("Starting a part again.") == 3 and "out of luck" in said.getvalue()
    assert marked(mark) == []


def test_a_child_starts_again_where_nothing_more_can_be_told_of_it(mark: str, tmp_path: Path) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    child = part(mark, tmp_path, CRASHER)
    with Supervisor(mark) as supervisor:
        supervisor.add(child)
        with pytest.raises(NotStarted, match="a part: ended 4 times"):
            supervisor.supervise(Console(file=Full()))
    assert child.log.read_text().count("out of luck") == 4


def test_a_log_is_bounded_while_everything_runs(mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.local.processes.LOG_OCTETS", 1000)
    noisy = "import time\nfor n in range(600):\n    print('a line of many' * 10, flush=True)\n    time.sleep(0.01)"
    with pytest.raises(NotStarted, match="ended 4 times"), Supervisor(mark) as supervisor:
        supervisor.add(part(mark, tmp_path, noisy, "the noisy one"))
        supervisor.add(part(mark, tmp_path, CRASHER))
        supervisor.supervise(Console(file=io.StringIO()))
    assert list(tmp_path.glob("*.log.1"))


def test_a_log_is_bounded_while_another_part_is_waited_for(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.local.processes.LOG_OCTETS", 1000)
    noisy = "import time\nwhile True:\n    print('a line of many' * 10, flush=True)\n    time.sleep(0.01)"
    with Supervisor(mark) as supervisor:
        supervisor.add(part(mark, tmp_path, noisy))
        supervisor.wait_for((tmp_path / "a part.log.1").exists, "a log that begins anew", None, patience_s=30)


def test_the_last_lines_of_one_that_ended_are_told_however_long_its_log(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.local.processes.LOG_OCTETS", 1000)
    said = io.StringIO()
    with pytest.raises(NotStarted, match="ended 4 times"), Supervisor(mark) as supervisor:
        supervisor.add(part(mark, tmp_path, "print('a line of many\\n' * 100 + 'out of luck'); raise SystemExit(3)"))
        supervisor.supervise(Console(file=said))
    assert "out of luck" in said.getvalue()


RUN = """
import sys
from pathlib import Path
from rich.console import Console
from serve_app.local.processes import Child
from serve_app.local.supervisor import StopRequested, Supervisor
mark, folder = sys.argv[1], Path(sys.argv[2])
stubborn = "import signal, sys, time, pathlib\\n" \\
    "signal.signal(15, lambda *a: pathlib.Path(sys.argv[1]).touch())\\n" \\
    "print('up', flush=True); time.sleep(600)"
polite = "import signal, sys, time, pathlib\\n" \\
    "signal.signal(15, lambda *a: (pathlib.Path(sys.argv[1]).open('a').write(sys.argv[2]), sys.exit(0)))\\n" \\
    "print('up', flush=True); time.sleep(600)"
try:
    with Supervisor(mark) as supervisor:
        for name in ("the cluster", "CoreDNS"):
            code = stubborn if "stubborn" in sys.argv else polite
            argv = [sys.executable, "-c", code, str(folder / "order"), name + " "]
            supervisor.add(Child(name, argv, folder / (name + ".log"), mark, 60.0))
            supervisor.wait_for(lambda: (folder / (name + ".log")).read_text().startswith("up"), name, None)
        print("runs", flush=True)
        supervisor.supervise(Console())
except StopRequested as number:
    print("stopped", number, flush=True)
"""


def run(
    mark: str, folder: Path, *words: str, hangup: signal.Handlers = signal.SIG_DFL, errors: int | None = None
) -> "subprocess.Popen[str]":
    """A supervisor of two processes; `hangup` is what it inherits for SIGHUP, however these tests were started."""
    former = signal.signal(signal.SIGHUP, hangup)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RUN), mark, str(folder), *words],
            stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, former)
    assert process.stdout is not None and process.stdout.readline() == "runs\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_coredns_first(mark: str, tmp_path: Path, number: signal.Signals) -> None:
    with run(mark, tmp_path) as process:
        process.send_signal(number)
        assert process.communicate()[0] == f"stopped {number.name}\n"
    assert (tmp_path / "order").read_text() == "CoreDNS the cluster " and marked(mark) == []


def test_where_the_terminal_is_closed_everything_stops_in_order_too(mark: str, tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    with run(mark, tmp_path, errors=end) as process:
        os.close(end)
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        assert process.communicate()[0] == "stopped SIGHUP\n"
    assert (tmp_path / "order").read_text() == "CoreDNS the cluster " and marked(mark) == []


def test_a_second_signal_does_not_wait(mark: str, tmp_path: Path) -> None:
    with run(mark, tmp_path, "stubborn") as process:
        process.send_signal(signal.SIGINT)
        until((tmp_path / "order").exists)  # the first is heard: signals sent in one breath can count as one
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    until(lambda: marked(mark) == [])


def test_a_killed_supervisor_takes_its_children_along(mark: str, tmp_path: Path) -> None:
    with run(mark, tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    until(lambda: marked(mark) == [])
    assert sorted((tmp_path / "order").read_text().split(" ")) == sorted("CoreDNS the cluster ".split(" "))


def test_one_that_was_told_to_outlive_its_terminal_does(mark: str, tmp_path: Path) -> None:
    with run(mark, tmp_path, hangup=signal.SIG_IGN) as process:  # as nohup does
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.communicate()[0] == "stopped SIGTERM\n"
