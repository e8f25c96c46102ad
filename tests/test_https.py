"""serve_app/https.py on a real HTTPS server, as Ray Serve makes them, in a process of its own."""

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trustme

SERVER = """
import asyncio, sys, uvicorn
from starlette.responses import Response
if sys.argv[1] == "hardened":
    from serve_app.https import harden
    harden(2.0)
config = uvicorn.Config(Response("ok"), port=0, ssl_keyfile=sys.argv[2], ssl_certfile=sys.argv[3],
                        ssl_ca_certs=sys.argv[4], log_level="critical", lifespan="off")
server = uvicorn.Server(config)
async def run():
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await task
asyncio.run(run())
"""


class Site(NamedTuple):
    """A server's port, its authority, and the files of both."""

    port: int
    authority: trustme.CA


@pytest.fixture(params=["hardened", "as Ray Serve comes"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    files = [str(tmp_path / name) for name in ("key.pem", "cert.pem", "ca.pem")]
    command = [sys.executable, "-c", SERVER, request.param, *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Site(int(process.stdout.readline()), authority)
        finally:
            process.terminate()


def context_of(authority: trustme.CA, of: trustme.CA | None) -> ssl.SSLContext:
    """Trusts the authority, and shows a certificate of the other one, or none."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if of is not None:
        of.issue_cert("resolver.example.org").configure_cert(context)
    return context


def ask(site: Site, of: trustme.CA | None) -> bool:
    """Whether a client with a certificate of this authority, or without one, is answered."""
    context = context_of(site.authority, of)
    try:
        return httpx.get(f"https://127.0.0.1:{site.port}/", verify=context, timeout=60.0).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("site", ["hardened"], indirect=True)
def test_who_has_no_certificate_of_the_authority_is_not_let_in(site: Site) -> None:
    assert ask(site, site.authority)
    assert not ask(site, None)
    assert not ask(site, trustme.CA())


@pytest.mark.parametrize("site", ["as Ray Serve comes"], indirect=True)
def test_without_it_anybody_is_let_in(site: Site) -> None:
    assert ask(site, None)  # the day that this fails, the hook is no longer needed


WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("site", ["hardened"], indirect=True)
@pytest.mark.parametrize(
    ("answered", "begins", "drips"),
    [
        (0, b"", b""),
        (0, b"GET / HTTP/1.1\r\nX-Slow: ", b"a"),
        (1, b"GET / HTT", b""),
        (2, b"\r\n", b""),
    ],
    ids=["no word", "an octet now and then", "the next request", "an empty line after an answer"],
)
def test_who_stalls_in_the_headers_is_hung_up_on(site: Site, answered: int, begins: bytes, drips: bytes) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 60.0) as plain:
        with context_of(site.authority, site.authority).wrap_socket(plain, server_hostname="127.0.0.1") as caller:
            for _ in range(answered):
                caller.sendall(WHOLE)
                reply = b""
                while not reply.endswith(b"ok"):
                    reply += caller.recv(4096)
            caller.sendall(begins)
            assert hung_up(caller, drips)


def hung_up(caller: ssl.SSLSocket, drips: bytes) -> bool:
    """Whether the server ends the connection within a minute, while it is sent these octets again and again."""
    caller.settimeout(0.2 if drips else 60.0)
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        try:
            caller.sendall(drips)
            return caller.recv(4096) == b""
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


@pytest.mark.parametrize("site", ["hardened"], indirect=True)
def test_who_has_sent_the_headers_may_take_longer(site: Site) -> None:
    with httpx.Client(verify=context_of(site.authority, site.authority), timeout=60.0) as caller:
        ports = set()
        for _ in range(2):
            reply = caller.get(f"https://127.0.0.1:{site.port}/")
            assert reply.status_code == 200
            ports.add(reply.extensions["network_stream"].get_extra_info("client_addr")[1])
            time.sleep(2.5)  # longer than the headers' time, shorter than `timeout_keep_alive`
        assert len(ports) == 1
