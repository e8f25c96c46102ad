"""The documented roles cover every call of init, writer and reader, recorded in front of a real Elasticsearch.

The shared test server runs without security; `test_elastic_enforced.py` has one with it. What each API needs is in
REQUIRED, as the reference of the API says under "required authorization"
(https://www.elastic.co/docs/api/doc/elasticsearch) and the reference of the privileges
(https://www.elastic.co/docs/reference/elasticsearch/security-privileges) lists it.
"""

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest

from tests.elastic import shared_url
from tests.fault_proxy import Call, FaultProxy, proxy_to
from tests.stores import MINUTE, around, now, observation, promise, records, settled
from verdicts.follower import Follower
from verdicts.keeper import Keeper, expire
from verdicts.lists import entry
from verdicts.store import Document, open_store
from verdicts.store.elastic import ElasticStore
from verdicts.store.elastic_schema import SETS

DOC = Path(__file__).parent.parent / "docs" / "store.md"
# Method and path (without the index) -> the scope, and privileges of which one is enough.
REQUIRED: list[tuple[str, str, str, set[str]]] = [
    ("PUT", r"/_index_template/.+", "cluster", {"manage_index_templates"}),
    ("GET|HEAD", r"/_index_template/.+", "nobody", set()),  # manage_index_templates; without it 403, which is taken
    ("GET", r"/_cluster/health", "cluster", {"monitor"}),
    ("GET", r"/_nodes.*", "cluster", {"monitor"}),
    ("PUT", r"/INDEX", "index", {"create_index"}),
    ("GET", r"/INDEX", "index", {"view_index_metadata"}),
    ("GET", r"/INDEX/_(mapping|settings)", "index", {"view_index_metadata"}),
    ("DELETE", r"/INDEX", "index", {"delete_index"}),
    ("POST", r"/INDEX/_refresh", "index", {"maintenance"}),
    ("POST|GET", r"/INDEX/_(search|mget|pit)", "index", {"read"}),
    ("POST", r"/_search", "nobody", set()),  # in a point in time, whose opening was allowed
    ("DELETE", r"/_pit", "nobody", set()),
    ("GET", r"/INDEX/_doc/.+", "index", {"read"}),
    ("PUT|POST", r"/INDEX/_create/.+", "index", {"create_doc"}),
    ("PUT|POST", r"/INDEX/_doc/.+", "index", {"index"}),
]
BULK = {"create": {"create_doc"}, "index": {"index"}, "delete": {"delete"}}
IMPLIED = {"write": {"create_doc", "create", "index", "delete"}}


def roles() -> dict[str, dict[str, Any]]:
    """The role descriptors in the document, by name."""
    found: dict[str, dict[str, Any]] = {}
    for block in re.findall(r'(?ms)^    \{"name": "verdict-.*?(?=\n\n)', DOC.read_text()):
        found |= json.loads(block)["role_descriptors"]
    return found


def needs(call: Call) -> Iterator[tuple[str, str, set[str]]]:
    """What a call takes: scope, index, and privileges of which one is enough."""
    path = unquote(urlsplit(call.path).path)
    if path.endswith("/_bulk") or path == "/_bulk":
        default = path.removesuffix("/_bulk").lstrip("/")
        for line in call.body.splitlines():
            head = json.loads(line)
            kind = next(iter(head), "")
            if len(head) == 1 and kind in BULK and isinstance(head[kind], dict):
                yield "index", head[kind].get("_index", default), BULK[kind]
        return
    if path == "/_msearch":
        for line in call.body.splitlines():
            head = json.loads(line)
            if set(head) <= {"index", "ignore_unavailable"}:
                yield "index", head["index"], {"read"}
        return
    index = "" if path.startswith("/_") else path.split("/")[1]
    form = path.replace(f"/{index}", "/INDEX", 1) if index else path
    for method, pattern, scope, privileges in REQUIRED:
        if call.method in method.split("|") and re.fullmatch(pattern, form):
            if form == "/INDEX" and call.method == "PUT":
                assert b'"aliases"' not in call.body, "an alias at creation takes the privilege manage"
            for name in index.split(",") if index else [""]:
                yield scope, name, privileges
            return
    raise AssertionError(f"{call.method} {call.path}: not in REQUIRED")


def uncovered(role: dict[str, Any], calls: list[Call], prefix: str) -> list[str]:
    """The calls that a role does not let pass."""
    found: set[str] = set()
    for call in calls:
        for scope, index, wanted in needs(call):
            index = index.replace(prefix, "verdict")
            held = set(role["cluster"])
            if scope == "index":
                held = {
                    privilege
                    for part in role["indices"]
                    # A pattern that is searched is resolved to what the key may see.
                    if any(
                        fnmatchcase(index, name) or "*" in index and fnmatchcase(name, index) for name in part["names"]
                    )
                    for privilege in part["privileges"]
                }
            held |= {more for privilege in held for more in IMPLIED.get(privilege, ())}
            if scope != "nobody" and not held & wanted:
                found.add(f"{call.method} {call.path} on {index or 'the cluster'}: needs {' or '.join(sorted(wanted))}")
    return sorted(found)


def initialise(url: str) -> None:
    store = open_store(url)
    store.initialise()
    store.close()


def write(url: str) -> None:
    """What a VerdictLog does: start, append, dead letters, decisions, chores, retention, check."""
    store = open_store(url)
    store.initialise()
    at = now()
    rows = [observation(f"{i}.example.com", at) for i in range(3)]
    bad = msgspec.structs.replace(records(rows, 2)[0], time=1, last=1)
    store.append([*records(rows), bad], [promise(rows)])
    store.commit([entry("blocklist", "bad.net", expires=at - 1), Document("incident", "k", {"a": 1})], "a", "n")
    store.commit([entry("benign", f"{i}.net") for i in range(1001)], "a")  # more than one part
    settled(store)
    assert expire(store, at) == 1
    for document in list(store.scan("incident")):
        store.commit([Document("incident", document.key, {"a": 2})], "a", expect=document.epoch)
    store.forget("incident", at + MINUTE)
    assert store.history("list", limit=1)
    store.check()
    store.top(around(at), "client")  # incidents are found in the log
    store.append(records([observation("old.example.com", at - 86_400_000 * 3)], 3))
    until = time.monotonic() + 30
    while not store.roll_up(at):  # the writer may not refresh the log, which happens once a second
        assert time.monotonic() < until
        time.sleep(0.2)
    assert store.retain(at - 86_400_000) == 2
    store.close()


def read(url: str) -> None:
    """What a dashboard, an ingress replica and `verdict store` ask."""
    store = open_store(url, readonly=True)
    at = now()
    Follower(store).poll()
    store.search(around(at))
    store.histogram(around(at), MINUTE)
    store.cube(around(at), 60 * MINUTE, ("label", "tier"))
    store.top(around(at), "client")
    store.domains(around(at), ["example.com"])
    list(store.reconcile(at - MINUTE, at + MINUTE))
    store.get("policy", "policy")
    store.get_many("list", ["benign/1.net"])
    list(store.scan("list"))
    list(store.keys("list"))
    store.changes("list", 0)
    store.history("list")
    store.expiring(at)
    store.check()
    store.close()


@pytest.fixture(scope="module")
def recorded() -> Iterator[tuple[str, dict[str, list[Call]]]]:
    """The calls of each role, one after another on one store."""
    prefix = "roles0"
    with proxy_to(shared_url()) as proxy:
        url = f"{proxy.url}/?prefix={prefix}&replicas=0"
        sides: dict[str, Callable[[str], None]] = {"init": initialise, "writer": write, "reader": read}
        calls = {}
        try:
            for name, side in sides.items():
                side(url)
                calls[name] = _taken(proxy)
        finally:
            _clean(url, prefix)
    yield prefix, calls


def _clean(url: str, prefix: str) -> None:
    cleaner = ElasticStore(url)
    cleaner.client.indices.delete(index=f"{prefix}-*")
    for name in SETS:
        cleaner.client.options(ignore_status=404).indices.delete_index_template(name=f"{prefix}-{name}")
    cleaner.close()


def _taken(proxy: FaultProxy) -> list[Call]:
    calls = list(proxy.calls)
    proxy.calls.clear()
    return calls


@pytest.mark.elastic
@pytest.mark.parametrize("role", ["init", "writer", "reader"])
def test_the_documented_role_covers_every_call(role: str, recorded: tuple[str, dict[str, list[Call]]]) -> None:
    prefix, calls = recorded
    assert len(calls[role]) > 5
    assert uncovered(roles()[role], calls[role], prefix) == []


@pytest.mark.elastic
def test_a_writer_without_a_privilege_is_seen_to_lack_it(recorded: tuple[str, dict[str, list[Call]]]) -> None:
    """The check can fail: what the reader may is not enough for the writer, and no privilege of its own is for show."""
    prefix, calls = recorded
    assert uncovered(roles()["reader"], calls["writer"], prefix)
    writer = roles()["writer"]
    for part in writer["indices"]:
        for privilege in part["privileges"]:
            less = [{**p, "privileges": [x for x in p["privileges"] if p is not part or x != privilege]}
                    for p in writer["indices"]]  # fmt: skip
            assert uncovered({**writer, "indices": less}, calls["writer"], prefix), f"{privilege} is not needed"


@pytest.mark.elastic
def test_a_writer_that_may_not_touch_templates_writes_once_init_has_run(tmp_path: Path) -> None:
    prefix = f"t{uuid.uuid4().hex[:12]}"
    at = now()
    with proxy_to(shared_url()) as proxy:
        url = f"{proxy.url}/?prefix={prefix}&replicas=0"
        initialise(url)
        proxy.forbidden = "/_index_template/"
        keeper = Keeper(url, tmp_path, 1 << 20)
        assert keeper.append(records([observation(at=at)]), []) == []
        assert keeper.store.check() == []
        keeper.close()
        proxy.forbidden = ""
        _clean(url, prefix)
