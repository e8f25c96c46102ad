"""Reading the vetted lists, and what stands in the way between a name and its verdict."""

from collections.abc import Iterable
from typing import Any

from dashboard.data import Data
from verdicts import names
from verdicts.policy import LIST_NAMES
from verdicts.store import Document, Store

HOUR = 3_600_000  # milliseconds
SILENT_MS = 10_000
DURATIONS: dict[str, int | None] = {
    "1 hour": HOUR,
    "1 day": 24 * HOUR,
    "7 days": 168 * HOUR,
    "30 days": 720 * HOUR,
    "1 year": 8760 * HOUR,
    "for good": None,
}
SHOWN_LIST = {"benign": "allowlist", "blocklist": "blocklist", "honeypot": "honeypot"}


def keys_over(name: str) -> tuple[str, ...]:
    """The keys of all entries that would hold a normalised name, in the order in which they decide: the longest suffix
    first, then the tie's order."""
    return tuple(f"{kind}/{suffix}" for suffix in names.suffixes(name) for kind in LIST_NAMES)


async def entries_over(data: Data, name: str) -> list[Document]:
    """The list entries that hold a normalised name, the deciding one first."""
    keys = keys_over(name)
    return sorted(await data.several("list", keys, keep=0.5), key=lambda document: keys.index(document.key))


def deciding(store: Store, asked: Iterable[str]) -> dict[str, str]:
    """Of some normalised names the key of the list entry that decides each, empty where none does. Blocks."""
    over = {name: keys_over(name) for name in asked}
    held = {
        document.key for document in store.get_many("list", sorted({key for keys in over.values() for key in keys}))
    }
    return {name: next((key for key in keys if key in held), "") for name, keys in over.items()}


def allowed(store: Store, asked: Iterable[str]) -> set[str]:
    """Of some names those that the allowlist lets pass now. Blocks."""
    return {name for name, key in deciding(store, asked).items() if key.startswith("benign/")}


def overruled(store: Store, chosen: Iterable[str], kind: str) -> list[tuple[str, str]]:
    """Of names that were just put on a list: those that another entry decides still, with its key. Blocks."""
    found = deciding(store, chosen).items()
    return [(name, key) for name, key in found if key and not key.startswith(f"{kind}/")]


def suffixes_listed(store: Store) -> frozenset[str]:
    """Every name with an entry on a vetted list. Blocks: there may be a million."""
    return frozenset(key.partition("/")[2] for key in store.keys("list"))


def still_holds(decision: dict[str, Any], now: int) -> bool:
    """False once the list entry of a decision has expired: the name is to be vetted again."""
    expires = decision.get("expires")
    return not (decision.get("list") and isinstance(expires, int) and expires <= now)


def entry_row(document: Document) -> dict[str, Any]:
    """One list entry as a row: list, suffix, note, author, time, expires."""
    kind, _, suffix = document.key.partition("/")
    body = document.body or {}
    return {
        "list": kind,
        "suffix": suffix,
        "note": body.get("note") or document.note,
        "expires": body.get("expires"),
        "author": body.get("author") or document.author,
        "time": document.time,
        "epoch": document.epoch,
        "key": document.key,
    }


def in_force(epoch: int, resolvers: Iterable[dict[str, Any]], now: int) -> tuple[int, int]:
    """How many of the resolvers that report know the decision of `epoch`, and how many there are.

    A resolver reports each second, also when it has nothing to say; one silent for SILENT_MS is not counted.
    """
    known = [int(r.get("epoch", 0)) >= epoch for r in resolvers if now - int(r.get("time") or now) < SILENT_MS]
    return sum(known), len(known)


def enforcing(paused: bool) -> dict[str, str]:
    """Whether the resolvers may block, as a fact."""
    return {"label": "Enforcing", "value": "paused" if paused else "as each resolver is set", "kind": "state"}


def removed(wanted: int, reply: dict[str, Any]) -> str:
    """How a removal of entries went: some may have been gone before."""
    gone = len(reply.get("absent") or ())
    told = f"Removed {wanted - gone}; Audit can undo it" if wanted > gone else "Nothing removed"
    return told + (f"; {gone} gone already" if gone else "")
