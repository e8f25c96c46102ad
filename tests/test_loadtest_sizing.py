"""loadtest/sizing.py: from clients to replicas."""

import pytest
from click.testing import CliRunner

from loadtest.sizing import BEGIN, END, PAGE, Costs, Load, costs, load_of, need, page_table
from serve_app.cli import main

COST = Costs(query=50e-6, path=50e-6, network=50e-6)


def test_a_load_grows_with_its_clients_and_with_what_caches_do_not_have() -> None:
    one, ten = load_of(1000), load_of(10_000)
    assert ten.queries == pytest.approx(10 * one.queries) and ten.peak > ten.queries
    assert load_of(1000, new=1.0).names == pytest.approx(one.peak)
    assert load_of(queries_a_second=5.0).queries == 5.0


def test_cores_are_those_of_the_peak_with_reserve_and_one_more() -> None:
    found = need(Load(queries=6000, peak=12_000, names=60_000), COST)
    assert (found.resolver_cores, found.cores, found.gpus) == (1, 11, 0)


def test_gpus_take_the_networks_work_from_the_cores() -> None:
    found = need(Load(queries=6000, peak=12_000, names=60_000), COST, gpu_names=50_000)
    assert (found.cores, found.gpus) == (6, 3)


def test_the_smallest_network_has_a_core_for_each_that_may_fail() -> None:
    assert need(load_of(1), COST).cores == 2


def test_the_pages_table_is_what_the_reports_give() -> None:
    text = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert text.strip() == page_table(costs()).strip(), "python -m loadtest.sizing --write"


def test_the_command_answers_and_names_a_bad_figure() -> None:
    said = CliRunner().invoke(main, ["bench", "size", "--clients", "1000000"])
    assert said.exit_code == 0 and "34,700" in said.output
    wrong = CliRunner().invoke(main, ["bench", "size", "--new", "1.5"])
    assert wrong.exit_code == 2 and "share from 0 to 1" in wrong.output
