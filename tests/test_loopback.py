"""serve_app/loopback.py: where Serve's own HTTP servers listen behind HAProxy."""

import subprocess
import sys

SERVER = """
import asyncio, socket, sys
from serve_app import haproxy_revival
haproxy_revival.watch_alone()
assert not any(name.startswith("ray.serve") for name in sys.modules)
from ray.serve._private.replica import start_asgi_http_server
from ray.serve.config import HTTPOptions
from serve_app.local.ports import free_port

async def main():
    options = HTTPOptions(host=sys.argv[1], port=free_port())
    _, server = await start_asgi_http_server(None, options, event_loop=asyncio.get_running_loop())
    while not server.started:
        await asyncio.sleep(0.01)
    [listener] = server.servers[0].sockets
    print(listener.getsockname()[0], options.host)
    server.should_exit = True
    await asyncio.sleep(0.2)

asyncio.run(main())
"""


def test_a_replicas_server_listens_where_haproxy_asks_it_and_nowhere_else() -> None:
    """At the host of `http_options` HAProxy, which asks at 127.0.0.1, found no replica; at all addresses callers passed
    HAProxy by."""
    for host in ("0.0.0.0", "::1", "127.0.0.2"):
        done = subprocess.run([sys.executable, "-c", SERVER, host], capture_output=True, text=True, timeout=120)
        assert done.stdout.split()[-2:] == ["127.0.0.1", host], done.stderr
