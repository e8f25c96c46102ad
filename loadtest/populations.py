"""Names to ask for: popular and harmful populations, made from words or read from a file; one-time names; a DGA.

Standard library only; the same seed gives the same names. The names look real, because a model must be asked for
them (it is not asked for `.test` or `example.org`), so some may belong to someone: load only resolvers whose
upstream is your own.
"""

import bisect
import csv
import gzip
import itertools
import random
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TextIO

from verdicts.dnswire import BadMessage, encode_name

_WORDS = (
    "acorn alpine amber anchor apple arrow aspen atlas autumn badge bakery beacon berry birch blue board bold book "
    "bridge bright brook cabin camp candle canvas cedar chain chart city clear cliff cloud clover coast copper coral "
    "craft crane creek crown daily dawn deal delta desk dream drift eagle earth east echo elm ember energy family "
    "farm field finch fire fish flag flow forest forge fox fresh frost garden gate gift glass globe gold grand green "
    "grove guide harbor hawk health hill home honey house ice iron island ivory jade jet journal juniper key kind "
    "king kite lake lamp land lark leaf ledger light lily lime link lion local lotus lunar maple market meadow media "
    "metro mill mind mint mirror moon morning music nest news nimble noble north oak ocean olive open orbit otter "
    "paper park path peak pearl pine pixel planet plant plaza point polar pond prime pulse quick rain raven red reef "
    "ridge river road rock root rose ruby sage sail salt sand school sea shop silver sky smart snow solar south spark "
    "spring star stone store storm studio summit sun swift table tea team temple terra tide tiger toast tower town "
    "trade trail tree trust urban valley velvet view village vine violet vista wave west wild willow wind wing winter "
    "wood work world yard zen"
).split()
_TLDS = {"com": 55, "net": 10, "org": 9, "io": 5, "de": 4, "co.uk": 4, "fr": 2, "nl": 2, "app": 2, "jp": 2, "dev": 1}
_HOSTS = {
    "": 30, "www": 25, "api": 8, "cdn": 6, "static": 5, "img": 4, "mail": 4, "assets": 3, "login": 3, "events": 3,
    "s3": 2, "edge": 2, "video": 2, "ads": 2, "push": 1, "sync": 1, "cdn.eu": 1, "api.v2": 1,
}  # fmt: skip
_CHEAP_TLDS = ("top", "xyz", "icu", "click", "live", "info", "site", "online")
_LURES = ("login", "verify", "secure", "account", "update", "wallet", "support", "billing", "bonus", "invoice")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_HEX = "0123456789abcdef"
_BASE32 = _LETTERS + "234567"


class BadPopulation(ValueError):
    """A file of names that holds none; the message names it."""


class Zipf:
    """Draws from a population whose k-th name is asked for in proportion to 1/k**exponent."""

    def __init__(self, names: Sequence[str], exponent: float = 1.0) -> None:
        if not names:
            raise BadPopulation("a population needs at least one name")
        self.names = names
        self._cumulative = list(itertools.accumulate((k + 1) ** -exponent for k in range(len(names))))

    def draw(self, rng: random.Random) -> str:
        """One name."""
        return self.names[bisect.bisect(self._cumulative, rng.random() * self._cumulative[-1])]


def benign_names(count: int, seed: int) -> list[str]:
    """`count` distinct names of sites and their hosts, most popular first."""
    rng = random.Random(f"benign {seed}")
    tlds, hosts = list(_TLDS), list(_HOSTS)
    found: dict[str, None] = {}
    while len(found) < count:
        words = rng.sample(_WORDS, rng.choices((1, 2, 3), (2, 7, 1))[0])
        site = ("-" if rng.random() < 0.1 else "").join(words) + (
            str(rng.randrange(1, 100)) if rng.random() < 0.05 else ""
        )
        domain = f"{site}.{rng.choices(tlds, tuple(_TLDS.values()))[0]}"
        drawn = [rng.choices(hosts, tuple(_HOSTS.values()))[0] for _ in range(rng.choice((1, 1, 2, 4)))]
        for host in dict.fromkeys(drawn):  # a set of texts has another order in each process
            found[f"{host}.{domain}" if host else domain] = None
    return list(found)[:count]


def malicious_names(count: int, seed: int) -> list[str]:
    """`count` distinct names as phishing and fraud use them: a lure, a borrowed word, a cheap top level."""
    rng = random.Random(f"malicious {seed}")
    found: dict[str, None] = {}
    while len(found) < count:
        parts = [rng.choice(_WORDS), rng.choice(_LURES), rng.choice((rng.choice(_LURES), str(rng.randrange(10, 9999))))]
        rng.shuffle(parts)
        found[f"{'-'.join(parts)}.{rng.choice(_CHEAP_TLDS)}"] = None
    return list(found)


def one_time_name(rng: random.Random, parents: Sequence[str]) -> str:
    """A name nobody asks for twice: a hash, a session or a probe label below one of `parents`."""
    parent = rng.choice(parents)
    match rng.randrange(4):
        case 0:
            return f"{_text(rng, _HEX, 32)}.{parent}"
        case 1:
            return f"{_text(rng, _HEX, 8)}-{_text(rng, _HEX, 4)}-4{_text(rng, _HEX, 3)}.{parent}"
        case 2:
            return f"{rng.randrange(10**9, 10**10)}.probe.{parent}"
        case _:
            return f"{_text(rng, _LETTERS, 10)}{rng.randrange(100)}.{parent}"


def tunnel_name(rng: random.Random, parent: str) -> str:
    """A name that carries data out: long base32 labels."""
    return f"{_text(rng, _BASE32, 52)}.{_text(rng, _BASE32, rng.randrange(20, 52))}.{parent}"


class Dga:
    """A made-up domain generation algorithm: `per_day` names a day, of which its owner registered `registered`.

    No real family is imitated. A bot draws without knowing which names exist, so that with the default share 95 of
    100 of its queries end in NXDOMAIN.
    """

    def __init__(self, seed: int, per_day: int = 1000, registered: float = 0.05) -> None:
        self.seed, self.per_day, self.registered = seed, per_day, registered

    def names(self, day: int) -> list[str]:
        """The day's names, in the order of generation."""
        return list(_dga_day(self.seed, day, self.per_day))

    def existing(self, day: int) -> frozenset[str]:
        """The day's registered names."""
        rng = random.Random(f"owner {self.seed} {day}")
        return frozenset(rng.sample(_dga_day(self.seed, day, self.per_day), round(self.per_day * self.registered)))


@lru_cache(maxsize=64)
def _dga_day(seed: int, day: int, count: int) -> tuple[str, ...]:
    rng = random.Random(f"dga {seed} {day}")
    found: dict[str, None] = {}
    while len(found) < count:
        found[f"{_text(rng, _LETTERS, rng.randrange(12, 20))}.{rng.choice(('com', 'net', 'info', 'biz'))}"] = None
    return tuple(found)


def read_names(path: str) -> list[str]:
    """The names of a file in its order, most popular first: one a line or a CSV, plain or gzip.

    Of a CSV the column `name` or `domain` is read, else (as in `rank,name` lists) the first that holds a dot.
    Comments (`#`) and doubles are left out; names in other scripts are asked as IDNA writes them. Raises
    `BadPopulation` for what is no name, and when nothing is left.
    """
    found: dict[str, None] = {}
    try:
        with _opened(path) as lines:
            for name in filter(None, _column(lines)):
                found[_askable(path, name)] = None
    except (UnicodeDecodeError, EOFError, zlib.error, csv.Error) as error:
        raise BadPopulation(f"{path}: {error}: expected text, plain or (named .gz) gzip") from error
    except OSError as error:
        raise BadPopulation(f"{path}: {error.strerror or error}, expected a file of names") from error
    if not found:
        raise BadPopulation(f"{path}: expected names, one a line, or a CSV with a column `name`")
    return list(found)


def _askable(path: str, name: str) -> str:
    """The name as it goes onto the wire."""
    try:
        ascii = name if name.isascii() else name.encode("idna").decode()
        if len(encode_name(ascii)) > 255 or " " in ascii:
            raise BadMessage
    except (BadMessage, UnicodeError):
        raise BadPopulation(f"{path}: {name[:80]!r}: expected a domain name") from None
    return ascii


def _opened(path: str) -> TextIO:
    if Path(path).suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="strict", newline="")
    return open(path, encoding="utf-8", newline="")


def _column(lines: TextIO) -> Iterator[str]:
    column: int | None = None
    for row in csv.reader(line for line in lines if not line.startswith("#")):
        if column is None:
            lowered = [cell.strip().lower() for cell in row]
            named = next((lowered.index(title) for title in ("name", "domain") if title in lowered), None)
            if named is not None:
                column = named
                continue
            column = next((i for i, cell in enumerate(row) if "." in cell), 0)
        if column < len(row):
            yield row[column].strip().lower().rstrip(".")


def _text(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choices(alphabet, k=length))
