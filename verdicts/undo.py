"""Undo: which changes may be taken back, by whom, and what is written to do so; pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from verdicts.names import shown
from verdicts.store import Document

MOST = 10_000  # changes of one commit that are taken back at once
NEVER = frozenset({"token", "model", "job"})  # secrets must not come back, and models have their own roll-back
BY_ANALYSTS = frozenset({"list", "label", "vetting", "incident"})  # the others are an administrator's


class NotUndone(ValueError):
    """A change that cannot be taken back; the message says which and why."""


def may_undo(kind: str, role: str) -> bool:
    """True where a person of this role may take back a change of this kind."""
    return kind not in NEVER and (role == "admin" or (role == "analyst" and kind in BY_ANALYSTS))


def former(change: Document, now: int) -> Document:
    """What to write so that a change is taken back. Raises `NotUndone`; `now` in Unix milliseconds."""
    if change.kind in NEVER:
        raise NotUndone(f"kind {shown(change.kind)}: cannot be undone")
    if _past(change, now):
        expired = datetime.fromtimestamp(change.previous["expires"] / 1000, UTC)  # type: ignore[index]
        raise NotUndone(
            f"{change.kind} {shown(change.key)}: what would come back expired on {expired:%Y-%m-%d %H:%M} UTC"
        )
    return Document(change.kind, change.key, change.previous)


def all_former(changes: Iterable[Document], now: int) -> list[Document]:
    """The same for the changes of one commit; an entry that expired meanwhile stays away. Raises `NotUndone`."""
    return [
        Document(change.kind, change.key, None) if _past(change, now) else former(change, now) for change in changes
    ]


def _past(change: Document, now: int) -> bool:
    expires = (change.previous or {}).get("expires")
    return change.kind == "list" and isinstance(expires, int) and expires <= now
