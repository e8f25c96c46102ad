"""The look-up page: what it says of one name is of that name, and of many names nothing that is one's."""

from typing import Any

import pytest

from dashboard.client import Client
from dashboard.components import Box
from dashboard.pages.lookup import Lookup
from tests.dashboard_stage import Stage
from tests.stores import observation, records

pytestmark = pytest.mark.anyio


def shown(item: Any) -> list[Any]:
    """All components of a view."""
    return [item, *(part for child in item.objects for part in shown(child))] if isinstance(item, Box) else [item]


async def test_a_wildcard_shows_no_verdict_no_entries_and_no_registration_as_if_of_one_name(stage: Stage) -> None:
    page = await stage.open(Lookup, q="*.example.net", range="1h")
    headings = {getattr(part, "heading", "") for part in shown(page.view())}
    assert not headings & {"Verdict", "List entries", "Registration"} and "Queries" in headings
    labels = [getattr(part, "label", "") for part in shown(page.view())]
    assert not [label for label in labels if label.startswith("Ask the registry")]
    assert page.history.log.rows and not page.why.facts
    assert {part.status["kind"] for part in page.parts()} == {"ready"}


async def test_a_record_of_a_name_below_is_not_told_as_the_names_own(stage: Stage) -> None:
    stage.client = Client("", lambda: "")  # the cluster is away
    below = observation("www.nobodys-zone.org", stage.now - 1000, tier="block", score=0.98)
    stage.store.append(records([below]))
    page = await stage.open(Lookup, q="nobodys-zone.org", below="1", range="1h")
    assert page.history.log.rows[0]["qname"] == "www.nobodys-zone.org" and page.why.facts == []
    own = observation("nobodys-zone.org", stage.now - 2000, tier="alert", score=0.6)
    stage.store.append(records([own], number=2))
    page = await stage.open(Lookup, q="nobodys-zone.org", below="1", range="15m")
    assert page.history.log.rows[0]["qname"] == "www.nobodys-zone.org" and page.why.facts[0]["value"] == "alert"


async def test_a_prefix_that_is_none_is_told_and_leads_nowhere(stage: Stage) -> None:
    page = await stage.open(Lookup, q="10.0.0.0/33")
    assert (page.name, stage.went) == ("", [])
    assert page.problem == "client '10.0.0.0/33': expected an address, or a prefix such as 192.0.2.0/24"
