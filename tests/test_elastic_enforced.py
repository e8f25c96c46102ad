"""The documented roles, enforced by a real Elasticsearch with its security module.

The test server of 9.x has that module. It cannot keep API keys, for their index needs a token filter of a module that
is not there; so the roles stand in its file realm, where the same code decides what a request may do.
"""

import base64
import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.elastic import ElasticServer, own_server_of
from tests.test_elastic_roles import initialise, read, roles, write

pytestmark = [pytest.mark.elastic, pytest.mark.long, pytest.mark.timeout(600)]

PASSWORD = "a-password-of-tests"
SETTINGS = {
    "xpack.security.enabled": "true", "xpack.security.autoconfiguration.enabled": "false",
    "xpack.security.http.ssl.enabled": "false", "xpack.security.transport.ssl.enabled": "false",
}  # fmt: skip


class SecuredServer(ElasticServer):
    """A server with a user for each documented role, and `admin`."""

    def _configure(self, config: Path) -> None:
        super()._configure(config)
        held = {**{name: name for name in roles()}, "admin": "superuser"}
        written = {
            "roles.yml": "".join(f"{name}: {json.dumps(role)}\n" for name, role in roles().items()),  # JSON is YAML
            "users": "".join(f"{user}:{hashed(PASSWORD)}\n" for user in held),
            "users_roles": "".join(f"{role}:{user}\n" for user, role in held.items()),
        }
        for name, text in written.items():
            (config / name).write_text(text)
            if self._user:
                os.chown(config / name, self._user.pw_uid, self._user.pw_gid)

    def url_of(self, user: str) -> str:
        """The store as this user."""
        return f"{self.url.replace('//', f'//{user}:{PASSWORD}@')}/?replicas=0"

    def get(self, path: str) -> dict[str, object]:
        status, found = self.ask("admin", "GET", path)
        return found if status < 300 else {"status": status}

    def ask(self, user: str, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """A request as this user: its status and answer."""
        request = urllib.request.Request(
            self.url + path, None if body is None else json.dumps(body).encode(), method=method
        )
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode())
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def hashed(password: str) -> str:
    """As the file realm keeps it."""
    salt = os.urandom(32)
    found = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000, 32)
    return f"{{PBKDF2}}10000${base64.b64encode(salt).decode()}${base64.b64encode(found).decode()}"


@pytest.fixture(scope="module")
def server() -> Iterator[SecuredServer]:
    made = own_server_of(SecuredServer, SETTINGS)
    if not (made.home / "modules" / "x-pack-security").is_dir():
        pytest.skip("this test server has no security module; that of 9.x has")
    made.start()
    initialise(made.url_of("init"))
    write(made.url_of("writer"))
    yield made
    made.kill()


def test_the_reader_reads(server: SecuredServer) -> None:
    read(server.url_of("reader"))


@pytest.mark.parametrize(
    ("user", "method", "path", "body"),
    [
        ("reader", "PUT", "/verdict-state/_doc/x", {"a": 1}),
        ("reader", "DELETE", "/verdict-state", None),
        ("reader", "PUT", "/verdict-log-2020.01.01", None),
        ("reader", "GET", "/_security/user", None),
        ("reader", "GET", "/other/_search", None),
        ("writer", "POST", "/LOG/_update/ID", {"doc": {"a": 1}}),
        ("writer", "PUT", "/LOG/_doc/ID", {"a": 1}),
        ("writer", "DELETE", "/LOG/_doc/ID", None),
        ("writer", "DELETE", "/verdict-state", None),
        ("writer", "PUT", "/other/_doc/x", {"a": 1}),
        ("writer", "GET", "/other/_search", None),
        ("writer", "PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": "true"}}),
        ("init", "GET", "/LOG/_search", None),
        ("init", "PUT", "/other/_doc/x", {"a": 1}),
        ("init", "DELETE", "/verdict-state", None),
    ],
)
def test_what_a_role_need_not_do_is_refused(
    server: SecuredServer, user: str, method: str, path: str, body: Any
) -> None:
    server.ask("admin", "PUT", "/other/_doc/1?refresh=true", {"a": 1})
    hit = server.ask("admin", "GET", "/verdict-log-*/_search?size=1")[1]["hits"]["hits"][0]
    path = path.replace("LOG", hit["_index"]).replace("ID", hit["_id"])
    assert server.ask(user, method, path, body)[0] == 403
    assert server.ask("admin", "GET", f"/{hit['_index']}/_doc/{hit['_id']}")[1]["_source"] == hit["_source"]
