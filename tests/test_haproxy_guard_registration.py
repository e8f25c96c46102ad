"""What the guard makes of a HAProxy that never comes up, of one that waits, of one that fails to register."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from socket import AF_UNIX, socket

import pytest

from serve_app import haproxy, haproxy_guard
from serve_app.environment import haproxies
from serve_app.local.ports import free_port
from tests.haproxy_node import Node, node, rays, replica
from tests.waiting import until

__all__ = ["node", "rays", "replica"]
# Becomes the program of its arguments, which may not call pidfd_open: a filter of system calls, as of containers.
NO_PIDFD = """
import ctypes, os, struct, sys
lines = (0x20, 0, 0, 0), (0x15, 0, 1, 434), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, struct.pack("HxxxxxxQ", 4, ctypes.addressof(program))) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def broken(node: Node) -> None:
    """A reload with an error in its configuration."""
    text = node.rays.replace("    balance ", "    no-such-keyword\n    balance ", 1)
    assert node.begin(text).wait(30) == 1


def too_slow(node: Node) -> None:
    """A reload that Ray kills before its HAProxy has come up."""
    process = node.sleeper()
    node.register(process.pid, os.getpid())
    process.kill()
    process.wait()


@pytest.mark.parametrize("fails", [broken, too_slow])
def test_one_that_does_not_come_up_displaces_nobody(node: Node, fails: Callable[[Node], None]) -> None:
    node.start()
    until(lambda: node.status() == 200)
    fails(node)
    until(lambda: "did not come up" in node.said())
    assert node.status() == 200 and "stands in" not in node.said()
    node.strike()


def test_one_that_dies_before_its_successor_has_come_up_is_stood_in_for(node: Node) -> None:
    node.start()
    node.register(node.sleeper().pid, os.getpid())
    node.strike()
    node.start()
    until(lambda: not node.standing_in())
    assert {node.status() for _ in range(20)} == {200}


def test_where_no_registration_succeeds_nobody_waits_at_the_guards_socket(node: Node) -> None:
    node.start(True, sys.executable, "-c", NO_PIDFD)
    assert [node.status() for _ in range(20)] == [200] * 20
    assert "a registration failed" in node.said()


def test_a_registration_that_was_given_up_leaves_nothing_open(node: Node) -> None:
    killed = node.start()
    until(lambda: node.status() == 200)
    opened = f"/proc/{node.guard()}/fd"
    before, port = os.listdir(opened), free_port()
    about = {"pid": os.getpid(), "cluster": os.getpid(), "real": "/none", "text": "", "address": f"127.0.0.1:{port}"}
    with socket(AF_UNIX) as line:
        os.kill(node.guard(), signal.SIGSTOP)
        line.connect(str(node.folder / haproxy.GUARD))
        line.sendall(json.dumps(about).encode())
    os.kill(node.guard(), signal.SIGCONT)
    until(lambda: "a registration failed" in node.said())
    until(lambda: len(os.listdir(opened)) == len(before))
    with pytest.raises(ConnectionRefusedError), socket() as caller:
        caller.connect(("127.0.0.1", port))
    os.kill(killed, signal.SIGKILL)
    assert node.status() == 200


def test_a_guard_that_does_not_answer_is_ended(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haproxy, "GUARD_S", 0.3)
    killed = node.start()
    os.kill(node.guard(), signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        haproxy.guarded(node.file.read_text(), node.real, node.folder)
    assert node.status() == 200
    os.kill(killed, signal.SIGKILL)
    node.started[0].wait()
    until(lambda: not haproxies(node.folder))
    with pytest.raises(ConnectionRefusedError):  # nobody waits for a guard that takes callers in and does not answer
        node.status()


def test_a_stand_in_is_replaced_while_another_one_waits(node: Node) -> None:
    node.start()
    node.strike()
    node.start(routed=False)
    time.sleep(haproxy_guard.LASTED_S)
    [first] = node.standing_in()
    os.kill(first, signal.SIGKILL)
    assert [node.status() for _ in range(20)] == [200] * 20
    assert node.standing_in() != [first]


def test_a_stand_in_without_replicas_answers_while_another_one_waits(node: Node, replica: ThreadingHTTPServer) -> None:
    node.start()
    node.strike()
    node.start(routed=False)
    replica.shutdown()
    replica.server_close()
    until(lambda: node.status() == 503)
    time.sleep(2 * haproxy_guard.EMPTY_S)
    assert node.status() == 503 and node.standing_in()


def test_one_that_waits_where_nobody_can_stand_in_makes_room_for_the_next(node: Node) -> None:
    node.start()
    node.strike()
    node.start(routed=False)
    (node.folder / haproxy.STAND_IN).unlink()
    (node.folder / haproxy.STAND_IN).mkdir()  # no configuration can be written
    os.kill(node.standing_in()[0], signal.SIGKILL)
    assert node.started[-1].wait(30) == -signal.SIGKILL
    node.start(routed=False)
    assert node.status() == 404


def test_a_stand_in_that_outlived_its_guard_goes_when_the_next_one_serves(node: Node) -> None:
    node.start()
    node.strike()
    os.kill(node.guard(), signal.SIGKILL)
    assert node.status() == 200
    node.start()
    until(lambda: not node.standing_in())
    assert {node.status() for _ in range(20)} == {200}
