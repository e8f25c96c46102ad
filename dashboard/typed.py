"""What people type or paste, as the store has it: names refanged and normalised, clients in their one spelling."""

import ipaddress
import re
from urllib.parse import urlencode

from verdicts import names

MAX_STARS = 8  # of a wildcard: each one more multiplies what a long name costs to compare
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*(?::|\[:\])//", re.IGNORECASE)
_DOT = re.compile(r"\[\.\]|\(\.\)|\{\.\}|\[dot\]|\(dot\)", re.IGNORECASE)
_PORT = re.compile(r":[0-9]{1,5}$")


class BadFilter(ValueError):
    """A filter that can match nothing; the message names it and says what was expected."""


def host_of(text: str) -> str:
    """The host in what was pasted: a name or an address, a URL, a mail address; defanged or not."""
    text = _DOT.sub(".", text.strip())
    text = _SCHEME.sub("", text, count=1) if _SCHEME.match(text) else text
    text = re.split(r"[/?#]", text, maxsplit=1)[0].rpartition("@")[2]
    if text.startswith("[") and "]" in text:  # an address of version 6, as in a URL
        return text[1 : text.index("]")]
    return _PORT.sub("", text) if text.count(":") == 1 else text


def name_of(text: str) -> str:
    """The normalised name in what was pasted. Raises `verdicts.names.BadName`."""
    host = host_of(text)
    host = host.rstrip(".") or host[:1]
    return names.typed(host)


def pattern_of(text: str) -> str:
    """A filter of names: exact, with a dot before it all below it too, or with `*`. Raises `BadFilter`."""
    text = text.strip()
    if "*" in text:
        text = re.sub(r"\*+", "*", _DOT.sub(".", text).lower())
        if text.count("*") > MAX_STARS:
            raise BadFilter(f"name {names.shown(text)}: {text.count('*')} wildcards, expected at most {MAX_STARS}")
        return text
    try:
        return ("." if text.startswith(".") and text != "." else "") + name_of(text.removeprefix(".")) if text else ""
    except names.BadName as error:
        raise BadFilter(str(error)) from None


def client_of(text: str) -> str:
    """A filter of clients: an address or a prefix in the spelling of the log, or what a client was hashed to.

    Raises `BadFilter`.
    """
    text = _DOT.sub(".", text.strip())
    try:
        return str(ipaddress.ip_network(text, strict=False) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        if "/" in text:
            raise BadFilter(
                f"client {names.shown(text)}: expected an address, or a prefix such as 192.0.2.0/24"
            ) from None
        return text


def client_in(text: str) -> str:
    """The address or prefix that was pasted where a name may stand; empty where it is none.

    Raises `BadFilter` for an address with a length of a prefix that it cannot have: who typed that meant no host.
    """
    text = _DOT.sub(".", text.strip())
    address, _, length = text.partition("/")
    if names.is_address(address, zoned=True) and length.isdecimal():
        return client_of(text)
    return next((client_of(each) for each in (text, host_of(text)) if names.is_address(each, zoned=True)), "")


def page_of(name: str) -> str:
    """Where a normalised name is looked up; a dot behind one that looks like an address, which would be a client."""
    return "/lookup?" + urlencode({"q": f"{name}." if client_in(name) else name})
