"""A user complains that a site is blocked: from the browser through the control API to a real resolver, and back."""

from typing import Any

import dns.rcode
import pytest

from tests.dashboard_browser import Visit
from tests.e2e.conftest import Stack
from tests.e2e.test_main_path import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]

NAME = "complained-of.wikipedia.org"
IN_FORCE_S = 2


def test_a_blocked_name_is_explained_allowed_in_force_and_undone(stack: Stack, browser: Any) -> None:
    added = stack.api("POST", "/v1/lists", json={"list": "blocklist", "suffix": NAME, "note": "seen in a report"})
    assert added.status_code == 200, added.text
    eventually(lambda: stack.dig(NAME).rcode(), dns.rcode.NXDOMAIN, within_s=IN_FORCE_S)
    visit = Visit(browser, stack.dashboard.split("/login")[0])
    page = visit.page
    page.goto(stack.dashboard)
    page.locator(".topbar").wait_for()
    page.keyboard.press("/")
    page.keyboard.type(NAME)
    page.keyboard.press("Enter")
    # What happened and why: the entry with its note, the blocked query of this client, what the model makes of it.
    page.get_by_role("row").filter(has_text="seen in a report").filter(has_text="blocklist").wait_for()
    page.get_by_role("row").filter(has_text="127.0.0.1").first.wait_for()
    page.get_by_label("Effect of each character on the score").wait_for()
    page.get_by_role("button", name="Allow\u2026").click()
    page.get_by_label("Why (kept in the history)").fill("needed by accounting")
    page.get_by_role("button", name="Decide", exact=True).click()
    eventually(lambda: stack.dig(NAME).rcode(), dns.rcode.NOERROR, within_s=IN_FORCE_S)
    page.get_by_text("In force at 1 of 1 resolvers").wait_for()
    visit.go("/audit?kind=list")
    row = page.get_by_role("row").filter(has_text="needed by accounting").first
    assert "admin" in row.inner_text()
    row.get_by_role("button").first.click()
    eventually(lambda: stack.dig(NAME).rcode(), dns.rcode.NXDOMAIN, within_s=IN_FORCE_S)
    assert visit.wrong == []
    visit.context.close()
    assert stack.api("DELETE", f"/v1/lists/blocklist/{NAME}").status_code == 200
