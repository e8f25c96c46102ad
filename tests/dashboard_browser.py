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

from dashboard.screenshots import CHROMIUM_FLAGS
from tests.requires import need

TIMEOUT_MS = 45_000  # a busy machine draws slowly; what a test asserts has its own limits
SERIOUS = ("serious", "critical")


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

    def axe(self) -> list[str]:
        """What axe-core finds that is serious, one line each."""
        import axe_playwright_python

        script = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
        self.page.evaluate(script)
        found = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{v['id']}: {v['help']}: {json.dumps(v['nodes'][0]['target'])} {v['nodes'][0]['html'][:200]}"
            for v in found["violations"]
            if v["impact"] in SERIOUS
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
