"""Contract 1 as types: what comes in, what goes out, and the errors with their stable codes."""

from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from verdicts.names import shown
from verdicts.observations import Text

T = TypeVar("T")

BUDGET_HEADER = "verdict-budget-ms"
MAX_BUDGET_DIGITS = 18
# What msgspec raises for a body: the last where something lies too deep, be it in a field that is passed over.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

STATUS_OF = {  # each code has one status, for good
    "malformed": 400,
    "unauthorised": 401,
    "forbidden": 403,
    "not-found": 404,
    "method-not-allowed": 405,
    "conflict": 409,
    "too-large": 413,
    "busy": 429,
    "internal": 500,
    "unavailable": 503,
    "expired": 504,
}


class WireError(Exception):
    """An answer that is no verdict: a stable code, a sentence for people, and when to come back (seconds)."""

    def __init__(self, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        return STATUS_OF[self.code]


class Names(msgspec.Struct):
    """`POST /v1/verdicts`."""

    names: list[str]


class Question(msgspec.Struct):
    """`POST /v1/verdict`: one name, and who asks for it."""

    qname: str
    client: Text = ""


_names = msgspec.json.Decoder(Names)
_question = msgspec.json.Decoder(Question)


def names_of(body: bytes, limit: int) -> list[str]:
    """The names of a frame as they came, 1 to `limit` of them."""
    names = _decoded(_names, body).names
    if not names:
        raise WireError("malformed", f"names: 0 of them, expected 1 to {limit}")
    if len(names) > limit:
        raise WireError("too-large", f"names: {len(names)} of them, expected 1 to {limit}")
    return names


def question_of(body: bytes) -> Question:
    """The one question of `POST /v1/verdict`."""
    return _decoded(_question, body)


def budget_of(header: str | None, default: int, limit: int) -> float:
    """How long the caller waits, in seconds, from its budget header in milliseconds; at most `limit`."""
    if header is None:
        return default / 1000
    if not (header.isascii() and header.isdigit() and len(header) <= MAX_BUDGET_DIGITS and int(header) > 0):
        raise WireError("malformed", f"Verdict-Budget-Ms {shown(header)}: expected milliseconds, 1 or more")
    return min(int(header), limit) / 1000


def json_response(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error_response(error: WireError) -> Response:
    """The one form of every error."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = msgspec.json.encode({"code": error.code, "message": error.message})
    return Response(body, error.status, headers, media_type="application/json")


def _decoded(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise WireError("malformed", f"body: {error}") from None
