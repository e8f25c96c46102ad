"""Names as DNS compares them: parsed from presentation form, without case, without the final dot.

A normalised qname is ASCII in presentation form (RFC 1035 section 5.1, RFC 4343): lower case, no final dot,
every octet that is not a letter, digit, `-` or `_` written as `\\DDD`, except that a dot or a backslash inside
a label is written `\\.` and `\\\\`. The root is `.`. The same octets always give the same text, so text
comparison is name comparison.
"""

import ipaddress
import re
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import idna
from publicsuffixlist import PublicSuffixList

MAX_WIRE_OCTETS = 255  # RFC 1035 section 2.3.4: with length octets and the root
MAX_LABEL_OCTETS = 63
MAX_TEXT = 4 * MAX_WIRE_OCTETS  # of presentation form: an octet is written in four, a length octet as a dot

_PLAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*").fullmatch
_PLAIN_OCTETS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_LABEL = re.compile(r"(?:\\.|[^.\\])+", re.DOTALL)

# RFC 6761 and the registry it opened (RFC 6762, 7686, 9476), and ICANN's reserved `internal`. `arpa` stands
# apart: it is not for the model either, whatever the registry says of its parts.
SPECIAL_USE = frozenset(["alt", "example", "internal", "invalid", "local", "localhost", "onion", "test"])
SPECIAL_USE_ZONES = ("example.com", "example.net", "example.org")


class BadName(ValueError):
    """A name that is not a domain name; the message names it and says what was expected."""


class Parts(NamedTuple):
    """A normalised name, split at the Public Suffix List's boundaries.

    `registered` is the registered domain (eTLD+1); it is the whole name where the name is itself a public
    suffix, so that it is never empty.
    """

    subdomain: str
    registered: str
    suffix: str


def normalise(name: str) -> str:
    """Return the normalised qname of a name in presentation form.

    Raises `BadName` for an empty name, an empty label, a label over 63 octets, a name over 255 octets on the
    wire, or a cut escape.
    """
    if len(name) <= 253 and _PLAIN(name):
        return name
    if name == ".":
        return name
    labels = _split_octets(name)
    if sum(map(len, labels)) + len(labels) + 1 > MAX_WIRE_OCTETS:
        raise BadName(f"name {shown(name)}: longer than {MAX_WIRE_OCTETS} octets on the wire")
    return ".".join(map(_label_text, labels))


def asked(name: str) -> str:
    """A name in presentation form as resolvers are asked for it: one in another script by IDNA, one with symbols, such
    as emoji, which IDNA 2008 knows none of, as browsers ask. Raises `BadName`."""
    if name.isascii():
        return name
    try:
        try:
            return idna.encode(name, uts46=True).decode()
        except idna.InvalidCodepoint:
            return ".".join(map(_with_symbols, idna.uts46_remap(name, std3_rules=False).split(".")))
    except UnicodeError as error:  # IDNAError is one
        raise BadName(f"name {shown(name)}: no name that IDNA can write") from error


def _with_symbols(label: str) -> str:
    """A label by UTS 46, which browsers go by: it takes symbols, and signs that join only where a script has them."""
    if label.isascii():
        return label
    idna.check_bidi(label)
    idna.check_initial_combiner(label)
    for place, sign in enumerate(label):
        if sign in "\u200c\u200d" and not idna.valid_contextj(label, place):
            raise idna.InvalidCodepointContext(label)
    return "xn--" + label.encode("punycode").decode()


def typed(name: str) -> str:
    """The normalised qname that somebody means who writes this: one in another script as resolvers are asked for it, or
    its octets as they are where IDNA cannot write it. Raises `BadName`."""
    with suppress(BadName):
        name = asked(name)
    return normalise(name)


def labels_of(name: str) -> list[str]:
    """Split a normalised name at its dots, escaped dots left alone. The root has no labels."""
    if name == ".":
        return []
    return name.split(".") if "\\" not in name else _LABEL.findall(name)


def suffixes(name: str) -> list[str]:
    """The name and each of its parents, longest first, without the root."""
    labels = labels_of(name)
    return [".".join(labels[i:]) for i in range(len(labels))]


def is_under(name: str, zone: str) -> bool:
    """True when the normalised name is `zone` or lies below it."""
    return zone == "." or name == zone or name.endswith("." + zone)


def ineligible(name: str) -> str | None:
    """Why the model must not be asked for this normalised name, or None when it may (contract 2, rule 2)."""
    if "." not in strip_service(name) or name == ".":
        return "single-label"
    top = name.rpartition(".")[2]
    if top == "arpa":
        return "arpa"
    if top in SPECIAL_USE or name.endswith(SPECIAL_USE_ZONES) and any(is_under(name, z) for z in SPECIAL_USE_ZONES):
        return "special-use"
    return None


@lru_cache(65536)
def is_address(text: str, zoned: bool = False) -> bool:
    """True for an IP address; where `zoned`, also for one with a zone (`fe80::1%eth0`), which no `ip` field takes."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return zoned or "%" not in text


def strip_service(name: str) -> str:
    """The name without its leading `_service` labels (RFC 8552); the last label always stays."""
    while name.startswith("_") and "." in name:
        name = name.partition(".")[2]
    return name


@lru_cache(maxsize=1)
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()


@lru_cache(maxsize=65536)
def split(name: str) -> Parts:
    """Split a normalised name into subdomain, registered domain and public suffix (private suffixes count)."""
    labels = labels_of(name)
    # The list knows nothing of escapes: to it a dot inside a label would part labels.
    plain = name if "\\" not in name else ".".join(label.replace(".", "?") for label in labels)
    rest = len(labels) - len((_public_suffixes().publicsuffix(plain) or plain).split("."))
    if rest <= 0:
        return Parts("", name, name)
    subdomain, suffix = ".".join(labels[: rest - 1]), ".".join(labels[rest:])
    return Parts(subdomain, f"{labels[rest - 1]}.{suffix}", suffix)


def is_public_suffix(name: str) -> bool:
    """True for a name that people register under, such as `co.uk` or `github.io`."""
    return split(name).suffix == name


def shown(name: str) -> str:
    """A name fit for a message or a log line: ASCII, no control octets, at most 80 characters."""
    text = ascii(name)
    return text if len(text) <= 80 else text[:76] + "...'"


def defanged(name: str) -> str:
    """The name as analysts paste it into mail and tickets, so that nothing makes a link of it."""
    return name.replace(".", "[.]")


def _split_octets(name: str) -> list[bytes]:
    """The labels of a presentation-form name as lower-cased octets."""
    raw = name.encode("utf-8", "surrogatepass")
    if not raw:
        raise BadName("name '': expected at least one label")
    if len(raw) > MAX_TEXT:  # before it is read octet by octet: it may be megabytes
        raise BadName(f"name {shown(name)}: longer than {MAX_WIRE_OCTETS} octets on the wire")
    labels: list[bytes] = []
    label = bytearray()
    position = 0
    while position < len(raw):
        octet = raw[position]
        position += 1
        if octet == 0x2E:  # an unescaped dot ends the label
            labels.append(bytes(label))
            label.clear()
            continue
        if octet == 0x5C:
            octet, position = _escaped(raw, position, name)
        label.append(octet)
    if label or raw.endswith(b"\\."):
        labels.append(bytes(label))
    for part in labels:
        if not part:
            raise BadName(f"name {shown(name)}: empty label")
        if len(part) > MAX_LABEL_OCTETS:
            raise BadName(f"name {shown(name)}: label longer than {MAX_LABEL_OCTETS} octets")
    return [part.lower() for part in labels]


def _escaped(raw: bytes, position: int, name: str) -> tuple[int, int]:
    digits = raw[position : position + 3]
    if digits[:1].isdigit():
        if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
            return int(digits), position + 3
        raise BadName(f"name {shown(name)}: escape \\{digits.decode('ascii', 'replace')}, expected \\000 to \\255")
    if not digits:
        raise BadName(f"name {shown(name)}: ends inside an escape")
    return raw[position], position + 1


def _label_text(label: bytes) -> str:
    return "".join(chr(o) if o in _PLAIN_OCTETS else "\\" + chr(o) if o in b".\\" else f"\\{o:03d}" for o in label)
