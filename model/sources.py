"""Which lists teach and which only judge: `sources.toml`, typed."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from model.formats import FORMS

SOURCES = Path(__file__).parent / "sources.toml"
KINDS = ("benign", "dga", "feed")
CHOICES = {
    "form": tuple(FORMS), "kind": KINDS, "use": ("teach", "judge"),
    "stratum": ("", "umbrella", "rdns", "university-bank", "china"),
}  # fmt: skip
_BARRED = re.compile(
    r"\b(none|no licen[cs]e|unlicen[cs]ed|not stated|research|non[- ]?commercial|nc)\b", re.IGNORECASE
).search


class BadSources(ValueError):
    """A sources file that breaks its rules; the message names the source and what was expected."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One list. `share` weighs it among the teaching lists of its kind; `stratum` names a kind of benign names."""

    path: str
    form: str
    kind: Literal["benign", "dga", "feed"]
    use: Literal["teach", "judge"]
    licence: str
    reason: str
    share: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    stratum: Literal["", "umbrella", "rdns", "university-bank", "china"] = ""


def check_folder(data: str | Path) -> None:
    """Raise `NotADirectoryError` for a path at which no folder of data is."""
    if "://" not in str(data) and not Path(data).is_dir():
        raise NotADirectoryError(f"{data}: no such folder, expected one of lists of names")


def sources_of(data: str | Path) -> list[Source]:
    """The sources of a folder or URL of data: a folder with a `sources.toml` of its own brings other lists than those
    of this release. Raises `BadSources`."""
    own = None if "://" in str(data) else Path(data) / SOURCES.name
    return load_sources(own) if own is not None and own.exists() else load_sources()


def load_sources(file: str | Path = SOURCES) -> list[Source]:
    """The sources in file order; raises `BadSources`."""
    try:
        tables = tomllib.loads(Path(file).read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSources(f"{file}: {error}") from error
    entries = tables.get("source")
    if set(tables) != {"source"} or not isinstance(entries, list) or not entries:
        raise BadSources(f"{file}: tables {sorted(tables)}, expected [[source]] alone, one for each list")
    return [_source(entry, f"{file}: source {number}") for number, entry in enumerate(entries, 1)]


def _source(entry: Any, place: str) -> Source:
    if isinstance(entry, dict) and "path" in entry:
        place += f" ({entry['path']})"
        for key, known in CHOICES.items():
            if key in entry and entry[key] not in known:
                raise BadSources(f"{place}: {key} {entry[key]!r}, expected one of {', '.join(filter(None, known))}")
    try:
        source = msgspec.convert(entry, Source)
    except msgspec.ValidationError as error:
        raise BadSources(f"{place}: {error}") from error
    if source.use == "teach" and (_BARRED(source.licence) or not source.licence.strip()):
        raise BadSources(f"{place}: licence {source.licence!r} may only judge")
    return source
