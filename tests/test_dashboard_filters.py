"""dashboard/filters.py: what an address says is what the store is asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.filters import FIELDS, RANGES, Filters, before, interval_of
from dashboard.widgets import score
from verdicts.store import Filter

NOW = 1_700_000_000_123


def restored(**query: str) -> Filters:
    filters = Filters()
    filters.restore(query)
    return filters


def test_an_address_says_only_what_differs_from_the_default() -> None:
    assert Filters().query() == ""
    assert Filters(range="24h", tier=["block", "alert"]).query() == "range=24h&tier=block%2Calert"


@settings(deadline=None)
@given(st.text(max_size=40).map(str.strip), st.lists(st.sampled_from(["block", "alert", "none"]), unique=True))
def test_a_query_restores_the_filters_that_made_it(name: str, tiers: list[str]) -> None:
    from urllib.parse import parse_qsl

    made = Filters(qname=name, tier=tiers, min_score=0.25, enforced="yes")
    again = restored(**dict(parse_qsl(made.query(), keep_blank_values=True)))
    assert {key: getattr(again, key) for key in FIELDS} == {key: getattr(made, key) for key in FIELDS}


@pytest.mark.parametrize(
    "query",
    [
        {"range": "1000y"},
        {"min_score": "high"},
        {"min_score": "7"},
        {"min_score": "nan"},
        {"start": "x"},
        {"start": "-1"},
        {"end": "1" + "0" * 30},
        {"enforced": "perhaps"},
    ],
)
def test_what_does_not_fit_is_left_at_its_default(query: dict[str, str]) -> None:
    assert restored(**query).where(NOW) == Filters().where(NOW)


def test_a_relative_range_ends_after_now_and_is_equal_within_a_second() -> None:
    filters = Filters(range="1h")
    start, end = filters.span(NOW)
    assert end - start == RANGES["1h"] and NOW < end <= NOW + 1000
    assert filters.span(NOW + 500) == (start, end)


@pytest.mark.parametrize("length", ["24h", "7d", "30d"])
def test_a_long_range_begins_with_a_whole_quarter_of_an_hour(length: str) -> None:
    start, end = Filters(range=length).span(NOW)
    assert start % 900_000 == 0 and 0 <= end - start - RANGES[length] < 900_000
    later = Filters(range=length).span(NOW + 900_000)
    assert later[0] == start + 900_000


def test_a_custom_range_is_taken_as_it_is_and_never_empty() -> None:
    assert Filters(range="custom", start=5, end=9).span(NOW) == (5, 9)
    assert Filters(range="custom", start=5, end=5).span(NOW) == (5, 6)


@pytest.mark.parametrize("length", RANGES.values())
def test_a_chart_has_no_more_bars_than_can_be_told_apart(length: int) -> None:
    assert 10 <= length / interval_of(0, length) <= 90


def test_the_period_before_is_as_long_and_ends_where_this_begins() -> None:
    assert before(Filter(start=100, end=160)) == (40, 100)


def test_an_address_names_the_range_that_is_not_the_usual_one_of_its_page() -> None:
    filters = Filters("7d")
    assert filters.query() == ""
    filters.range = "1h"  # usual elsewhere
    assert filters.query() == "range=1h"
    again = Filters("7d")
    again.restore({"range": "1h"})
    assert again.range == "1h"
    again.restore({})
    assert again.range == "7d"


@pytest.mark.parametrize("typed", ["abc", "1.5", "-1", "nan", "0.5.5"])
def test_a_score_that_is_none_is_told_and_the_field_shows_what_filters(typed: str) -> None:
    filters = restored(min_score="0.9")
    told: list[tuple[str, str]] = []
    field = score(filters, "min_score", "Score from", lambda text, kind: told.append((text, kind)))
    field.value = typed
    assert (filters.min_score, field.value) == (0.9, "0.9")
    assert told == [(f"Score from: {typed!r}, expected a number from 0 to 1", "error")]
    field.value = "0,5"
    assert filters.min_score == 0.5
    field.value = ""
    assert filters.min_score is None and len(told) == 1
