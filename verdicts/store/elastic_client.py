"""How Elasticsearch is reached: the store's URL as settings, one client, and its errors as ours."""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import msgspec
from elastic_transport import HttpHeaders, SerializationError, TransportError, Urllib3HttpNode
from elastic_transport._node import NodeApiResponse
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import ApiError, Elasticsearch, UnsupportedProductError
from elasticsearch.serializer import JsonSerializer

from verdicts.store import Misconfigured, Unavailable
from verdicts.store.elastic_schema import ROTATIONS, Rotation

OLDEST_VERSION = (8, 19)
_OTHER = (
    f"the server is no Elasticsearch, or one before 7.14; expected {OLDEST_VERSION[0]}.{OLDEST_VERSION[1]} or later"
)
LIFT = "lift the block"
WAYS_OUT = {  # by Elasticsearch's number of the block
    "5": f"{LIFT}: set index.blocks.read_only to null in the index's settings",
    "8": f"{LIFT}: set index.blocks.write to null in the index's settings",
    "12": "free disk space on the index's nodes, or give them more: Elasticsearch lifts this block by itself then",
}


class ElasticSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the query part of a store URL may say: `https://HOST:9200,HOST2:9200/?api_key_file=/etc/key&per=hour`."""

    hosts: tuple[str, ...]
    user: str = ""
    password: str = ""
    api_key_file: str = ""  # the encoded form that Elasticsearch gives
    cloud_id: str = ""  # then the hosts do not count
    ca: str = ""  # file of the authority that signed the servers' certificates
    prefix: str = "verdict"
    per: Rotation = "day"
    shards: int = 1
    replicas: int = 1
    timeout: float = 30.0  # seconds, one bulk or query


class FastJson(JsonSerializer):
    """JSON as the client writes it, read by msgspec: a page of ten thousand hits takes a third of the time."""

    def json_loads(self, data: bytes) -> Any:
        return msgspec.json.decode(data)


class CompatibleNode(Urllib3HttpNode):
    """Speaks the REST API of version 8, which servers of 8.19 and of 9.x both understand.

    The client of version 9 asks for version 9 alone, which a server of version 8 refuses.
    """

    def perform_request(
        self, method: str, target: str, body: bytes | None = None, headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:  # fmt: skip
        headers = HttpHeaders(headers or {})
        for name in ("accept", "content-type"):
            if name in headers:
                headers[name] = headers[name].replace("compatible-with=9", "compatible-with=8")
        return super().perform_request(method, target, body, headers, request_timeout)


def settings_of(url: str) -> ElasticSettings:
    """The settings in a store URL. Raises `ValueError` naming the part and what was expected."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    given: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    path = parts.path.rstrip("/")
    given["hosts"] = tuple(urlunsplit((parts.scheme, host, path, "", "")) for host in hosts.split(",") if host)
    given |= {"user": unquote(user), "password": unquote(password)}
    try:
        settings = msgspec.convert(given, ElasticSettings, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(name for name in ElasticSettings.__struct_fields__ if name != "hosts")
        raise ValueError(f"store {parts.scheme}://{hosts}: {error}; its query takes {known}") from None
    if not settings.hosts and not settings.cloud_id:
        raise ValueError(f"store {parts.scheme}://{hosts}: expected HOST:PORT")
    for host in settings.hosts:
        try:
            port = urlsplit(host).port
        except ValueError as error:
            raise ValueError(f"store host {host}: {error}") from None
        if port is None:
            raise ValueError(f"store host {host}: expected a port, such as {host}:9200")
    if settings.per not in ROTATIONS:
        raise ValueError(f"store per={settings.per}: expected one of {', '.join(ROTATIONS)}")
    return settings


def connect(settings: ElasticSettings) -> Elasticsearch:
    """A client; nothing is sent yet. Raises `Misconfigured` when a file that the settings name cannot be used."""
    more: dict[str, Any] = {}
    if settings.api_key_file:
        try:
            more["api_key"] = Path(settings.api_key_file).read_text().strip()
        except OSError as error:
            raise Misconfigured(f"API key {settings.api_key_file}: {error.strerror}") from error
    elif settings.user:
        more["basic_auth"] = (settings.user, settings.password)
    if settings.ca:
        try:
            ssl.create_default_context(cafile=settings.ca)
        except OSError as error:
            raise Misconfigured(f"ca {settings.ca}: {error.strerror}, expected a file of certificates") from error
        more["ca_certs"] = settings.ca
    where: dict[str, Any] = {"cloud_id": settings.cloud_id} if settings.cloud_id else {"hosts": list(settings.hosts)}
    return Elasticsearch(
        **where, **more, node_class=CompatibleNode, request_timeout=settings.timeout, retry_on_timeout=False,
        max_retries=max(0, len(settings.hosts) - 1), serializers={"application/json": FastJson()},
    )  # fmt: skip


@contextmanager
def translated() -> Iterator[None]:
    """Elasticsearch's errors as `Unavailable` (try again) or `Misconfigured` (a person must act)."""
    try:
        yield
    except UnsupportedProductError as error:
        raise Misconfigured(_OTHER) from error
    except ApiError as error:
        if error.status_code == 405 and "x-elastic-product" not in error.meta.headers:  # it lacks the API
            raise Misconfigured(f"{_OTHER}: {describe(error)}") from error
        raise trouble(error.status_code, describe(error)) from error
    except (TransportError, SerializationError) as error:
        raise Unavailable(f"Elasticsearch: {type(error).__name__}: {_words(error)}") from error


def _words(error: TransportError) -> str:
    """What an error says, with its cause: the transport forgets that when it lists the tries before."""
    said, cause = str(error), str(error.message)
    return said if cause in said else f"{said}: {cause}"


def trouble(status: int, reason: str) -> Unavailable | Misconfigured:
    """The error of a status; a cluster block (flood stage, read-only) passes, other refusals do not."""
    if status in (408, 429) or status >= 500 or "cluster_block_exception" in reason:
        return Unavailable(f"Elasticsearch: {put_off(status, reason)}")
    return Misconfigured(f"Elasticsearch: {status} {reason}")


def put_off(status: int, reason: str) -> str:
    """What refused for now, in one line: of a block, which names its index, with the way out of it."""
    block = re.search(r"\[(?:FORBIDDEN|TOO_MANY_REQUESTS)/(\d+)/", reason)
    return f"{status} {reason}" + (f" {WAYS_OUT.get(block[1], LIFT)}" if block else "")


def describe(error: ApiError) -> str:
    """Type and reason of an API error in one line."""
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return in_words(body["error"])
    return str(error)[:500]


def in_words(error: dict[str, Any]) -> str:
    """Type and reason of an error, or of its cause where it has none, and the index of the first shard that it tells
    of."""
    where = [str(shard["index"]) for shard in error.get("failed_shards", ()) if shard.get("index")][:1]
    said = error if error.get("reason") else error.get("caused_by", error)
    return " of ".join([f"{said.get('type')}: {said.get('reason')}", *where])
