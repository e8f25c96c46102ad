"""loadtest/sizing.py: from clients to replicas."""

import math
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.sizing import BEGIN, END, NEEDED, PAGE, REPORTS, Costs, Load, costs, load_of, need, page_table
from loadtest.stats import Report
from serve_app.cli import main

# 50 us a name in frames of any size
COST = Costs(query=50e-6, frames={1: 50e-6, 256: 256 * 50e-6}, network=50e-6, record=100)


def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_a_load_grows_with_its_clients_and_with_what_caches_do_not_have() -> None:
    one, ten = load_of(1000), load_of(10_000)
    assert ten.queries == pytest.approx(10 * one.queries) and ten.peak > ten.queries
    assert load_of(1000, new=1.0).names == pytest.approx(one.peak)
    assert load_of(queries_a_second=5.0).queries == 5.0


def test_cores_are_those_of_the_peak_with_reserve_and_one_more() -> None:
    found = need(Load(queries=6000, peak=12_000, names=60_000), COST)
    assert (found.resolver_cores, found.cores, found.gpus) == (1, 11, 0)


def test_a_frame_costs_more_than_its_names_where_few_come_at_a_time() -> None:
    """Frames of 256 were counted, which a resolver gathers in its 5 ms only of 51,200 names a second."""
    load = Load(queries=20_000, peak=40_000, names=4000)
    cost = Costs(query=50e-6, frames={1: 2e-3, 64: 4e-3, 256: 10e-3}, network=0.0, record=100)
    one, many = need(load, cost, resolvers=1), need(load, cost, resolvers=20)
    assert (one.frame, many.frame) == (20, 1) and (one.cores, many.cores) == (2, 15)
    assert cost.path(160) == pytest.approx(7e-3 / 160) and cost.path(1000) == cost.path(256)


def test_the_cores_are_those_of_the_machine_that_was_measured(tmp_path: Path) -> None:
    """Where somebody measured on sixteen cores two were counted: an eighth of what it takes."""
    paths = []
    for cores in (2, 4, 16):
        for name in NEEDED:
            report = Report.load(REPORTS / f"{name}.json")
            replace(report, machine={**report.machine, "cores": str(cores)}).save(tmp_path / f"{name}.json")
        paths.append(costs(tmp_path).path(64))
    two, four, sixteen = paths
    assert sixteen >= 8 * two  # of the whole; the network's share, which is not the path's, stays
    assert sixteen - two == pytest.approx(7 * (four - two))


def test_a_query_costs_what_it_does_where_as_many_names_are_new() -> None:
    plugin = Report.load(REPORTS / "plugin.json")
    known = next(r for r in plugin.results if (r.name, r.unit) == ("warm, with verdict", "CPU us/query"))
    assert costs().query > statistics.median(known.values) / 1e6


def test_a_query_for_a_new_name_costs_the_resolver_more() -> None:
    """However many names were new, resolvers had the cores of 5 %."""
    plugin = Report.load(REPORTS / "plugin.json")
    new = next(r for r in plugin.results if (r.name, r.unit) == ("new names, with verdict", "CPU us/query"))
    usual, all_new = (need(load_of(10_000_000, new=share), costs()) for share in (0.05, 0.95))
    assert usual.resolver_cores == math.ceil(usual.load.peak * costs().query / 0.6)
    assert all_new.resolver_cores == math.ceil(all_new.load.peak * statistics.median(new.values) / 1e6 / 0.6)


def test_a_record_is_as_large_as_the_last_report_of_the_log_says() -> None:
    """142 octets were counted when the mapping had long made 82 of them."""
    log = Report.load(REPORTS / "log.json")
    (measured,) = next(r.values for r in log.results if (r.name, r.unit) == ("the log's mapping", "octets/row"))
    assert need(load_of(queries_a_second=1.0), costs()).octets_a_day == pytest.approx(86_400 * measured)


def test_gpus_take_the_networks_work_from_the_cores() -> None:
    found = need(Load(queries=6000, peak=12_000, names=60_000), COST, gpu_names=50_000)
    assert (found.cores, found.gpus) == (6, 3)


def test_the_smallest_network_has_a_core_for_each_that_may_fail() -> None:
    assert need(load_of(1), COST).cores == 2


def test_the_pages_table_is_what_the_reports_give() -> None:
    written = text().partition(BEGIN)[2].partition(END)[0]
    assert written.strip() == page_table(costs()).strip(), "python -m loadtest.sizing --write"


def test_what_the_page_says_of_small_resolvers_is_what_is_calculated() -> None:
    """It said 17 cores, of reports long gone."""
    [(resolvers, cores)] = re.findall(r"`--resolvers (\d+)`\) asks frames of one name, which take (\d+) cores", text())
    assert need(load_of(1_000_000), costs(), resolvers=int(resolvers)).cores == int(cores)


def test_the_command_answers_and_names_a_bad_figure() -> None:
    said = CliRunner().invoke(main, ["bench", "size", "--clients", "1000000"])
    assert said.exit_code == 0 and "34,700" in said.output
    both = CliRunner().invoke(main, ["bench", "size", "--clients", "7", "--queries-per-second", "7"])
    assert both.exit_code == 2  # the clients were passed over without a word
    assert "(default: 10000)" in CliRunner().invoke(main, ["bench", "size", "--help"]).output
    wrong = CliRunner().invoke(main, ["bench", "size", "--new", "1.5"])
    assert wrong.exit_code == 2 and "share from 0 to 1" in wrong.output
