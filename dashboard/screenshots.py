"""`python -m dashboard.screenshots --out DIR`: pages and dialogs, light and dark, wide and narrow, of made-up traffic.

Needs Chromium and the package playwright (development extras).
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dashboard.demo import SUSPECT

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAGES = {
    "overview": "/",
    "lookup": f"/lookup?q={SUSPECT}",
    "queries": "/queries",
    "names": "/names",
    "vetting": "/vetting",
    "incidents": "/incidents?id=192.0.2.87-1",
    "clients": "/clients",
    "client": "/clients?client=192.0.2.31",
    "enforcement": "/enforcement",
    "lists": "/lists",
    "models": "/models",
    "health": "/health",
    "audit": "/audit",
}
# Dialogs that ask before anything is done: the page, and the button that opens each.
DIALOGS = {
    "decide": ("lookup", "Block\u2026"),
    "enforce": ("enforcement", "Enforce"),
    "promote": ("models", "Promote"),
    "roll-back": ("models", "Roll back"),
}
PATIENCE_MS = 90_000  # a busy machine draws slowly
POLL_MS = 100  # a page is not looked through at each frame, which takes what it would draw with
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}


@contextmanager
def demo() -> Iterator[str]:
    """The demonstration, started; gives its address and stops it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard.demo", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+?(?=/ )", line)
        if found is None:
            raise click.ClickException(f"the demonstration did not start: {line!r}")
        yield found[0]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def settle(page: Any) -> None:
    """Wait until the page shows its data."""
    page.locator(".topbar").wait_for(timeout=PATIENCE_MS)
    page.wait_for_function(STILL, timeout=PATIENCE_MS, polling=POLL_MS)
    page.wait_for_timeout(400)  # transitions end


# No component, in any shadow root, shows that it is still reading.
STILL = """() => {
  const all = (root) => [...root.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e])
  const elements = all(document)
  const shown = (name) => elements.some((e) => e.classList?.contains(name) && e.offsetParent)
  const loader = document.querySelector('#loader')
  return shown('component') && !shown('loading') && !(loader && getComputedStyle(loader).display !== 'none')
}"""


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--only", multiple=True, type=click.Choice(sorted({**PAGES, **DIALOGS})), help="These; without it all.")
@click.option("--scheme", "schemes", multiple=True, type=click.Choice(["light", "dark"]), default=["light", "dark"])
@click.option("--size", "sizes", multiple=True, type=click.Choice(sorted(SIZES)), default=sorted(SIZES))
def main(out: Path, only: tuple[str, ...], schemes: tuple[str, ...], sizes: tuple[str, ...]) -> None:
    """Make screenshots of the pages."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    if executable is None:
        raise click.ClickException("chromium: not found on PATH")
    out.mkdir(parents=True, exist_ok=True)
    with demo() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        for scheme in schemes:
            for size in sizes:
                width, height = SIZES[size]
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
                page = context.new_page()
                log_in(page, address, "root")
                for name in only or (*PAGES, *DIALOGS):
                    on, button = DIALOGS.get(name, (name, ""))
                    page.goto(address + PAGES[on])
                    settle(page)
                    if button:
                        page.get_by_role("button", name=button, exact=True).first.click()
                        page.get_by_role("dialog").wait_for(timeout=PATIENCE_MS)
                        settle(page)
                    file = out / f"{name}-{scheme}{'' if size == 'wide' else '-narrow'}.png"
                    page.screenshot(path=file)
                    shrink(file)
                    click.echo(file)
                context.close()
        browser.close()


def shrink(file: Path) -> None:
    """Give a picture a palette: a third of the size, and no eye tells the difference."""
    from PIL import Image  # Bokeh brings it

    with Image.open(file) as picture:
        # Of Pillow's ways the one that keeps the few lively colours: with the usual one small red signs became brown.
        small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    small.save(file, optimize=True)


def log_in(page: Any, address: str, user: str) -> None:
    """Log a user of the demonstration in."""
    page.goto(address + "/login")
    page.fill("#user", user)
    page.fill("#password", user)
    page.click("button")
    page.wait_for_url(address + "/")


if __name__ == "__main__":
    main()
