"""A browser on the dashboard: Debian's Chromium, and every request it makes watched."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dashboard.screenshots import CHROMIUM_FLAGS, POLL_MS
from tests.requires import need

TIMEOUT_MS = 45_000  # a busy machine draws slowly; what a test asserts has its own limits
DEMO = r"http://\S+?(?=/ )"  # in what `dashboard.demo` says


# Everything, in every shadow root.
ALL = """const all = (root) =>
  [...root.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e])"""
# True once no transition runs.
SETTLED = (
    "() => {"
    + ALL
    + """; return all(document).every((e) =>
  e.getAnimations().every((a) => !(a instanceof CSSTransition) || a.playState !== 'running')) }"""
)
# Elements that only markup within a text can have made, and characters that must never show.
MADE = (
    "() => {"
    + ALL
    + r"""
  const bad = /[\u0000-\u0008\u000b-\u001f\u007f\u200b\u202a-\u202e\u2066-\u2069]/, found = []
  const markup = ['img[src="x"]', '.component b', '.component u', '.component i:not([aria-hidden])', '[href^="java"]']
  for (const e of all(document)) {
    if (['SCRIPT', 'STYLE', 'HEAD', 'TITLE', 'META'].includes(e.tagName)) continue
    if (e.matches('.notranslate[aria-hidden]') && e.textContent === '\u200b') continue  // MUI's empty label
    if (e.matches(markup.join())) found.push(e.outerHTML)
    const texts = [...e.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data)
    texts.push(e.getAttribute('title') || '', e.getAttribute('aria-label') || '')
    for (const text of texts) if (bad.test(text)) found.push(JSON.stringify(text))
  }
  return found
}"""
)
# The components that show before a link is followed, and whether others stand there since.
NOTED = "() => {" + ALL + "; window.before = all(document).filter((e) => e.matches('.component')) }"
CLICK = """(href) => {
  const a = Object.assign(document.createElement('a'), { href })
  document.body.append(a)
  a.click()
  a.remove()
}"""
ANOTHER = (
    "() => {"
    + ALL
    + """; return window.before.some((e) => !e.isConnected) &&
  all(document).some((e) => e.matches('.component') && e.offsetParent && !window.before.includes(e)) }"""
)
TEXT = (
    "() => {" + ALL + "; return all(document).filter((e) => e.matches('.component')).map((e) => e.innerText).join() }"
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    executable = shutil.which("chromium")
    need(executable, "Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


class Visit:
    """One browser context; notes what went wrong in it: errors of scripts, dialogs, requests to other hosts."""

    def __init__(self, browser: Any, address: str, scheme: str = "light", width: int = 1440, height: int = 900) -> None:
        self.address = address
        self.context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("request", self._watch)

    def _watch(self, request: Any) -> None:
        if not request.url.startswith((self.address, "blob:", "data:", self.address.replace("http", "ws"))):
            self.wrong.append(f"request: {request.url}")

    def log_in(self, user: str) -> None:
        from dashboard.screenshots import log_in

        log_in(self.page, self.address, user)

    def go(self, path: str) -> None:
        from dashboard.screenshots import settle

        self.page.goto(self.address + path)
        settle(self.page)

    def follow(self, path: str) -> None:
        """Go there as by a link, which reloads nothing and takes a quarter of the time."""
        from dashboard.screenshots import settle

        self.page.evaluate(NOTED)
        self.page.evaluate(CLICK, self.address + path)
        self.page.wait_for_function(ANOTHER, polling=POLL_MS)
        settle(self.page)

    def made(self) -> list[str]:
        """What a hostile text has become other than text: elements, or characters that act."""
        return list(self.page.evaluate(MADE))

    def text(self) -> str:
        """What the page says."""
        return str(self.page.evaluate(TEXT))

    def axe(self, part: Any = None) -> list[str]:
        """What axe-core finds, however small, one line each; of this part of the page alone, if one is given."""
        import axe_playwright_python

        script = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
        self.page.wait_for_function(SETTLED, polling=POLL_MS)  # what fades in has no contrast yet
        self.page.evaluate(script)
        found = (part or self.page.locator("html")).evaluate("(e) => axe.run(e, {resultTypes: ['violations']})")
        return [
            f"{v['id']}: {v['help']}: {json.dumps(v['nodes'][0]['target'])} {v['nodes'][0]['html'][:200]}"
            for v in found["violations"]
        ]


@contextmanager
def served(*arguments: str, pattern: str = r"http://\S+") -> Iterator[str]:
    """`python -m ARGUMENTS`, once it has said its address; stopped afterwards."""
    with subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(pattern, said)
            assert found, f"no address in {said!r}"
            yield found[0]
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
