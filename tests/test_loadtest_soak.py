"""loadtest/soak.py: a leak is told from noise."""

import os
import random
import sys
from subprocess import PIPE, Popen

import pytest

from loadtest import overload_bench
from loadtest.frames import Outcome
from loadtest.processes import resident_below, resident_bytes
from loadtest.soak import BLOCK, LEAST_S, SAMPLE_S, WARM, Sample, growing, main, slope


def samples(leak: float, count: int = 120, noise: float = 2e6) -> list[Sample]:
    """Memory that grows by `leak` bytes a frame and wanders a little."""
    rng, wander, made = random.Random(1), 0.0, []
    for number in range(count):
        wander = 0.7 * wander + rng.gauss(0, noise)
        made.append(Sample(500.0 * number, 3e9 + leak * 500 * number + wander))
    return made


def test_memory_that_only_wanders_has_zero_in_its_interval() -> None:
    found = slope(samples(0.0))
    assert found.low < 0 < found.high


def test_a_leak_is_found_with_its_size() -> None:
    found = slope(samples(1000.0))
    assert 0 < found.low < found.middle < found.high and found.middle == pytest.approx(1000, rel=0.2)


def test_too_few_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 12"):
        slope(samples(0.0, count=11))


def test_the_process_that_grows_is_named() -> None:
    made = [
        Sample(s.frames, 0, {"1 leaks": int(s.resident), "2 stays": 5, f"3 came {s.frames}": 9}) for s in samples(1e3)
    ]
    found = growing(made)
    assert list(found) == ["1 leaks", "2 stays"] and found["1 leaks"].low > 0 == found["2 stays"].middle


def test_memory_is_told_by_process_and_without_the_one_that_asks() -> None:
    """The load driver is no part of the cluster below it."""
    with Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=PIPE, stdout=PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        found = resident_below(os.getpid())
        [its] = [size for name, size in found.items() if name.startswith(f"{child.pid} python")]
        assert its == pytest.approx(resident_bytes(child.pid), rel=0.1)
        assert not any(name.startswith(f"{os.getpid()} ") for name in found)
        child.communicate(b"\n")


def test_the_callers_own_memory_is_no_growth_of_the_cluster() -> None:
    kept: list[bytes] = []

    def load() -> Outcome:
        kept.append(bytes(range(256)) * (1 << 18))  # 64 MiB
        return Outcome(1.0, 0)

    assert abs(overload_bench.seen(load).growth) < 32


@pytest.mark.parametrize(
    "arguments", [["--seconds", "80"], ["--out", "/no/such/folder/soak.json"]], ids=["too short", "nowhere to write"]
)
def test_a_run_in_vain_is_refused_before_it_begins(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_the_shortest_run_has_samples_enough() -> None:
    count = int(LEAST_S / SAMPLE_S)
    assert count - int(count * WARM) >= 2 * BLOCK
