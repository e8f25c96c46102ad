"""A cluster that speaks TLS itself, and lets nobody in who has no certificate of its authority."""

import socket
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
import trustme

from serve_app.descendants import descendants
from tests.cluster_fixture import Cluster, started
from tests.listening import listeners
from tests.test_https import context_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


class Secured(NamedTuple):
    """A cluster with its authority, and that of somebody else."""

    cluster: Cluster
    authority: trustme.CA
    stranger: trustme.CA


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(folder / "key.pem")
    server.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    files = {"ssl_keyfile": "key.pem", "ssl_certfile": "cert.pem", "ssl_ca_certs": "ca.pem"}
    with started(folder, http_options={key: str(folder / name) for key, name in files.items()}) as found:
        yield Secured(found, authority, trustme.CA())


def ask(secured: Secured, of: trustme.CA | None) -> httpx.Response:
    """A question with a client certificate of this authority, or none."""
    context = context_of(secured.authority, of)
    url = f"https://127.0.0.1:{secured.cluster.port}/v1/verdicts"
    bearer = {"Authorization": f"Bearer {secured.cluster.resolver}"}
    return httpx.post(url, json={"names": ["a.org"]}, headers=bearer, verify=context, timeout=60.0)


def test_a_client_with_a_certificate_is_answered(secured: Secured) -> None:
    reply = ask(secured, secured.authority)
    assert reply.status_code == 200 and len(reply.json()["verdicts"]) == 1


@pytest.mark.parametrize("whose", ["nobody", "stranger"])
def test_a_client_without_a_certificate_of_the_authority_is_refused(secured: Secured, whose: str) -> None:
    with pytest.raises(httpx.TransportError):
        ask(secured, secured.stranger if whose == "stranger" else None)


def test_a_client_that_stalls_in_its_headers_is_hung_up_on(secured: Secured) -> None:
    with socket.create_connection(("127.0.0.1", secured.cluster.port), 60.0) as plain:
        with context_of(secured.authority, secured.authority).wrap_socket(plain, server_hostname="127.0.0.1") as client:
            client.sendall(b"POST /v1/verdicts HTTP/1.1\r\nHost: ")
            try:
                assert client.recv(4096) == b""
            except ConnectionResetError:
                pass


def test_a_client_in_clear_is_refused(secured: Secured) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{secured.cluster.port}/healthz", timeout=30.0)


def test_no_haproxy_stands_beside_it(secured: Secured) -> None:
    # It has no TLS of its own, so that it would take questions in clear.
    owners = {socket.owner for socket in listeners(descendants(secured.cluster.pid))}
    assert any(owner.startswith("ray::ProxyActor") for owner in owners)
    assert not any("haproxy" in owner for owner in owners)
