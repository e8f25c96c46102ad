"""What the documentation site takes from outside docs/: files that are pages, and sections that a page includes.

A page includes a section of any document of the tree, so that it stands in one place, with a line

    <!-- include README.md#Two commands -->

and links that leave docs/ lead to the page that shows the file, or become plain text where none does.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WHOLE = {  # file of the tree: the page of the site that it is
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "plugin/verdict/README.md": "corefile.md",
}
PAGES = {**WHOLE, "README.md": "start.md"}  # file: the page where a link to it leads
_INCLUDE = re.compile(r"(?m)^<!-- include (?P<file>[^#\s]+)#(?P<heading>.+?) -->$")
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?!\w+:|#)(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
_HEADING = re.compile(r"^(?P<marks>#+) (?P<text>.+?)\s*$")


class NoSection(ValueError):
    """An include that names no section; the message names file and heading."""


def on_files(files: Any, config: Any) -> Any:
    """Add the files of the tree that are pages."""
    from mkdocs.structure.files import File

    for source, page in WHOLE.items():
        files.append(File.generated(config, page, content=moved(_read(source), source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put the included sections in, and point the page's own links to the site."""
    if page.file.src_uri in WHOLE.values():
        return markdown
    return included(moved(markdown, f"docs/{page.file.src_uri}"))


def included(markdown: str) -> str:
    """The page with each include replaced by its section."""
    return _INCLUDE.sub(lambda found: moved(section(found["file"], found["heading"]), found["file"]), markdown)


def section(file: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level, without the heading itself."""
    lines, level, fenced = [], 0, False
    for line in _read(file).splitlines():
        fenced ^= line.startswith(("```", "~~~"))
        found = None if fenced else _HEADING.match(line)
        if found and level and len(found["marks"]) <= level:
            break
        if level:
            lines.append(line)
        elif found and found["text"] == heading:
            level = len(found["marks"])
    if not level:
        raise NoSection(f"{file}: no heading {heading!r}")
    return "\n".join(lines).strip()


def moved(markdown: str, file: str) -> str:
    """The text of a file of the tree with its links as the site has them."""
    folder = posixpath.dirname(file)

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, found["target"]))
        page = PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else "")
        if not page:
            return found["text"]
        return f"{found['image']}[{found['text']}]({page}{found['anchor'] or ''})"

    return _LINK.sub(link, markdown)


def _read(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")
