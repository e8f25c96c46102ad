"""The analyst's jobs in a real browser, on made-up traffic; accessibility by axe-core; hostile names everywhere."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.pages import PAGES
from dashboard.sample import HOSTILE
from tests.dashboard_browser import Visit, chromium, served
from tests.stores import batch_of, observation
from verdicts.records import records_of
from verdicts.store import open_store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
long = pytest.mark.long

WITH_DATA = {"/lookup": "/lookup?q=tracker.example.net", "/incidents": "/incidents?id=192.0.2.31-1"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    with served("dashboard.demo", "--port", "0", pattern=r"http://\S+?(?=/ )") as address:
        yield address


@pytest.fixture
def analyst(browser: Any, demo: str) -> Iterator[Visit]:
    visit = Visit(browser, demo)
    visit.log_in("ada")
    yield visit
    visit.context.close()


@pytest.fixture(scope="module", params=["light", "dark"])
def reader(browser: Any, demo: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    visit = Visit(browser, demo, request.param)
    visit.log_in("root")
    yield visit
    visit.context.close()


@long
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_and_asks_nobody_else(reader: Visit, path: str) -> None:
    reader.wrong.clear()
    reader.go(WITH_DATA.get(path, path))
    assert (reader.axe(), reader.wrong) == ([], [])


@long
def test_no_page_is_wider_than_a_phone(browser: Any, demo: str) -> None:
    visit = Visit(browser, demo, width=390, height=844)
    visit.log_in("ada")
    wide = {}
    for path in PAGES:
        visit.go(WITH_DATA.get(path, path))
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        if width > 390:
            wide[path] = width
    assert wide == {}
    visit.context.close()


@long
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_wherever_it_is_shown(analyst: Visit, name: str) -> None:
    from urllib.parse import urlencode

    analyst.go("/lookup?" + urlencode({"q": name}))
    analyst.go("/names?range=24h")
    made = analyst.page.locator("img[src=x], script:has-text('alert(1)')").count()
    assert (made, analyst.wrong) == (0, [])


@long
def test_a_blocked_name_is_allowed_and_shown_in_force(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/")
    page.keyboard.press("/")
    page.keyboard.type("tracker.example.net")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Allow\u2026").click()
    page.get_by_label("Why (kept in the history)").fill("needed by accounting")
    page.get_by_role("button", name="Decide").click()
    page.get_by_text("In force at 3 of 3 resolvers").wait_for()
    page.get_by_role("row").filter(has_text="needed by accounting").wait_for()


@long
def test_names_are_vetted_and_undone_by_single_keys(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/vetting")
    row = page.locator("tr.selected")
    name = row.locator(".name a").inner_text()
    page.keyboard.press("b")
    first = page.locator("section.component tbody tr").filter(has_text=name)
    first.wait_for(state="detached")
    page.keyboard.press("z")
    first.wait_for()


def test_an_incident_is_acknowledged(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/incidents?id=192.0.2.31-1")
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    page.locator("dd").filter(has_text="acknowledged").wait_for()


@long
def test_a_change_is_undone_from_the_audit(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/lists")
    page.get_by_label("Names, one a line").fill("undo-me.example.org")
    page.get_by_role("button", name="Add").click()
    page.locator("tr").filter(has_text="undo-me.example.org").wait_for()
    analyst.go("/audit?kind=list")
    page.locator("tr").filter(has_text="undo-me.example.org").get_by_role("button").first.click()
    page.locator("tr").filter(has_text="undo-me.example.org").filter(has_text="removed").wait_for()


def test_everything_is_paused_from_the_report(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/enforcement")
    page.get_by_role("button", name="Pause everything").click()
    page.get_by_text("Everything is paused").wait_for()


@long
def test_a_training_is_watched_and_a_model_promoted(browser: Any, demo: str) -> None:
    visit = Visit(browser, demo)
    visit.log_in("root")
    visit.go("/models")
    page = visit.page
    page.locator("svg[aria-label^='Loss']").wait_for()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/models?job=*")
    page.get_by_role("button", name="Promote").click()
    page.get_by_text("is promoted").wait_for()
    visit.context.close()


def test_back_returns_to_the_page_before(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/")
    page.get_by_role("link", name="Clients").click()
    page.get_by_role("heading", name="Riskiest").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Malicious names").wait_for()
    assert page.url.endswith(":" + analyst.address.rsplit(":", 1)[1] + "/")


def test_a_filter_is_in_the_address_and_comes_back(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/queries")
    page.get_by_label("Client or prefix").fill("192.0.2.31")
    page.keyboard.press("Enter")
    page.wait_for_url("**client=192.0.2.31*")
    page.reload()
    page.locator("tbody tr").first.wait_for()
    assert set(page.locator("td.k-client").all_inner_texts()) == {"192.0.2.31"}


@long
def test_a_record_is_on_the_page_within_two_seconds_of_its_being_stored(browser: Any, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/verdict.db"
    store = open_store(url)
    store.initialise()
    with served("dashboard", "--store-url", url, "--port", "0", "--password-file", f"{tmp_path}/password") as link:
        address = link.split("/login")[0]
        visit = Visit(browser, address)
        visit.page.goto(link)
        visit.page.get_by_text("No queries yet").wait_for()
        assert "token" not in visit.page.url
        store.append(list(records_of(batch_of([observation("just-now.example.org", count=10)]))))
        stored = time.monotonic()
        visit.page.get_by_role("link", name="just-now.example.org").wait_for()
        spent = time.monotonic() - stored
        assert spent < 2.0
        row = visit.page.locator("tbody tr").filter(has_text="just-now.example.org")
        assert row.locator("td").last.inner_text() == "10"
        visit.context.close()
    store.close()
