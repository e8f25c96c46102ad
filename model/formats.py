"""Published lists of domain names, read as a stream of rows from a path, a folder or a URL.

| form | looks like |
|---|---|
| plain, ctc | a name a line; `#` begins a comment (the CTC blocklist is one); read by `verdicts.list_formats` |
| hosts | `0.0.0.0 NAME...`; names of the machine itself are passed over; read there too |
| ranked | `RANK,NAME` without a header (Tranco, Umbrella, Majestic's short form) |
| domcop | `Rank,Domain,Open Page Rank` with a header, quoted or not |
| csv | a header with `name` or `domain`, and perhaps `family`, `date` or `first_seen`, `rank`, and others |
| rpz | a response policy zone: `NAME CNAME .`, a leading `*.` taken off, exceptions and other triggers passed over |

Names are of letters, digits, `-` and `_`; others than ASCII letters are taken for an IDN and become `xn--`. Files may
be gzip (`.gz`) or zip (`.zip`, its first file). URLs are `http(s)://`, read with a deadline.
"""

import csv
import gzip
import io
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, NamedTuple, cast
from urllib.parse import urlsplit

from verdicts import list_formats
from verdicts.names import BadName, asked, normalise, shown

URL_DEADLINE = 60  # seconds without a byte
CUT = (EOFError, zlib.error, zipfile.BadZipFile, HTTPException)  # what files that are not whole raise


class BadRow(ValueError):
    """A row that does not follow its form; the message names file and line, and what was expected."""


class Row(NamedTuple):
    """One name of a list, normalised, and what the list says of it."""

    name: str
    columns: dict[str, str]  # of a CSV: all its other columns
    line: int = 0

    @property
    def family(self) -> str:
        return self.columns.get("family", "").strip().lower()  # as the fixed folds write them

    @property
    def date(self) -> str:
        return self.columns.get("first_seen") or self.columns.get("date", "")


Lines = Iterator[tuple[int, str]]


def read(place: str | Path, form: str) -> Iterator[Row]:
    """Stream the rows of a file, of each file in a folder, or of a URL.

    Raises `BadRow`, and OSError for a file or URL that is not there or not whole.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r}: expected one of {', '.join(FORMS)}")
    for file in _files(place):
        try:
            with _opened(file) as stream:
                lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(stream, 1))
                for number, name, columns in FORMS[form](lines, str(file)):
                    yield Row(_name(name, form, f"{file}:{number}"), columns, number)
        except CUT as error:
            raise OSError(f"{file}: {error or type(error).__name__}, expected a whole file") from error
        except OSError as error:
            raise error if str(file) in str(error) else OSError(f"{file}: {error}") from error


def _name(text: str, form: str, place: str) -> str:
    """A list's name, normalised; raises `BadRow`."""
    try:
        name = normalise(asked(text))
    except BadName as error:
        raise BadRow(f"{place}: {error}, expected a {form} row") from error
    if "\\" in name:
        raise BadRow(f"{place}: {shown(text)}: expected letters, digits, - and _ alone in a {form} row")
    return name


def _files(place: str | Path) -> list[str | Path]:
    if isinstance(place, str) and place.startswith(("http://", "https://")):
        return [place]
    if "://" in str(place):
        raise OSError(f"{place}: expected a path, or a URL of http or https")
    path = Path(place)
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))  # as macOS leaves behind


@contextmanager
def _opened(place: str | Path) -> Iterator[IO[str]]:
    raw = urllib.request.urlopen(place, timeout=URL_DEADLINE) if isinstance(place, str) else place.open("rb")
    with raw:
        name = urlsplit(place).path if isinstance(place, str) else place.name
        data: IO[bytes]
        if name.lower().endswith(".gz"):
            data = cast(IO[bytes], gzip.open(raw))
        elif name.lower().endswith(".zip"):
            archive = zipfile.ZipFile(raw if raw.seekable() else io.BytesIO(raw.read()))
            files = [member for member in archive.infolist() if not member.is_dir()]
            if not files:
                raise OSError("no file in it, expected one")
            try:
                data = archive.open(files[0])
            except RuntimeError as error:  # encrypted, or packed in a way that Python does not know
                raise OSError(str(error)) from error
        else:
            data = raw
        yield io.TextIOWrapper(data, encoding="utf-8-sig", errors="surrogateescape", newline="")
        if isinstance(raw, HTTPResponse) and raw.length:  # a connection that ended early is no error of its own
            raise OSError(f"{raw.length} octets are missing, expected a whole file")


Parsed = Iterator[tuple[int, str, dict[str, str]]]


def _listed(form: str) -> Callable[[Lines, str], Parsed]:
    """A form that lists of decisions are imported from, too."""

    def rows(lines: Lines, file: str) -> Parsed:
        for number, found in list_formats.read((line for _, line in lines), form):
            if isinstance(found, list_formats.Row):
                if not found.allows:
                    yield number, found.name, {}
            elif not isinstance(found, list_formats.OtherTrigger):
                raise BadRow(f"{file}:{number}: {found}")

    return rows


def _ranked(lines: Lines, file: str) -> Parsed:
    for number, line in lines:
        if not line:
            continue
        rank, comma, name = line.partition(",")
        if not comma or not rank.isdigit():
            raise BadRow(f"{file}:{number}: {shown(line)}, expected RANK,NAME")
        yield number, name.partition(",")[0].strip('"'), {"rank": rank}


def _table(lines: Lines, file: str, name_of: tuple[str, ...]) -> Parsed:
    numbers = [0]

    def counted() -> Iterator[str]:
        for number, line in lines:
            numbers[0] = number
            yield line

    rows = csv.reader(counted(), strict=True)
    try:
        header = [column.strip().lower().replace(" ", "_") for column in next(rows, [])]
        column = next((header.index(name) for name in name_of if name in header), None)
        if column is None:
            raise BadRow(f"{file}:1: header {shown(','.join(header))}, expected a column {' or '.join(name_of)}")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise BadRow(f"{file}:{numbers[0]}: {len(row)} columns, expected {len(header)}")
            yield numbers[0], row[column], {key: row[i] for i, key in enumerate(header) if i != column}
    except csv.Error as error:
        raise BadRow(f"{file}:{numbers[0]}: {error}, expected comma-separated columns") from error


def _domcop(lines: Lines, file: str) -> Parsed:
    return _table(lines, file, ("domain",))


def _csv(lines: Lines, file: str) -> Parsed:
    return _table(lines, file, ("name", "domain", "qname"))


FORMS: dict[str, Callable[[Lines, str], Parsed]] = {
    "plain": _listed("plain"), "ctc": _listed("plain"), "hosts": _listed("hosts"), "ranked": _ranked,
    "domcop": _domcop, "csv": _csv, "rpz": _listed("rpz"),
}  # fmt: skip
