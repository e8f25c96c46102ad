"""The blocks of our documents that a reader would copy, and what the tests do with each.

A fenced block is run by the tests when its language is `sh` or `corefile`. The comment line before it may say
otherwise:

    <!-- not run by the tests: REASON -->     it is not run; the reason is for people
    <!-- run beside make run -->              it is run while `make run` runs, against its ports and its home

A block of another language (or of none) is text.
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

ROOT = Path(__file__).parent.parent
RUN = ("sh", "corefile")
DOCUMENTS = ("README.md", "plugin/verdict/README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md")))
_FENCE = re.compile(r"^(?P<fence>```+|~~~+) *(?P<language>[\w-]*)\s*$")
_NOT_RUN = re.compile(r"^<!-- not run by the tests: (?P<reason>.+) -->$")
_BESIDE = "<!-- run beside make run -->"


class Block(NamedTuple):
    """One fenced block: where it stands, what it holds, when it is run."""

    document: str
    line: int
    language: str
    text: str
    when: Literal["alone", "beside", "never"]

    @property
    def id(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(text: str, document: str = "README.md") -> list[Block]:
    """The blocks of a document. Raises `ValueError` for a comment that means to steer the tests but is not known."""
    found: list[Block] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        opening = _FENCE.match(lines[at].strip())
        if opening is None:
            at += 1
            continue
        closing = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == opening["fence"]), None)
        if closing is None:
            raise ValueError(f"{document}:{at + 1}: a block that does not end")
        said = next((lines[i].strip() for i in range(at - 1, -1, -1) if lines[i].strip()), "")
        when = _when(said, f"{document}:{at + 1}")
        found.append(Block(document, at + 1, opening["language"], "\n".join(lines[at + 1 : closing]), when))
        at = closing + 1
    return found


def runnable(when: Literal["alone", "beside"], language: str) -> list[Block]:
    """All blocks of our documents that are to be run so."""
    return [
        block
        for document in DOCUMENTS
        if (ROOT / document).exists()
        for block in blocks((ROOT / document).read_text(encoding="utf-8"), document)
        if block.language == language and block.when == when
    ]


def _when(said: str, place: str) -> Literal["alone", "beside", "never"]:
    if said == _BESIDE:
        return "beside"
    if _NOT_RUN.match(said):
        return "never"
    if said.startswith("<!--") and re.search(r"\btests?\b|\brun\b", said):
        raise ValueError(f"{place}: comment {said!r}: expected {_BESIDE} or <!-- not run by the tests: REASON -->")
    return "alone"


def commands(block: Block) -> list[str]:
    """The command lines of an `sh` block, continued lines joined, comments left out."""
    joined = block.text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def on_ports(corefile: str, port: int, metrics: int, token: Path) -> str:
    """A Corefile of the documents made fit for a test: free ports, a token file that exists."""
    text = re.sub(r"(?m)^(\S*?):(\d+)(?=[\s{])", rf"\g<1>:{port}", corefile)
    text = re.sub(r"(?m)^(\s*prometheus)\b.*$", rf"\g<1> 127.0.0.1:{metrics}", text)
    return re.sub(r"(?m)^(\s*token)\s+\S+$", rf"\g<1> {token}", text)
