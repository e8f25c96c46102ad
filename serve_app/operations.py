"""A call of the control API as data: the routes are mounted from it and the OpenAPI document is made of it.

So neither can tell of a parameter, a body or an answer what the other does not.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, inspect

from serve_app.wire import UNREADABLE, WireError
from verdicts.names import shown

Role = Literal["viewer", "analyst", "admin"]
Handler = Callable[..., Coroutine[Any, Any, Any]]

Number = Annotated[int, Meta(ge=0, le=1 << 53)]  # a time in Unix milliseconds, or an epoch: what every store can hold


def one_of(*values: str | None) -> Meta:
    """The document tells these values; the check, with an error that names what came, is elsewhere."""
    return Meta(extra_json_schema={"enum": list(values)})


@dataclass(frozen=True)
class Operation:
    """A method and path, the role that may call it and those above it, and who answers.

    The handler takes the `Call` and, where it has them, `body` (a struct: the JSON body) and `query` (a struct of
    whole numbers and texts: the parameters), and says by its return type what it answers. The first line of its
    docstring is its summary.
    """

    method: str
    path: str
    role: Role
    handler: Handler

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.handler, include_extras=True)

    @property
    def body(self) -> Any:
        """The type of the JSON body, or None."""
        return self._hints.get("body")

    @property
    def query(self) -> Any:
        """The type of the parameters, or None."""
        return self._hints.get("query")

    @property
    def reply(self) -> Any:
        """The type of the answer."""
        return self._hints["return"]

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip().partition("\n")[0]

    @cached_property
    def _parameters(self) -> dict[str, inspect.Field]:
        if self.query is None:
            return {}
        found = inspect.type_info(self.query)
        assert isinstance(found, inspect.StructType)
        return {field.encode_name: field for field in found.fields}

    def arguments(self, body: bytes, parameters: Mapping[str, str]) -> dict[str, Any]:
        """What the handler takes besides the call. Raises `WireError` for a body or parameter that cannot be."""
        given: dict[str, Any] = {}
        known = self._parameters
        for name in parameters:
            if name not in known:
                expected = f"some of {', '.join(known)}" if known else "none"
                raise WireError("malformed", f"query: unknown parameter {shown(name)}, expected {expected}")
        for name, field in known.items():
            if field.required and name not in parameters:
                raise WireError("malformed", f"query: parameter {name} missing, expected one")
        if self.query is not None:
            given["query"] = self.query(**{name: _value(known[name], text) for name, text in parameters.items()})
        if self.body is not None:
            try:
                given["body"] = msgspec.json.decode(body or b"{}", type=self.body)
            except UNREADABLE as error:
                raise WireError("malformed", f"body: {error}") from None
        return given


def _value(field: inspect.Field, text: str) -> int | str:
    kind = field.type
    if not isinstance(kind, inspect.IntType):
        return text
    low, high = kind.ge or 0, kind.le
    if not (
        text.isascii()
        and text.isdigit()
        and len(text) < 20
        and low <= int(text)
        and (high is None or int(text) <= high)
    ):
        raise WireError("malformed", f"{field.encode_name} {shown(text)}: expected a whole number from {low} to {high}")
    return int(text)
