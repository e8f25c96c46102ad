"""How the store reaches a server: the key that it sends, several hosts of which one is dead, a cloud id."""

import base64
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fault_proxy import reply_as_elasticsearch
from verdicts.store import Misconfigured
from verdicts.store.elastic import ElasticStore

KEY = base64.b64encode(b"id:secret").decode()
HEAD = {"_id": "head", "found": True, "_source": {"kind": "head", "sequence": 7, "epoch": 5, "generation": "g"}}


class Door(BaseHTTPRequestHandler):
    """Knows one document, and gives it to who has the key alone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        good = self.headers["authorization"] == f"ApiKey {KEY}"
        body = HEAD if good else {"error": {"type": "security_exception", "reason": "no such key"}, "status": 401}
        reply_as_elasticsearch(self, 200 if good else 401, body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def door() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


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
