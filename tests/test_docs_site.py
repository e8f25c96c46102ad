"""The documentation site builds, and a link that leads nowhere fails it; the README's figures and tree are true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs import hooks
from loadtest.figures import FIGURES, NoFigure, rendered

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), "--site-dir", str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    done = build(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stderr
    for page in ("index", "start", "operating", "architecture", "corefile", "wire", "security"):
        assert (tmp_path / f"{page}.html").stat().st_size > 5000, page
    start = (tmp_path / "start.html").read_text()
    assert "make run" in start and "<!-- include" not in start


def test_the_site_asks_no_other_server(tmp_path: Path) -> None:
    assert build(ROOT / "mkdocs.yml", tmp_path).returncode == 0
    for page in tmp_path.glob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)\b[^>]*(?:src|href)=\"(https?://[^\"]+)", page.read_text())
        assert not loaded, page.name


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text("# A\n\n[nowhere](absent.md)\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {pages}\nnav: [index.md]\nhooks: []\n")
    done = build(config, tmp_path / "site")
    assert done.returncode != 0 and "absent.md" in done.stderr


def test_a_section_ends_where_the_next_begins() -> None:
    text = hooks.section("README.md", "Two commands")
    assert "make run" in text and "## " not in text


def test_an_include_of_no_section_is_refused() -> None:
    with pytest.raises(hooks.NoSection, match="README.md: no heading 'Absent'"):
        hooks.included("<!-- include README.md#Absent -->")


@pytest.mark.parametrize(
    ("file", "text", "moved"),
    [
        ("README.md", "[a](docs/store.md#lists)", "[a](store.md#lists)"),
        ("docs/start.md", "[a](../plugin/verdict/README.md)", "[a](corefile.md)"),
        ("docs/start.md", "[a](../verdicts/policy.py)", "a"),
        ("ARCHITECTURE.md", "[a](https://example.org/x)", "[a](https://example.org/x)"),
        ("README.md", "![a](docs/screenshots/x.png)", "![a](screenshots/x.png)"),
    ],
)
def test_links_lead_to_pages_of_the_site(file: str, text: str, moved: str) -> None:
    assert hooks.moved(text, file) == moved


def test_every_figure_of_the_readme_is_the_last_reports() -> None:
    assert rendered(README) == README, "python -m loadtest.bench --render"
    assert set(re.findall(r"<!-- figures: (\S+) -->", README)) == set(FIGURES)


def test_a_figure_that_no_report_holds_is_named() -> None:
    with pytest.raises(NoFigure, match="speed"):
        rendered("<!-- figures: speed -->\n<!-- end of figures -->")


def test_the_tree_of_the_readme_lists_every_file() -> None:
    tree = README.partition("## The tree")[2]
    listed = set(re.findall(r"(?m)^  (\S+\.(?:py|go|yaml|toml))", tree))
    folders = ("serve_app", "deployments", "verdicts", "model", "dashboard", "loadtest", "plugin/verdict")
    there = {
        path.name
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".go") and path.name != "__init__.py" and not path.name.endswith("_test.go")
        and path.parent.name not in ("peers", "shapes")
    }  # fmt: skip
    assert not there - listed
