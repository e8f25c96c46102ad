"""Bearer tokens of resolvers, viewers, analysts and administrators.

A token's text is `verdict_ID_SECRET`: the id names it in logs and lists, the secret is 256 random bits and is
shown once, when it is issued. The store keeps a `token` document per id with the secret's SHA-256; a secret of
that size needs no slow hash. Everything here is pure; whoever holds a StateStore commits the documents.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeGuard

from verdicts.names import shown
from verdicts.store import Document

KIND = "token"
MAX_TEXT = 200  # characters of a name or a note
MAX_HEADER = 200  # characters of an Authorization header that are looked at

Role = Literal["resolver", "viewer", "analyst", "admin"]
ROLES: tuple[Role, ...] = ("resolver", "viewer", "analyst", "admin")
_GRANTS: dict[str, frozenset[str]] = {  # what a token of a role may pass for; a resolver's only for itself
    "resolver": frozenset({"resolver"}),
    "viewer": frozenset({"viewer"}),
    "analyst": frozenset({"viewer", "analyst"}),
    "admin": frozenset({"viewer", "analyst", "admin"}),
}
_TEXT = re.compile(r"verdict_([0-9a-f]{12})_([A-Za-z0-9_-]{43})").fullmatch
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}").fullmatch
_NO_HASH = hashlib.sha256(b"no token has this hash").hexdigest()


class BadToken(ValueError):
    """A token that cannot be issued as asked; the message names the field and what was expected."""


class Unauthorised(Exception):
    """No credential, or one that is not good: unknown, revoked, expired. The message is fit for caller and log."""


class Forbidden(Exception):
    """A good credential whose role does not reach; the message names both."""


class Identity(NamedTuple):
    """Who asks: the token's id, its role and the name it was issued for (a resolver's name, a person's)."""

    id: str
    role: str
    name: str


class Issued(NamedTuple):
    """A new token: the text to hand over, seen only now, and the document to commit."""

    text: str
    document: Document


def issue(role: str, name: str, now: int, expires: int | None = None, note: str = "") -> Issued:
    """Draw a token. `now` and `expires` are Unix milliseconds; no `expires` means until revoked.

    Raises `BadToken` for an unknown role, a name that is not 1 to 63 of letters, digits, `.`, `_`, `@`, `-`, an
    expiry in the past or a note that is too long.
    """
    if role not in ROLES:
        raise BadToken(f"role {shown(role)}: expected one of {', '.join(ROLES)}")
    if not _NAME(name):
        raise BadToken(f"name {shown(name)}: expected 1 to 63 of letters, digits, `.`, `_`, `@`, `-`")
    if expires is not None and expires <= now:
        raise BadToken(f"expires {expires}: expected a time after now, {now}")
    if len(note) > MAX_TEXT:
        raise BadToken(f"note: {len(note)} characters, expected at most {MAX_TEXT}")
    key, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    body = {"role": role, "name": name, "hash": hashed(secret), "created": now, "expires": expires, "note": note}
    return Issued(f"verdict_{key}_{secret}", Document(KIND, key, body))


def revoke(document: Document) -> Document:
    """The document that takes a token away at once; the history keeps who did it."""
    return Document(KIND, document.key, None)


def rotate(document: Document, now: int, grace: int = 0) -> tuple[Issued, list[Document]]:
    """A successor with the same role, name and expiry, and the documents to commit in one go.

    The old token stays good for `grace` milliseconds, so that a resolver can be given the new one in between. Raises
    `BadToken` for one that is over, or was rotated already: what follows that one ends with the grace.
    """
    body = _body(document)
    expires = body.get("expires")
    if body.get("successor"):
        raise BadToken(f"token {document.key}: rotated already, expected its successor {body['successor']}")
    if expires is not None and expires <= now:
        raise BadToken(f"token {document.key}: expired, expected one that is still good")
    issued = issue(body["role"], body["name"], now, expires, body.get("note", ""))
    end = now + grace if expires is None else min(now + grace, expires)
    ending = {**body, "expires": end, "successor": issued.document.key}
    old = revoke(document) if grace <= 0 else Document(KIND, document.key, ending)
    return issued, [issued.document, old]


def described(document: Document) -> dict[str, Any]:
    """What may be shown of a token, also of one of a role that this release does not know: everything but its hash."""
    return {"id": document.key, **{key: value for key, value in (document.body or {}).items() if key != "hash"}}


def hashed(secret: str) -> str:
    """The form in which a secret is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """The good tokens of one moment, by id. Immutable: whoever follows the store builds the next and swaps.

    A document that is no token (a newer release's role, say) grants nothing and disturbs no other.
    """

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self._bodies = {document.key: document.body for document in documents if _is_token(document.body)}

    def __len__(self) -> int:
        return len(self._bodies)

    def check(self, authorization: str | None, *roles: str, now: int | None = None) -> Identity:
        """Who the value of an `Authorization` header stands for, if one of `roles` suits them.

        An admin passes for an analyst and an analyst for a viewer. The time taken does not depend on the secret
        nor on whether the id exists. Raises `Unauthorised` or `Forbidden`.
        """
        scheme, _, text = (authorization or "")[:MAX_HEADER].partition(" ")
        match = _TEXT(text.strip()) if scheme.lower() == "bearer" else None
        if match is None:
            raise Unauthorised("expected the header `Authorization: Bearer verdict_ID_SECRET`")
        key, secret = match.groups()
        body = self._bodies.get(key)
        same = hmac.compare_digest(hashed(secret), body["hash"] if body is not None else _NO_HASH)
        moment = time.time_ns() // 1_000_000 if now is None else now
        if body is None or not same or (body.get("expires") is not None and body["expires"] <= moment):
            raise Unauthorised(f"token {key}: unknown, revoked or expired")
        if _GRANTS[body["role"]].isdisjoint(roles):
            raise Forbidden(f"token {key}: has the role {body['role']}, expected {' or '.join(roles)}")
        return Identity(key, body["role"], body["name"])


def _is_token(body: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    return body is not None and body.get("role") in ROLES and isinstance(body.get("hash"), str)


def _body(document: Document) -> dict[str, Any]:
    if not _is_token(document.body):
        raise BadToken(f"token {shown(document.key)}: expected a document with a role and a hash")
    return document.body
