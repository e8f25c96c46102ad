"""The forms in which people have lists of names: read into entries and written back (import and export).

Every form is read line by line; a bad row is told with its number and what was expected, and the others stand.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from verdicts import names
from verdicts.cells import bare, harmless
from verdicts.lists import BadEntry, checked_suffix

FORMS = ("plain", "hosts", "rpz", "adguard", "csv", "top")
MAX_ERRORS = 1000  # told; the rest is counted
MAX_GUESSED = 1000  # characters of a line that tell its form

_LOCAL_HOSTS = frozenset(
    "localhost localhost.localdomain local broadcasthost ip6-localhost ip6-loopback ip6-localnet ip6-mcastprefix"
    " ip6-allnodes ip6-allrouters ip6-allhosts".split()
)
_BOM = "\ufeff"  # before the first line of what some programs write
_ADGUARD = re.compile(r"(@@)?\|\|([^/^$|\s]+)\^(?:\$(.*))?").fullmatch


class Row(NamedTuple):
    """One name of a list; `note` and `expires` (Unix milliseconds) only where the form has them."""

    name: str
    note: str = ""
    expires: int | None = None
    rank: int = 0  # of a top list
    allows: bool = False  # an exception of an RPZ zone or of AdGuard rules: the name passes


class Problem(NamedTuple):
    """A row that was left out."""

    line: int
    reason: str


class Parsed(NamedTuple):
    """What a text held: normalised rows without repeats, and what was left out."""

    rows: list[Row]
    problems: list[Problem]
    left_out: int  # all of them, also those beyond MAX_ERRORS


class BadRow(ValueError):
    """A row that is not in the form."""


class OtherTrigger(BadRow):
    """A row of an RPZ zone that neither blocks nor passes a name: about an address, a name server, the protocol."""


def parse(
    lines: Iterable[str], form: str = "plain", limit: int | None = None, allow: bool = False, now: int = 0
) -> Parsed:
    """The names in the lines of a list. `limit`: only the first ranks of a top list, or rows of another form.

    `allow`: the names are to pass, so that exceptions among them are rows too. A name that is none, or is a public
    suffix, or an exception that would be blocked, or has expired by `now` (Unix milliseconds), is a problem and no row.
    Raises `ValueError` for an unknown form.
    """
    rows: dict[str, Row] = {}
    problems: list[Problem] = []
    left_out = 0
    for number, found in read(lines, form):
        if limit is not None and (found.rank > limit if isinstance(found, Row) and found.rank else len(rows) >= limit):
            break
        if isinstance(found, Row) and found.allows and not allow:
            found = BadRow(f"{names.shown(found.name)}: an exception; import it into the benign list by itself")
        if isinstance(found, Row) and found.expires is not None and found.expires <= now:
            found = BadRow(f"{names.shown(found.name)}: expired at {found.expires}, expected a time after now, {now}")
        if isinstance(found, Row):
            try:
                suffix = checked_suffix(found.name)
            except BadEntry as error:
                found = BadRow(str(error))
            else:
                if suffix not in rows:
                    rows[suffix] = Row(suffix, found.note, found.expires, found.rank)
                continue
        left_out += 1
        if len(problems) < MAX_ERRORS:
            problems.append(Problem(number, str(found)))
    return Parsed(list(rows.values()), problems, left_out)


def guess(head: str) -> str:
    """The form that the beginning of a text looks like; by words, since to match a pattern could take minutes here."""
    lines = [line.strip()[:MAX_GUESSED] for line in head.removeprefix(_BOM).splitlines()[:200]]
    lines = [line for line in lines if line and line[0] not in "#!;"]
    if any(line.startswith(("||", "@@||")) for line in lines):
        return "adguard"
    if any(_is_of_a_zone(line.upper().split()) for line in lines):
        return "rpz"
    if lines and "," in lines[0]:
        rank, _, name = lines[0].partition(",")
        return "top" if _number(rank.strip()) is not None and name.strip() and "," not in name else "csv"
    if lines and len(words := lines[0].split()) > 1 and names.is_address(words[0], zoned=True):
        return "hosts"
    return "plain"


def _is_of_a_zone(words: list[str]) -> bool:
    return words[0] in ("$TTL", "$ORIGIN") or "SOA" in words or "CNAME" in words[1:]


Found = Iterator[tuple[int, Row | BadRow]]


def read(lines: Iterable[str], form: str) -> Found:
    """Each row with its number, as it is written, or what is wrong with it. Raises `ValueError` for an unknown form."""
    if form not in FORMS:
        raise ValueError(f"form {form!r}: expected one of {', '.join(FORMS)}")
    rest = iter(lines)
    return _READERS[form](chain((line.removeprefix(_BOM) for line in [*islice(rest, 1)]), rest))


def _plain(lines: Iterable[str]) -> Found:
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if len(words) == 2 and names.is_address(words[0], zoned=True):  # a line of a hosts file among others
            words = words[1:]
        if len(words) == 1:
            yield number, Row(_undotted(words[0]))
        elif words:
            yield number, BadRow(f"{names.shown(' '.join(words))}: expected one name")


def _hosts(lines: Iterable[str]) -> Found:
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 2 or not names.is_address(words[0], zoned=True):
            yield number, BadRow(f"{names.shown(line.strip())}: expected an address and names")
            continue
        for word in words[1:]:
            if word.lower() not in _LOCAL_HOSTS and not names.is_address(word, zoned=True):
                yield number, Row(word)


def _rpz(lines: Iterable[str]) -> Found:
    """QNAME triggers of a response policy zone in one-line form; `*.NAME` and `NAME` are one suffix here."""
    origin = ""
    for number, line in enumerate(lines, 1):
        text = line.partition(";")[0].rstrip()
        if not text.strip():
            continue
        words = text.split()
        if words[0].upper() == "$ORIGIN" and len(words) > 1:
            origin = words[1].rstrip(".").lower()
            continue
        types = [word.upper() for word in words[1:]]
        if text[0].isspace() or words[0][0] in "@$()" or words[0].isdigit() or {"SOA", "NS"} & set(types):
            if "SOA" in types and words[0].endswith("."):  # of whole names, as a zone transfer gives them
                origin = words[0].rstrip(".").lower()
            continue  # the zone's own records, and continuation lines
        if not {"CNAME", "A", "AAAA"} & set(types):
            yield number, BadRow(f"{names.shown(text)}: expected NAME CNAME, A or AAAA, and a target")
            continue
        owner = words[0].lower()
        if ".rpz-" in owner:
            yield number, OtherTrigger(f"{names.shown(owner)}: a trigger other than a qname")
            continue
        owner = owner.rstrip(".")
        if words[0].endswith(".") and origin:
            owner = owner.removesuffix("." + origin)
        target = words[-1].lower().rstrip(".")
        if target == "rpz-tcp-only":
            yield number, OtherTrigger(f"{names.shown(owner)}: to be asked by TCP, neither passed nor blocked")
            continue
        # A name that is its own alias passes: so it was written before there was a word for it.
        yield number, Row(owner.removeprefix("*."), allows=target in ("rpz-passthru", owner))


def _adguard(lines: Iterable[str]) -> Found:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text[0] in "!#[":
            continue
        found = _ADGUARD(text)
        if found is None:
            plain = text if re.fullmatch(r"[A-Za-z0-9_.-]+\.[A-Za-z0-9_-]+", text) else None
            yield number, Row(plain) if plain else BadRow(f"{names.shown(text)}: expected ||NAME^")
        elif found[3] and found[3] not in ("important", "all"):
            yield number, BadRow(f"{names.shown(text)}: the modifier ${found[3]} has no meaning here")
        elif "*" in found[2]:
            yield number, BadRow(f"{names.shown(text)}: expected a name without wildcards")
        else:
            yield number, Row(found[2], allows=bool(found[1]))


def _csv(lines: Iterable[str]) -> Found:
    """The header names the columns (suffix, domain or name; note, expires); without one the first column counts."""
    columns: dict[str, int] | None = None
    reader = csv.reader(lines, strict=True)
    while True:
        begun = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # a quote without an end takes lines with it: each is told
            for number in range(begun, reader.line_num + 1):
                yield number, BadRow(f"{error}, in the row that begins in line {begun}")
            continue
        if not cells or not cells[0].strip() or cells[0].startswith("#"):
            continue
        if columns is None:
            header = [cell.strip().lower() for cell in cells]
            name = next((word for word in ("suffix", "domain", "name", "host") if word in header), None)
            columns = {word: place for place, word in enumerate(header)} if name else {"": 0}
            columns["name"] = columns[name] if name else 0
            if name:
                continue
        if len(cells) <= columns["name"]:
            yield reader.line_num, BadRow(f"{len(cells)} columns, expected {columns['name'] + 1} or more")
            continue
        yield reader.line_num, _csv_row(cells, columns)


def _csv_row(cells: list[str], columns: dict[str, int]) -> Row | BadRow:
    def cell(name: str) -> str:
        place = columns.get(name)
        return cells[place].strip() if place is not None and place < len(cells) else ""

    expires = cell("expires")
    if expires and not _number(expires):
        return BadRow(f"expires {names.shown(expires)}: expected Unix milliseconds")
    return Row(_undotted(bare(cell("name"))), bare(cell("note")), _number(expires))


def _top(lines: Iterable[str]) -> Found:
    """`RANK,NAME` (Tranco, Umbrella), most popular first; a header line is passed over."""
    for number, line in enumerate(lines, 1):
        rank, comma, name = line.strip().partition(",")
        if not rank and not comma:
            continue
        found = _number(rank.strip('" '))
        if not comma or not found:
            if number > 1:
                yield number, BadRow(f"{names.shown(line.strip())}: expected RANK,NAME")
            continue
        yield number, Row(name.split(",")[0].strip('" '), rank=found)


_READERS: dict[str, Callable[[Iterable[str]], Found]] = {
    "plain": _plain, "hosts": _hosts, "rpz": _rpz, "adguard": _adguard, "csv": _csv, "top": _top,
}  # fmt: skip


def write(rows: Iterable[Row], form: str, allow: bool = False) -> Iterator[str]:
    """The lines of a list in a form, ready to be read by the programs that use it.

    `allow`: the names are to pass, which RPZ and AdGuard rules can say; a resolver blocks what it finds in the others.
    """
    if form == "rpz":
        yield "$TTL 300"
        yield "@ SOA localhost. root.localhost. 1 3600 600 86400 300"
        yield "@ NS localhost."
    if form == "csv":
        yield "suffix,note,expires"
    for number, row in enumerate(rows, 1):
        if form == "plain":
            yield row.name
        elif form == "hosts":
            yield f"0.0.0.0 {row.name}"
        elif form == "rpz":
            action = "rpz-passthru." if allow else "."
            yield f"{row.name} CNAME {action}"
            yield f"*.{row.name} CNAME {action}"
        elif form == "adguard":
            yield f"{'@@' if allow else ''}||{row.name}^"
        elif form == "csv":
            line = io.StringIO()
            note = " ".join(row.note.splitlines())  # what is behind the end of a line is read as a name
            csv.writer(line, lineterminator="").writerow([harmless(row.name), harmless(note), row.expires or ""])
            yield line.getvalue()
        elif form == "top":
            yield f"{row.rank or number},{row.name}"
        else:
            raise ValueError(f"form {form!r}: expected one of {', '.join(FORMS)}")


def _undotted(name: str) -> str:
    """A name as lists write suffixes: `*.example.org` and `.example.org` are `example.org`."""
    if not name or name[0] not in "*.":
        return name
    return name.removeprefix("*.").removeprefix(".") if name not in (".", "*.") else name


def _number(text: str) -> int | None:
    """A number that every store can hold, or None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None
