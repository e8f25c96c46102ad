"""The eight jobs of analysts in a real browser, on made-up traffic; and records that are there at once."""

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from serve_app.local.ports import free_port
from tests.dashboard_browser import DEMO, Visit, served
from tests.stores import batch_of, observation
from verdicts.records import records_of
from verdicts.store import open_store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
long = pytest.mark.long


expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture
def analyst(browser: Any, demo: str) -> Iterator[Visit]:
    visit = Visit(browser, demo)
    visit.log_in("ada")
    yield visit
    visit.context.close()


@pytest.fixture
def admin(browser: Any, demo: str) -> Iterator[Visit]:
    visit = Visit(browser, demo)
    visit.log_in("root")
    yield visit
    visit.context.close()


# 1. A user complains that a site is blocked


def test_a_blocked_name_is_explained_allowed_and_shown_in_force(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/")
    page.keyboard.press("/")
    page.keyboard.type("hxxps://tracker[.]example[.]net/page")
    page.keyboard.press("Enter")
    page.get_by_role("row").filter(has_text="seen in a report").filter(has_text="blocklist").wait_for()
    page.get_by_label("Effect of each character on the score").wait_for()
    page.get_by_role("button", name="Allow\u2026").click()
    page.get_by_label("Why (kept in the history)").fill("needed by accounting")
    page.get_by_role("button", name="Decide", exact=True).click()
    page.get_by_text("In force at 3 of 3 resolvers").wait_for()
    page.get_by_role("row").filter(has_text="needed by accounting").filter(has_text="allowlist").wait_for()


def test_a_pasted_client_leads_to_its_page(analyst: Visit) -> None:
    analyst.go("/")
    analyst.page.keyboard.press("/")
    analyst.page.keyboard.type("192.0.2.31")
    analyst.page.keyboard.press("Enter")
    analyst.page.wait_for_url("**/clients?client=192.0.2.31")
    analyst.page.get_by_role("heading", name="Names that do not exist").wait_for()
    analyst.page.go_back()
    analyst.page.get_by_role("heading", name="Malicious names").wait_for()
    analyst.page.wait_for_timeout(1500)  # nothing leads to the client again
    assert analyst.page.url == analyst.address + "/"


# 2. What would enforcing break?


def test_a_false_block_is_allowed_from_the_report_and_a_network_enforces(admin: Visit) -> None:
    page = admin.page
    admin.go("/enforcement?range=24h")
    page.get_by_role("button", name="Allow\u2026 phish.example.net").click()
    page.get_by_role("button", name="Decide", exact=True).click()
    page.get_by_text("In force at 3 of 3 resolvers").wait_for()
    page.get_by_label("Clients (prefix; empty: all)").fill("192.0.2.0/24")
    page.get_by_role("button", name="Enforce", exact=True).click()
    page.locator("dl.facts").filter(has_text="192.0.2.0/24").filter(has_text="enforce").wait_for()
    page.get_by_label("Clients (prefix; empty: all)").fill("")
    page.get_by_role("button", name="Enforce", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.filter(has_text="Every resolver blocks what is judged so").wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    expect(page.locator("dl.facts").filter(has_text="0.0.0.0/0")).to_have_count(0)
    page.get_by_role("button", name="Enforce", exact=True).click()
    dialog.get_by_role("button", name="Enforce", exact=True).wait_for()
    page.keyboard.press("Tab")
    expect(dialog.get_by_role("button", name="Enforce", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    page.locator("dl.facts").filter(has_text="0.0.0.0/0").wait_for()
    page.get_by_role("button", name="Pause everything").click()
    page.get_by_text("Everything is paused").wait_for()
    page.locator("dl.facts").filter(has_text="paused").wait_for()
    page.get_by_role("button", name="Resume", exact=True).click()
    page.locator("dl.facts").filter(has_text="as each resolver is set").wait_for()


# 3. A client is infected


def test_an_incident_is_taken_up_assigned_and_closed_and_leads_to_its_client(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/incidents")
    page.locator("tbody tr").filter(has_text="192.0.2.31").locator("td").first.click()
    page.get_by_role("heading", name="Names of this incident").wait_for()
    page.locator("td").filter(has_text="NXDOMAIN").first.wait_for()
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    page.locator("dd").filter(has_text="acknowledged").wait_for()
    page.get_by_role("button", name="Assign", exact=True).click()
    page.locator("dd").filter(has_text="ada").wait_for()
    page.get_by_label("Note").fill("machine was wiped")
    page.get_by_role("button", name="Close", exact=True).filter(has_text="Close").click()
    page.locator("dd").filter(has_text="closed").wait_for()
    page.locator("dd a").filter(has_text="192.0.2.31").click()
    page.get_by_role("heading", name="Names that do not exist").wait_for()


# 4. Today's names to vet


def test_names_are_vetted_alone_and_together_and_undone_by_single_keys(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/vetting?alone=1")
    rows = page.locator("table tbody tr")
    names = [rows.nth(at).locator(".name a").inner_text() for at in range(3)]
    page.keyboard.press("B")
    rows.filter(has_text=names[0]).wait_for(state="detached")
    page.keyboard.press("z")
    rows.filter(has_text=names[0]).wait_for()
    page.get_by_label("all", exact=True).check()
    page.keyboard.press("m")
    page.get_by_text("Nothing left to vet").or_(page.get_by_text("number is reached")).wait_for()
    page.keyboard.press("z")  # without a row
    rows.filter(has_text=names[0]).wait_for()
    page.get_by_label("Why (for the next decisions)").fill("seen in the morning round")
    page.get_by_label("Why (for the next decisions)").blur()
    for key in ("x", "j", "x", "m"):
        page.keyboard.press(key)
    for name in names[:2]:
        rows.filter(has_text=name).wait_for(state="detached")
    analyst.go("/audit?kind=label")
    found = page.locator("tr").filter(has_text="seen in the morning round")
    assert {found.nth(at).locator("td").nth(3).inner_text() for at in range(2)} == set(names[:2])


def test_names_alike_are_one_row_that_opens(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/vetting")
    group = page.locator("tr").filter(has=page.locator("button.alike")).first
    told = group.locator("button.alike").inner_text()
    page.get_by_text("that differ").wait_for()
    group.locator("button.alike").click()
    page.locator("tr.member").first.wait_for()
    assert told == f"+ {page.locator('tr.member').count()} alike"


# 5. Undo anything, and see who did what


def test_a_change_is_undone_from_the_audit(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/lists")
    page.get_by_label("Names, one a line").fill("undo-me.example.org")
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("tr").filter(has_text="undo-me.example.org").wait_for()
    analyst.go("/audit?kind=list")
    changed = page.locator("tr").filter(has_text="undo-me.example.org")
    assert "ada" in changed.first.inner_text()
    changed.get_by_role("button").first.click()
    changed.filter(has_text="removed").wait_for()


# 6. Look back


def test_a_domain_is_looked_back_at_by_suffix_and_hour(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/lookup?q=example.net&below=1&range=24h")
    for heading in ("Queries", "Clients", "Verdicts by model", "Replies", "Siblings", "Registration"):
        assert page.get_by_role("heading", name=heading, exact=False).count()
    chart = page.locator("svg[aria-label^='Queries']")
    before = chart.get_attribute("aria-label")
    page.locator("rect.hit").nth(40).click()  # one bar: its minutes
    page.wait_for_url("**range=custom**")
    page.get_by_label("From", exact=True).wait_for()
    expect(chart).not_to_have_attribute("aria-label", before)


def test_the_log_is_filtered_paused_paged_copied_and_exported(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/queries?range=1h")
    page.get_by_label("Client or prefix").fill("192.0.2.31")
    page.keyboard.press("Enter")
    page.wait_for_url("**client=192.0.2.31*")
    page.reload()
    page.locator("tbody tr").first.wait_for()
    assert set(page.locator("td.k-client").all_inner_texts()) == {"192.0.2.31"}
    first = page.locator("tbody tr").first.text_content()
    page.get_by_role("button", name="Older", exact=True).click()
    expect(page.locator("tbody tr").first).not_to_have_text(first)
    expect(page.get_by_label("Live")).not_to_be_checked()  # whoever turns pages is not pulled back
    with page.expect_download() as first_file:
        page.get_by_role("link", name="CSV", exact=True).click()
    with page.expect_download() as second_file:
        page.get_by_role("link", name="JSON", exact=True).click()
    rows = list(csv.DictReader(Path(first_file.value.path()).read_text().splitlines()))
    assert len(rows) > 50 and {row["client"] for row in rows} == {"192.0.2.31"}
    lines = [json.loads(line) for line in Path(second_file.value.path()).read_text().splitlines()]
    oldest = min(line["time"] for line in lines)  # the hour went on between the two
    assert {row["qname"] for row in rows if int(row["time"]) >= oldest} <= {line["qname"] for line in lines}
    assert sum(int(row["time"]) >= oldest for row in rows) <= len(lines)
    name = page.locator("tbody .name a").first.inner_text()
    analyst.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("tbody tr").first.hover()
    page.locator("tbody .copy").first.click()
    assert page.evaluate("navigator.clipboard.readText()") == name.replace(".", "[.]")


def test_a_click_takes_as_long_as_it_takes_while_rows_come(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/queries")
    link, row = page.locator("tbody .name a").first, page.locator("tbody tr").first
    link.hover()
    page.mouse.down()
    name, before = link.inner_text(), row.text_content()
    page.wait_for_timeout(3000)  # a second brings rows
    page.mouse.up()
    page.wait_for_url(f"**/lookup?{urlencode({'q': name})}")
    analyst.go("/queries")
    expect(row).not_to_have_text(before)


def test_uncertain_names_are_red_and_carry_a_sign(analyst: Visit) -> None:
    analyst.go("/names?range=24h")
    uncertain = analyst.page.locator("span.uncertain").first
    assert uncertain.inner_text().startswith("\u26a0")
    assert uncertain.evaluate("(e) => getComputedStyle(e).color") == "rgb(179, 38, 30)"


# 7. Retrain


def test_a_training_is_watched_and_cancelled(admin: Visit) -> None:
    page = admin.page
    admin.go("/models")
    page.get_by_label("Epochs (0: its own)").fill("20")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/models?job=*")
    number = page.url.rpartition("=")[2]
    row = page.locator("tr").filter(has_text=number)
    row.filter(has_text="running").wait_for()
    row.filter(has_text="10.0 %").wait_for()  # the second of 20 epochs: the curve lives
    page.locator("svg[aria-label^='Loss']").wait_for()
    row.get_by_role("button", name="Cancel").click()
    row.filter(has_text="cancelled").wait_for()


def test_a_training_goes_on_from_a_model_that_more_offers(admin: Visit) -> None:
    page = admin.page
    admin.go("/models")
    for shown, chosen in (
        ("retrain with labels", "train anew"),
        ("from nothing", "cnn-2026-11-20"),
        ("all of it", "generated"),
    ):
        page.get_by_role("combobox").filter(has_text=shown).click()
        page.get_by_role("menuitem", name=chosen, exact=True).click()
        if chosen == "train anew":
            page.get_by_label("Training data (folder or URL)").fill("/srv/names")
            page.get_by_label("More", exact=True).click()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/models?job=*")


def test_models_are_compared_replayed_promoted_and_rolled_back(admin: Visit) -> None:
    page = admin.page
    admin.go("/models")
    for version in ("cnn-2026-11-20", "seed"):
        page.locator("tr").filter(has_text=version).first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Compare chosen").click()
    page.wait_for_url("**compare=cnn-2026-11-20,seed*")
    page.locator("tr").filter(has_text="test, at the thresholds: recall").locator("strong.best").wait_for()
    page.locator("tr").filter(has_text="seed").first.get_by_role("button", name="Replay").click()
    page.get_by_text("of 1,204 names would change").wait_for()
    page.locator("tr").filter(has_text="seed").first.get_by_role("button", name="Promote").click()
    page.get_by_role("dialog").filter(has_text="verdicts of seed in place of those of").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Promote").click()
    page.locator("tr").filter(has_text="seed").filter(has_text="serving").first.wait_for()
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    page.get_by_text("Rolled back").wait_for()


# 8. Is it healthy?


def test_the_overview_and_health_tell_how_it_goes(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/?range=24h")
    for label in ("Queries", "Judged", "Blocked", "Would block", "Alerted", "Unknown", "Discarded"):
        assert page.locator(".tile .label").get_by_text(label, exact=True).count() == 1
    page.locator(".tile a").filter(has_text="Discarded").click()
    for resolver, mode in (("edge-1", "enforce"), ("office", "monitor")):
        page.locator("tr").filter(has_text=resolver).filter(has_text=mode).wait_for()
    page.locator("tr").filter(has_text="Classifier").filter(has_text="good").wait_for()


# What belongs to every page


@long
def test_a_view_is_saved_opened_and_removed(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/queries?range=24h&tier=block")
    page.get_by_role("button", name="Save this view").click()
    page.get_by_label("Name of the view").fill("night shift")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="night shift").wait_for()
    analyst.go("/")
    page.get_by_role("link", name="night shift").click()
    page.wait_for_url("**/queries?range=24h&tier=block")
    page.get_by_role("button", name="Remove view night shift").click()
    page.get_by_role("link", name="night shift").wait_for(state="detached")


@long
def test_what_changed_since_the_last_visit_is_told_once(analyst: Visit) -> None:
    left = int(time.time() * 1000) - 2 * 3_600_000
    analyst.context.add_cookies([{"name": "seen", "value": str(left), "url": analyst.address}])
    analyst.go("/")
    strip = analyst.page.get_by_role("region", name="Since your last visit")
    strip.get_by_role("link", name="2 new incidents").wait_for()
    strip.get_by_role("button", name="Got it").click()
    strip.wait_for(state="hidden")
    analyst.go("/")
    assert strip.get_by_role("button").count() == 0


def test_back_returns_to_the_page_before(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/")
    page.get_by_role("link", name="Clients", exact=True).click()
    page.get_by_role("heading", name="Riskiest").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Malicious names").wait_for()
    assert page.url.endswith(":" + analyst.address.rsplit(":", 1)[1] + "/")


def test_back_returns_to_the_name_that_was_looked_up_before(analyst: Visit) -> None:
    page = analyst.page
    analyst.go("/")
    for name in ("cdn.example.org", "drop-zone.example.net"):
        page.keyboard.press("/")
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/lookup?q={name}")
        page.locator(".notice-title").filter(has_text=name).wait_for()
        page.locator("input[type=search]").blur()
    page.get_by_role("button", name="24 hours").click()
    page.wait_for_url("**range=24h")  # a filter is no place to go back to
    page.locator("rect.hit").first.click()
    page.wait_for_url("**range=custom**")  # a bar's range is one
    page.go_back()
    page.wait_for_url("**range=24h")
    page.go_back()
    page.wait_for_url("**/lookup?q=cdn.example.org")
    page.locator(".notice-title").filter(has_text="cdn.example.org").wait_for()


def test_a_lost_connection_is_told_and_the_page_comes_back_by_itself(browser: Any) -> None:
    port = str(free_port())
    with served("dashboard.demo", "--port", port, pattern=DEMO) as address:
        visit = Visit(browser, address)
        visit.log_in("ada")
        visit.go("/queries?range=24h")
    page = visit.page
    page.get_by_role("alert").filter(has_text="No connection to the dashboard").wait_for()
    with served("dashboard.demo", "--port", port, pattern=DEMO):
        page.wait_for_url("**/login*")  # the cookie was signed by the one before
        page.fill("#user", "ada")
        page.fill("#password", "ada")
        page.click("button")
        page.wait_for_url("**/queries?range=24h")
    visit.context.close()


def test_who_logs_out_is_logged_out_in_every_tab(analyst: Visit) -> None:
    analyst.go("/queries")
    other = analyst.context.new_page()
    other.goto(analyst.address + "/names")
    other.get_by_role("link", name="Log out").click()
    for page in (other, analyst.page):
        page.wait_for_url("**/login")


@long
def test_a_record_is_on_the_page_within_two_seconds_of_its_being_stored(browser: Any, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/verdict.db"
    store = open_store(url)
    store.initialise()
    with served("dashboard", "--store-url", url, "--port", "0", "--password-file", f"{tmp_path}/password") as said:
        address = said.rstrip("/")
        visit = Visit(browser, address)
        visit.page.goto(f"{address}/login?token={(tmp_path / 'password').read_text().strip()}")
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


def test_whoever_comes_by_a_link_sees_the_colours_that_their_browser_prefers(browser: Any, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/verdict.db"
    open_store(url).initialise()
    with served("dashboard", "--store-url", url, "--port", "0", "--password-file", f"{tmp_path}/password") as said:
        address = said.rstrip("/")
        visit = Visit(browser, address, scheme="dark", width=390, height=844)
        visit.page.goto(f"{address}/login?token={(tmp_path / 'password').read_text().strip()}")
        visit.page.get_by_text("No queries yet").wait_for()
        visit.page.locator("html[data-scheme=dark]").wait_for()
        folded = visit.page.get_by_role("link", name="Vetting", exact=True)  # of the navigation
        expect(folded).not_to_be_in_viewport()
        visit.context.close()
