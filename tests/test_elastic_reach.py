"""How the store reaches a server: the key that it sends, its authority, several hosts (one dead), a cloud id."""

import base64
import json
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.elastic import shared_url
from tests.fault_proxy import proxy_to, reply_as_elasticsearch
from tests.stores import around, now, observation, records, settled
from verdicts.store import Misconfigured, Unavailable, open_store
from verdicts.store.elastic import ElasticStore
from verdicts.store.elastic_client import in_words
from verdicts.store.elastic_schema import SETS

KEY = base64.b64encode(b"id:secret").decode()
HEAD = {"_id": "head", "found": True, "_source": {"kind": "head", "sequence": 7, "epoch": 5, "generation": "g"}}


class Door(BaseHTTPRequestHandler):
    """Knows one document, and gives it to who has the key alone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        good = self.headers["authorization"] == f"ApiKey {KEY}"
        body = HEAD if good else {"error": {"type": "security_exception", "reason": "no such key"}, "status": 401}
        reply_as_elasticsearch(self, 200 if good else 401, body)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.do_GET()

    def log_message(self, *_: object) -> None: ...


class OldDoor(BaseHTTPRequestHandler):
    """Answers as Elasticsearch 7.7.1 does: without saying what it is, and to PUT a template with 405."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        reason = "Incorrect HTTP method for uri [/_index_template/verdict-log] and method [PUT], allowed: [POST]"
        body = json.dumps({"status": "green"} if self.command == "GET" else {"error": reason, "status": 405}).encode()
        self.send_response(200 if self.command == "GET" else 405)
        self.send_header("content-type", "application/json; charset=UTF-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = _answer

    def log_message(self, *_: object) -> None: ...


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server that runs while the block does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def door() -> Iterator[str]:
    with answering(Door) as url:
        yield url


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(KEY + "\n")
    return tmp_path / "key"


def test_the_key_in_the_file_is_sent(door: str, key_file: Path) -> None:
    store = ElasticStore(f"{door}/?api_key_file={key_file}")
    assert store.epoch().number == 5
    store.close()


def test_a_wrong_key_is_misconfigured_with_the_servers_reason(door: str, key_file: Path) -> None:
    key_file.write_text(base64.b64encode(b"id:wrong").decode())
    store = ElasticStore(f"{door}/?api_key_file={key_file}")
    with pytest.raises(Misconfigured, match="401 security_exception: no such key"):
        store.epoch()
    store.close()


def test_a_server_that_is_too_old_to_say_what_it_is_hears_what_was_expected() -> None:
    with answering(OldDoor) as url:
        store = ElasticStore(f"{url}/")
        with pytest.raises(Misconfigured, match="expected 8.19 or later: .*Incorrect HTTP method"):
            store.initialise()
        assert any("expected 8.19 or later" in problem for problem in store.check())
        store.close()


def test_of_several_hosts_one_may_be_dead(door: str, key_file: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    store = ElasticStore(f"{dead},{door.removeprefix('http://')}/?api_key_file={key_file}")
    for _ in range(4):  # whichever is asked first
        assert store.epoch().generation == "g"
    store.close()


def test_a_cloud_id_names_the_host(key_file: Path) -> None:
    cloud = "home:" + base64.b64encode(b"cloud.example.org$abc$def").decode()
    store = ElasticStore(f"https://cloud:443/?cloud_id={cloud}&api_key_file={key_file}")
    [node] = store.client.transport.node_pool.all()
    assert (node.config.scheme, node.config.host, node.config.port) == ("https", "abc.cloud.example.org", 443)
    store.close()


@pytest.mark.elastic
def test_a_server_is_believed_under_the_authority_that_ca_names_and_no_other(tmp_path: Path) -> None:
    """TLS with an authority of one's own in front of the real server, as one hosts it oneself."""
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    prefix, at = f"t{uuid.uuid4().hex[:12]}", now()
    with proxy_to(shared_url()) as proxy:
        proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
        url = f"{proxy.url.replace('http:', 'https:')}/?prefix={prefix}&replicas=0"
        store = ElasticStore(f"{url}&ca={tmp_path / 'ca.pem'}")
        store.initialise()
        store.append(records([observation(at=at)]))
        settled(store)
        assert store.check() == [] and len(store.search(around(at)).records) == 1
        for other in ("", f"&ca={tmp_path / 'other.pem'}"):
            wrong = open_store(url + other)
            with pytest.raises(Unavailable, match="certificate verify failed"):
                wrong.epoch()
            wrong.close()
        store.client.indices.delete(index=f"{prefix}-*")
        for name in SETS:
            store.client.indices.delete_index_template(name=f"{prefix}-{name}")
        store.close()


def test_a_file_of_an_authority_that_is_not_there_is_named() -> None:
    with pytest.raises(Misconfigured, match="ca /nowhere.pem"):
        ElasticStore("https://127.0.0.1:9200/?ca=/nowhere.pem")


def test_an_error_without_a_reason_is_told_by_its_cause() -> None:
    cause = {"type": "too_many_buckets_exception", "reason": "too many buckets"}
    assert (
        in_words({"type": "outer", "reason": "", "caused_by": cause}) == "too_many_buckets_exception: too many buckets"
    )
    assert in_words({"type": "outer", "reason": "so", "caused_by": cause}) == "outer: so"
