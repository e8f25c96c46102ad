"""The documented API keys, issued and enforced by a real Elasticsearch with its security module.

The test server of 9.x has that module, and issues keys with a plugin of ours (`tests.elastic_keys`); that of 8.19 has
none.
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
from tests.elastic_keys import home_with_keys
from tests.test_elastic_roles import initialise, read, roles, write
from verdicts.store import Misconfigured, open_store

pytestmark = [pytest.mark.elastic, pytest.mark.long, pytest.mark.timeout(600)]

PASSWORD = "a-password-of-tests"
SETTINGS = {
    "xpack.security.enabled": "true", "xpack.security.autoconfiguration.enabled": "false",
    "xpack.security.http.ssl.enabled": "false", "xpack.security.transport.ssl.enabled": "false",
}  # fmt: skip


class SecuredServer(ElasticServer):
    """A server with a user `admin`, who issues the documented keys."""

    keys: dict[str, str]  # by role, in the encoded form

    def _configure(self, config: Path) -> None:
        self.home = home_with_keys()
        super()._configure(config)
        for name, text in {"users": f"admin:{hashed(PASSWORD)}\n", "users_roles": "superuser:admin\n"}.items():
            (config / name).write_text(text)
            if self._user:
                os.chown(config / name, self._user.pw_uid, self._user.pw_gid)

    def issue(self) -> None:
        """A key for each documented role, as an administrator makes it."""
        self.keys = {}
        for role, descriptor in roles().items():
            body = {"name": f"verdict-{role}", "role_descriptors": {role: descriptor}}
            status, found = self.ask("admin", "POST", "/_security/api_key", body)
            assert status == 200, found
            self.keys[role] = found["encoded"]
            (self.folder / role).write_text(found["encoded"] + "\n")

    def url_of(self, role: str) -> str:
        """The store by the key of this role."""
        return f"{self.url}/?api_key_file={self.folder / role}&replicas=0"

    def get(self, path: str) -> dict[str, object]:
        status, found = self.ask("admin", "GET", path)
        return found if status < 300 else {"status": status}

    def ask(self, user: str, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """A request as `admin` or by a role's key: its status and answer."""
        request = urllib.request.Request(
            self.url + path, None if body is None else json.dumps(body).encode(), method=method
        )
        admin = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        request.add_header("Authorization", admin if user == "admin" else f"ApiKey {self.keys[user]}")
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
    made.issue()
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


def test_a_key_that_was_taken_back_is_told_as_a_misconfiguration(server: SecuredServer) -> None:
    status, made = server.ask("admin", "POST", "/_security/api_key", {"name": "gone"})
    assert status == 200
    file = server.folder / "gone"
    file.write_text(made["encoded"])
    store = open_store(f"{server.url}/?api_key_file={file}&replicas=0")
    assert store.epoch().number > 0
    assert server.ask("admin", "DELETE", "/_security/api_key", {"ids": [made["id"]]})[0] == 200
    with pytest.raises(Misconfigured, match="401"):
        store.epoch()
    store.close()
