"""`/v1/tokens`: issued, listed, rotated and revoked without a restart; for admins."""

from typing import Any

import msgspec
from starlette.routing import BaseRoute

from serve_app.control_calls import Call, Desk, route
from serve_app.wire import WireError
from verdicts import tokens
from verdicts.names import shown
from verdicts.store import Document

LONGEST_GRACE_MS = 30 * 86_400_000


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """A token to issue; `expires` in Unix milliseconds."""

    role: str
    name: str
    expires: int | None = None
    note: str = ""


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    grace: int = 0  # milliseconds that the old token stays good


def routes(desk: Desk) -> list[BaseRoute]:
    return [
        route(desk, "GET", "/v1/tokens", "admin", show),
        route(desk, "POST", "/v1/tokens", "admin", issue),
        route(desk, "POST", "/v1/tokens/{id}/rotate", "admin", rotate),
        route(desk, "DELETE", "/v1/tokens/{id}", "admin", revoke),
    ]


async def show(call: Call) -> Any:
    found = await call.desk.read(lambda store: list(store.scan(tokens.KIND)))
    return {"tokens": [{**tokens.described(document), "author": document.author} for document in found]}


async def issue(call: Call) -> Any:
    """The only reply that ever holds the token."""
    wanted = call.body(Wanted)
    issued = tokens.issue(wanted.role, wanted.name, call.desk.now(), wanted.expires, wanted.note)
    return {**await call.commit([issued.document], wanted.note), "id": issued.document.key, "token": issued.text}


async def rotate(call: Call) -> Any:
    grace = call.body(Rotation).grace
    if not 0 <= grace <= LONGEST_GRACE_MS:
        raise WireError("malformed", f"grace {grace}: expected 0 to {LONGEST_GRACE_MS} milliseconds")
    old = await _document(call)
    issued, documents = tokens.rotate(old, call.desk.now(), grace)
    reply = await call.commit(documents, f"rotation of {old.key}", expect=old.epoch)
    return {**reply, "id": issued.document.key, "token": issued.text}


async def revoke(call: Call) -> Any:
    return await call.commit([tokens.revoke(await _document(call))], "revoked")


async def _document(call: Call) -> Document:
    key = call.path("id")
    document = await call.desk.read(lambda store: store.get(tokens.KIND, key))
    if document is None:
        raise WireError("not-found", f"token {shown(key)}: no such token")
    return document
