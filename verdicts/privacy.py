"""Client addresses as they may be kept: whole, truncated, or as a keyed hash. Applied before anything is written."""

import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from verdicts.observations import Batch

Mode = Literal["whole", "truncated", "keyed"]
MODES: tuple[Mode, ...] = ("whole", "truncated", "keyed")
KEPT_BITS = {4: 24, 6: 56}  # of a truncated address
HASH_DIGITS = 32
MIN_KEY_OCTETS = 16


class BadKey(ValueError):
    """A key file that cannot serve."""


def truncated(client: str) -> str:
    """The address with its host part zeroed: /24 of IPv4, /56 of IPv6. What is no address becomes empty."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        address = mapped
    return str(ipaddress.ip_network((address, KEPT_BITS[address.version]), strict=False).network_address)


def keyed(client: str, key: bytes) -> str:
    """The same text for the same client under one key, and nothing of it without the key. Nobody stays nobody."""
    return client and hmac.new(key, client.encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def anonymiser(mode: str, key: bytes = b"") -> Callable[[str], str] | None:
    """The function from a client to what is kept of it; None where it is kept whole."""
    if mode == "whole":
        return None
    if mode == "truncated":
        return lru_cache(65536)(truncated)
    if mode == "keyed":
        if len(key) < MIN_KEY_OCTETS:
            raise BadKey(f"client key: {len(key)} octets, expected {MIN_KEY_OCTETS} or more")
        return lru_cache(65536)(lambda client: keyed(client, key))
    raise ValueError(f"client privacy {mode!r}: expected one of {', '.join(MODES)}")


def read_key(path: Path) -> bytes:
    """The key in a file, without the white space around it. Raises `BadKey`."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise BadKey(
            f"client key {path}: {error.strerror}, expected a file of {MIN_KEY_OCTETS} octets or more"
        ) from error
    if len(key) < MIN_KEY_OCTETS:
        raise BadKey(f"client key {path}: {len(key)} octets, expected {MIN_KEY_OCTETS} or more")
    return key


def anonymised(batch: Batch, change: Callable[[str], str]) -> Batch:
    """The batch with every client changed; rows stay rows, so that what was promised still adds up."""
    return msgspec.structs.replace(
        batch, rows=[msgspec.structs.replace(row, client=change(row.client)) for row in batch.rows]
    )
