"""The autoscaling policy over a simulated day, and at loads that do not change."""

from pathlib import Path

import numpy as np
import pytest

from loadtest.simulated_day import FLOOD, REPLICA, Outcome, autoscaled, day, main, plot, settings

HOUR = 3600


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return autoscaled(day(10_000.0), settings(12))


def test_a_day_moves_the_replicas_a_few_times_and_not_for_ever(outcome: Outcome) -> None:
    assert 3 <= len(outcome.changes) <= 12
    assert outcome.seconds[4 * HOUR].serving < outcome.seconds[20 * HOUR].serving


def test_names_are_refused_only_while_a_flood_has_not_found_its_replicas(outcome: Outcome) -> None:
    start, seconds, _ = FLOOD
    outside = [s.refused for i, s in enumerate(outcome.seconds) if not start <= i < start + seconds]
    late = [s.refused for s in outcome.seconds[start + 120 : start + seconds]]
    assert sum(outside) == 0 and sum(late) == 0 and 0 < outcome.refused < 0.01


def test_after_the_flood_its_replicas_go(outcome: Outcome) -> None:
    start, seconds, _ = FLOOD
    during, after = outcome.seconds[start + seconds - 1], outcome.seconds[start + seconds + HOUR]
    assert during.serving > 2 * after.serving


@pytest.mark.parametrize("share", [0.3, 0.65, 0.9, 1.1, 1.4, 1.75, 2.5, 4.2])
def test_a_constant_load_settles_and_stays(share: float) -> None:
    found = autoscaled(np.full(HOUR, share * REPLICA), settings(12))
    late = found.seconds[600:]
    assert len({second.wanted for second in late}) == 1 and sum(second.refused for second in late) == 0
    assert late[-1].serving <= max(1, np.ceil(share / 0.6) + 1)  # and at no more than it needs


def test_the_plot_is_drawn(outcome: Outcome, tmp_path: Path) -> None:
    plot(outcome, tmp_path / "day.svg")
    assert (tmp_path / "day.svg").stat().st_size > 10_000


@pytest.mark.parametrize("arguments", [["--max", "0"], ["--mean", "-1"], ["--plot", "/no/such/folder/day.svg"]])
def test_what_cannot_be_simulated_is_refused_by_name(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err
