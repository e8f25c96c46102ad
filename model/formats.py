"""Published lists of domain names, read as a stream of rows from a path, a folder or a URL.

| form | looks like |
|---|---|
| plain, ctc | a name a line; `#` begins a comment (the CTC blocklist is one) |
| hosts | `0.0.0.0 NAME...`; names of the machine itself are passed over |
| ranked | `RANK,NAME` without a header (Tranco, Umbrella, Majestic's short form) |
| domcop | `Rank,Domain,Open Page Rank` with a header, quoted or not |
| csv | a header with `name` or `domain`, and perhaps `family`, `date` or `first_seen`, `rank`, and others |
| rpz | a response policy zone: `NAME CNAME .`, a leading `*.` taken off |

Files may be gzip (`.gz`) or zip (`.zip`, its first member). URLs are `http(s)://`, read with a deadline.
"""

import csv
import gzip
import io
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

from verdicts.names import BadName, normalise, shown

URL_DEADLINE = 60  # seconds without a byte
HOSTS_OWN = frozenset(
    "localhost localhost.localdomain local broadcasthost ip6-localhost ip6-loopback ip6-localnet ip6-mcastprefix "
    "ip6-allnodes ip6-allrouters ip6-allhosts 0.0.0.0".split()
)


class BadRow(ValueError):
    """A row that does not follow its form; the message names file and line, and what was expected."""


class Row(NamedTuple):
    """One name of a list, normalised, and what the list says of it."""

    name: str
    columns: dict[str, str]  # of a CSV: all its other columns

    @property
    def family(self) -> str:
        return self.columns.get("family", "")

    @property
    def date(self) -> str:
        return self.columns.get("first_seen") or self.columns.get("date", "")


Lines = Iterator[tuple[int, str]]


def read(place: str | Path, form: str, on_bad: Callable[[BadRow], None] | None = None) -> Iterator[Row]:
    """Stream the rows of a file, of each file in a folder, or of a URL.

    A bad row raises `BadRow`, or goes to `on_bad` and is passed over.
    """
    if form not in FORMS:
        raise ValueError(f"form {form!r}: expected one of {', '.join(FORMS)}")
    for file in _files(place):
        with _opened(file) as stream:
            lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(stream, 1))
            for number, name, columns in FORMS[form](lines, str(file)):
                try:
                    yield Row(normalise(name.rstrip(".") if name != "." else name), columns)
                except BadName as error:
                    bad = BadRow(f"{file}:{number}: {error}, expected a {form} row")
                    if on_bad is None:
                        raise bad from error
                    on_bad(bad)


def _files(place: str | Path) -> list[str | Path]:
    if isinstance(place, str) and place.startswith(("http://", "https://")):
        return [place]
    path = Path(place)
    return sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]


@contextmanager
def _opened(place: str | Path) -> Iterator[IO[str]]:
    raw = urllib.request.urlopen(place, timeout=URL_DEADLINE) if isinstance(place, str) else place.open("rb")
    with raw:
        name = str(place).lower()
        data: IO[bytes]
        if name.endswith(".gz"):
            data = cast(IO[bytes], gzip.open(raw))
        elif name.endswith(".zip"):
            archive = zipfile.ZipFile(raw if raw.seekable() else io.BytesIO(raw.read()))
            data = archive.open(archive.namelist()[0])
        else:
            data = raw
        yield io.TextIOWrapper(data, encoding="utf-8-sig", errors="surrogateescape", newline="")


Parsed = Iterator[tuple[int, str, dict[str, str]]]


def _plain(lines: Lines, file: str) -> Parsed:
    for number, line in lines:
        text = line.partition("#")[0].strip()
        if text:
            yield number, text, {}


def _hosts(lines: Lines, file: str) -> Parsed:
    for number, line in lines:
        address, *found = line.partition("#")[0].split() or [""]
        if not address:
            continue
        if not found or not all(c in "0123456789abcdefABCDEF.:%" for c in address.partition("%")[0]):
            raise BadRow(f"{file}:{number}: {shown(line)}, expected ADDRESS NAME")
        for name in found:
            if name not in HOSTS_OWN:
                yield number, name, {}


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

    rows = csv.reader(counted())
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


def _domcop(lines: Lines, file: str) -> Parsed:
    return _table(lines, file, ("domain",))


def _csv(lines: Lines, file: str) -> Parsed:
    return _table(lines, file, ("name", "domain", "qname"))


def _rpz(lines: Lines, file: str) -> Parsed:
    for number, line in lines:
        words = line.partition(";")[0].split()
        if not words or words[0].startswith("$") or "SOA" in words or "NS" in words:
            continue
        if line[0].isspace() and words[0].isdigit():  # the numbers of a SOA record over several lines
            continue
        if "CNAME" not in words and "A" not in words and "AAAA" not in words:
            if words[0] in ("(", ")") or words[0].isdigit():
                continue
            raise BadRow(f"{file}:{number}: {shown(line)}, expected NAME [TTL] [IN] CNAME|A|AAAA TARGET")
        if "rpz-" not in words[0]:  # triggers on addresses and name servers are not names
            yield number, words[0].removeprefix("*."), {}


FORMS: dict[str, Callable[[Lines, str], Parsed]] = {
    "plain": _plain, "ctc": _plain, "hosts": _hosts, "ranked": _ranked, "domcop": _domcop, "csv": _csv, "rpz": _rpz,
}  # fmt: skip
