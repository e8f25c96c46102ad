"""Addresses that no link of ours made."""

import pytest

from dashboard.page import Page
from dashboard.pages import PAGES
from dashboard.pages.queries import Queries
from tests.dashboard_stage import Stage

pytestmark = pytest.mark.anyio
HIDDEN = {"qname": "a.example.org", "tier": "block", "resolver": "edge-1", "enforced": "yes", "min_score": "0.5"}


@pytest.mark.parametrize("kind", [kind for kind in PAGES.values() if kind is not Queries], ids=lambda kind: kind.path)
async def test_no_filter_that_a_page_does_not_show_counts_anything_out(stage: Stage, kind: type[Page]) -> None:
    """As of an address of the log with another page's path: its figures would be taken for those of all queries."""
    page, plain = kind(stage.context(), HIDDEN), kind(stage.context(), {})
    assert page.filters.where(stage.now) == plain.filters.where(stage.now)


@pytest.mark.parametrize("path", ["/clients", "/names", "/enforcement"])
async def test_a_client_in_an_address_is_shown_and_counts_the_others_out(stage: Stage, path: str) -> None:
    page = PAGES[path](stage.context(), {"client": "192.0.2.31"})
    assert page.filters.where(stage.now).client == "192.0.2.31"
