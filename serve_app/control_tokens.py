"""`/v1/tokens`: issued, listed, rotated and revoked without a restart; for admins."""

from typing import Annotated, NotRequired, TypedDict, cast

import msgspec
from msgspec import Meta

from serve_app.control_calls import Call, Committed
from serve_app.operations import Number, Operation, one_of
from serve_app.wire import WireError
from verdicts import tokens
from verdicts.arguments import DAY_MS
from verdicts.names import shown
from verdicts.store import Document

LONGEST_GRACE_MS = 30 * DAY_MS


class TokenWanted(msgspec.Struct, forbid_unknown_fields=True):
    """A token to issue; `expires` in Unix milliseconds."""

    role: Annotated[str, one_of(*tokens.ROLES)]
    name: str
    expires: Number | None = None
    note: str = ""


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """`grace`: milliseconds that the old token stays good."""

    grace: Annotated[int, Meta(ge=0, le=LONGEST_GRACE_MS)] = 0


class Token(TypedDict):
    """A token without its secret."""

    id: str
    role: str
    name: str
    created: int
    expires: int | None
    note: str
    author: str
    successor: NotRequired[str]


class Tokens(TypedDict):
    tokens: list[Token]


class Issued(Committed):
    """`token`: the text to hand over, told this once."""

    id: str
    token: str


def operations() -> list[Operation]:
    return [
        Operation("GET", "/v1/tokens", "admin", show),
        Operation("POST", "/v1/tokens", "admin", issue),
        Operation("POST", "/v1/tokens/{id}/rotate", "admin", rotate),
        Operation("DELETE", "/v1/tokens/{id}", "admin", revoke),
    ]


async def show(call: Call) -> Tokens:
    """All tokens, without their secrets."""
    found = await call.desk.read(lambda store: list(store.scan(tokens.KIND)))
    described = [{**tokens.described(document), "author": document.author} for document in found]
    return {"tokens": cast(list[Token], described)}


async def issue(call: Call, body: TokenWanted) -> Issued:
    """Issue a token: the reply is the only one that ever holds it."""
    issued = tokens.issue(body.role, body.name, call.desk.now(), body.expires, body.note)
    return {**await call.commit([issued.document], body.note), "id": issued.document.key, "token": issued.text}


async def rotate(call: Call, body: Rotation) -> Issued:
    """Issue a successor; the old token stays good for the grace."""
    old = await _document(call)
    issued, documents = tokens.rotate(old, call.desk.now(), body.grace)
    reply = await call.commit(documents, f"rotation of {old.key}", expect=old.epoch)
    return {**reply, "id": issued.document.key, "token": issued.text}


async def revoke(call: Call) -> Committed:
    """Revoke a token at once."""
    return await call.commit([tokens.revoke(await _document(call))], "revoked")


async def _document(call: Call) -> Document:
    key = call.path("id")
    document = await call.desk.read(lambda store: store.get(tokens.KIND, key))
    if document is None:
        raise WireError("not-found", f"token {shown(key)}: no such token")
    return document
