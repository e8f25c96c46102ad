"""serve_app/client_certificates.py on a real HTTPS server, as Ray Serve makes them, in a process of its own."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trustme

SERVER = """
import asyncio, sys, uvicorn
from starlette.responses import Response
if sys.argv[1] == "require":
    from serve_app.client_certificates import require
    require()
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


@pytest.fixture(params=["require", "as Ray Serve comes"])
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


def ask(site: Site, of: trustme.CA | None) -> bool:
    """Whether a client with a certificate of this authority, or without one, is answered."""
    context = ssl.create_default_context()
    site.authority.configure_trust(context)
    if of is not None:
        of.issue_cert("resolver.example.org").configure_cert(context)
    try:
        return httpx.get(f"https://127.0.0.1:{site.port}/", verify=context, timeout=60.0).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("site", ["require"], indirect=True)
def test_who_has_no_certificate_of_the_authority_is_not_let_in(site: Site) -> None:
    assert ask(site, site.authority)
    assert not ask(site, None)
    assert not ask(site, trustme.CA())


@pytest.mark.parametrize("site", ["as Ray Serve comes"], indirect=True)
def test_without_it_anybody_is_let_in(site: Site) -> None:
    assert ask(site, None)  # the day that this fails, the hook is no longer needed
