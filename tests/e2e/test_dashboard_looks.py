"""What every page of the dashboard owes: accessible in light and dark, fit for a phone, usable by keyboard alone,
hostile text shown as text, and a look of its own for a store that is empty, slow or dead."""

from typing import Any
from urllib.parse import urlencode

import pytest

from dashboard.pages import PAGES
from dashboard.sample import HOSTILE
from dashboard.screenshots import DIALOGS
from dashboard.screenshots import PAGES as SHOWN
from dashboard.typed import page_of
from dashboard.vetting_keys import DECISIONS
from tests.dashboard_browser import ALL, DEMO, Visit, served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
long = pytest.mark.long
expect = pytest.importorskip("playwright.sync_api").expect

WITH_DATA = {
    "/lookup": "/lookup?q=tracker.example.net", "/incidents": "/incidents?id=192.0.2.87-1",
    "/models": "/models?compare=cnn-2026-11-20,seed",
}  # fmt: skip

# The tables wider than their place.
WIDE = (
    "() => {"
    + ALL
    + """; return all(document).filter((e) => e.matches('.scroll') && e.offsetParent && e.scrollWidth > e.clientWidth)
  .map((e) => e.getAttribute('aria-label')) }"""
)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=long)])
def test_every_page_is_accessible_asks_nobody_else_and_fits_a_laptop(browser: Any, demo: str, scheme: str) -> None:
    """A table wider than its place would have its last column below the buttons of its row."""
    visit = Visit(browser, demo, scheme, width=1280)
    visit.log_in("root")
    visit.go("/audit")
    found, wide = {}, {}
    for path in ["/lookup?q=cdn.example.org", *PAGES]:
        visit.follow(WITH_DATA.get(path, path))
        found[path] = visit.axe()
        assert len(visit.page.get_by_role("heading", level=1).all()) == 1, path
        if names := visit.page.evaluate(WIDE):
            wide[path] = names
    for name, (path, button) in DIALOGS.items():
        if SHOWN[path] not in visit.page.url:
            visit.follow(SHOWN[path])
        visit.page.get_by_role("button", name=button, exact=True).first.click()
        dialog = visit.page.get_by_role("dialog")
        dialog.wait_for()
        found[f"dialog {name}"] = visit.axe(dialog)
        visit.page.keyboard.press("Escape")
        dialog.wait_for(state="detached")
    assert {path: rules for path, rules in found.items() if rules} == {} and visit.wrong == []
    assert wide == {}
    visit.context.close()


def test_nothing_that_the_server_sent_is_sent_back(browser: Any, demo: str) -> None:
    """A page is some hundred thousand octets; the first thing done on it took them all with it."""
    visit = Visit(browser, demo)
    sent: list[str] = []
    visit.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    visit.log_in("ada")
    visit.go("/audit")
    visit.follow("/lookup?q=tracker.example.net")
    visit.page.get_by_role("button", name="Block\u2026", exact=True).click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    visit.page.get_by_role("dialog").wait_for(state="detached")
    assert len([frame for frame in sent if "click" in frame]) == 2
    assert [frame[:200] for frame in sent if '"type":"object"' in frame] == []
    visit.context.close()


def test_a_pause_is_read_on_every_page_and_the_way_to_end_it_is_a_link(browser: Any, demo: str) -> None:
    visit = Visit(browser, demo, width=390, height=844)
    visit.log_in("ada")
    visit.go("/enforcement")
    page, line = visit.page, visit.page.get_by_text("Nothing is blocked")
    page.get_by_role("button", name="Pause everything").click()
    line.wait_for()
    visit.follow("/names")
    line.wait_for()
    assert "by ada since 20" in visit.text() and visit.axe() == []
    page.get_by_role("link", name="Enforcement report").last.click()
    page.get_by_role("button", name="Resume").click()
    line.wait_for(state="hidden")
    visit.context.close()


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
def test_a_name_is_decided_on_by_the_keyboard_alone(browser: Any, demo: str) -> None:
    visit = Visit(browser, demo)
    visit.log_in("ada")
    visit.go("/")
    page = visit.page
    page.keyboard.press("/")
    page.keyboard.type("drop-zone.example.net")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Block\u2026").wait_for()
    tab_to(page, "Block\u2026")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    tab_to(page, "Why (kept in the history)")
    page.keyboard.type("by keyboard")
    tab_to(page, "Decide")
    page.keyboard.press("Enter")
    page.get_by_role("row").filter(has_text="by keyboard").wait_for()
    visit.context.close()


def test_the_focus_stays_where_a_person_is(browser: Any, demo: str) -> None:
    visit = Visit(browser, demo)
    visit.log_in("ada")
    visit.go("/queries")
    page = visit.page
    for name in ("24 hours", "From \u2026 to"):
        button = page.get_by_role("button", name=name)
        button.focus()
        page.keyboard.press("Enter")
        page.locator(f"button[aria-pressed=true]:has-text('{name}')").wait_for()
        expect(button).to_be_focused()
    field = page.get_by_label("From", exact=True)
    before = field.input_value()
    field.focus()
    page.keyboard.type("01022020")  # each key is a change: of the month, the day, the year that begins with 0002
    page.wait_for_url("**start=15*")  # January or February of 2020
    expect(field).to_be_focused()
    assert field.input_value()[:4] == "2020" and before[:4] != "2020"
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Clients", exact=True)
    link.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Riskiest").wait_for()
    expect(link).to_be_focused()
    visit.context.close()


def test_the_keys_of_vetting_stay_in_sight_and_back_leads_to_the_same_row(browser: Any, demo: str) -> None:
    for width, height in ((1280, 720), (390, 844)):
        visit = Visit(browser, demo, width=width, height=height)
        visit.log_in("ada")
        visit.go("/vetting")
        page, chosen = visit.page, visit.page.locator("tr.selected")
        allow = page.get_by_role("button", name="a allow", exact=True)
        for _ in range(30):
            page.keyboard.press("j")
        expect(chosen).to_have_attribute("data-index", "30")
        for part in (allow, chosen, *([page.locator("dl.facts")] if width == 1280 else [])):
            expect(part).to_be_in_viewport(ratio=1)
        buttons = page.locator(".keys button")
        assert buttons.count() == len(DECISIONS) + len(("z", "l", "o"))
        for at in range(buttons.count()):
            expect(buttons.nth(at)).to_be_in_viewport(
                ratio=1
            )  # without scrolling, under the thumb of who holds a phone
        keys, row = allow.bounding_box(), chosen.bounding_box()
        assert keys and row and (row["y"] + row["height"] <= keys["y"] or row["x"] + row["width"] <= keys["x"])
        if width == 1280:
            page.keyboard.press("o")
            page.wait_for_url("**/lookup?q=*")
            name = page.url.partition("?q=")[2]
            page.go_back()
            expect(chosen.locator(".name a")).to_have_text(name)
        visit.context.close()


def in_module(visit: Visit, module: str, script: str) -> Any:
    """What a script returns that has the module's `render`, and an element `el` as Panel gives it."""
    return visit.page.evaluate(
        f"""async () => {{
      const {{ render }} = await import(new URL("assets/{module}.js", location.origin).href)
      const root = document.body.appendChild(document.createElement("div")).attachShadow({{ mode: "open" }})
      const el = root.appendChild(document.createElement("div"))
      {script}
    }}"""
    )


def test_figures_go_when_the_store_gives_no_answer(browser: Any, demo: str) -> None:
    """The module itself, before a model that stands still."""
    visit = Visit(browser, demo)
    visit.log_in("ada")
    shown = in_module(
        visit,
        "tiles",
        """
      const listeners = {}, seen = []
      const on = (name, heard) => { listeners[name] = heard }
      const model = { tiles: [{ label: "Queries", value: 7 }], status: { kind: "ready" }, on }
      await render({ model, el })
      for (const kind of ["ready", "loading", "failed", "ready"]) {
        model.status = { kind }
        listeners.status?.()
        seen.push(el.innerText.includes("7"))
      }
      return seen
    """,
    )
    assert shown == [True, True, False, True]
    visit.context.close()


def test_a_link_to_a_name_leads_where_the_server_would(browser: Any, demo: str) -> None:
    """The module itself: of the names in the log some look like addresses."""
    visit = Visit(browser, demo)
    visit.log_in("ada")
    for name in ("192.0.2.7", "cdn.example.org"):
        link = visit.page.evaluate(
            """async (name) => {
          const { lookup } = await import(new URL("assets/base.js", location.origin).href)
          return lookup(name).getAttribute("href") }""",
            name,
        )
        assert link == page_of(name)
    visit.context.close()


def test_many_curves_are_told_apart(browser: Any, demo: str) -> None:
    """The module itself: a released model has five, and up to four models stand beside each other."""
    visit = Visit(browser, demo)
    visit.log_in("ada")
    shown = in_module(
        visit,
        "lines",
        """
      const series = Array.from({ length: 12 }, (_, i) => ({ label: `m${i}`, points: [[0, 0], [1, i / 12]] }))
      const model = { series, status: { kind: "ready" }, heading: "Reliability", unit: true, on: () => {} }
      await render({ model, el })
      const look = (e) => [getComputedStyle(e).stroke, getComputedStyle(e).strokeDasharray].join()
      return ["line.line", "polyline"].map((kind) => [...root.querySelectorAll(kind)].map(look))
    """,
    )
    legend, curves = shown
    assert legend == curves and len(set(curves)) == 12 and not any(look.startswith("none") for look in curves)
    visit.context.close()


def tab_to(page: Any, label: str, most: int = 60) -> None:
    """Press Tab until the focus is on the control of that label."""
    name = """() => { let e = document.activeElement
      while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement
      return (e?.labels?.[0]?.innerText || e?.getAttribute('aria-label') || e?.innerText || '').trim() }"""
    seen: list[str] = []
    while len(seen) < most and not (seen and seen[-1].endswith(label)):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(name))
    assert seen[-1].endswith(label), f"Tab never came to {label!r}; it came to {seen}"


@long
def test_hostile_text_is_text_on_every_page(browser: Any) -> None:
    incident = urlencode({"id": "192.0.2.31-<img src=x onerror=alert(1)>"})
    with served("tests.hostile_dashboard", "--port", "0", pattern=DEMO) as address:
        visit = Visit(browser, address)
        visit.log_in("root")
        paths = [*PAGES, f"/incidents?{incident}", "/clients?client=192.0.2.7", "/lists?contains=%3Cb%3E"]
        found = {}
        for path in paths + ["/lookup?" + urlencode({"q": name}) for name in HOSTILE]:
            visit.go(path)
            found[path] = visit.made()
            shown = visit.text()
            if path in ("/audit", "/health", "/models", "/lists", "/incidents"):
                assert "<img src=x onerror=alert(1)>" in shown and "<U+202E>" in shown, path
            if path in ("/audit", "/lists", "/incidents"):
                assert "\U0001f600<U+E0041>" in shown, path
            if path in ("/", "/queries", "/names", "/vetting", "/enforcement"):
                assert "script" in shown and "alert(1)" in shown.replace("\\040", "("), path
        assert {path: made for path, made in found.items() if made} == {} and visit.wrong == []
        visit.context.close()


SAID = {"empty": "No queries yet", "slow": "Reading the store", "dead": "No answer from the store"}


@long
@pytest.mark.parametrize("state", SAID)
def test_an_empty_a_slow_and_a_dead_store_look_intended(browser: Any, state: str) -> None:
    with served("dashboard.demo", "--port", "0", "--store", state, pattern=DEMO) as address:
        visit = Visit(browser, address)
        visit.log_in("ada")
        visit.page.goto(address + "/")
        visit.page.get_by_text(SAID[state]).first.wait_for(state="attached")
        visit.page.get_by_role("link", name="Lists", exact=True).click()  # whatever the store does, the pages answer
        visit.page.get_by_label("Names, one a line").wait_for()
        assert visit.wrong == []
        visit.context.close()
