import json
import os
import re
import signal
import socket
import time

import pytest

from serve_app import haproxy, haproxy_guard, haproxy_seen
from serve_app.environment import end_haproxy, haproxies
from serve_app.local.ports import free_port
from tests.haproxy_node import Node, node, rays, replica
from tests.waiting import until

__all__ = ["node", "rays", "replica"]


def test_nobody_is_refused_when_haproxy_dies(node: Node) -> None:
    killed = node.start()
    assert node.status() == 200
    os.kill(killed, signal.SIGKILL)
    assert [node.status() for _ in range(50)] == [200] * 50
    node.started[0].wait()
    until(node.standing_in)


def test_the_stand_in_leaves_the_admin_socket_and_the_statistics_closed(node: Node) -> None:
    os.kill(node.start(), signal.SIGKILL)
    until(lambda: node.status() == 200 and node.standing_in())
    assert haproxy_seen.pid_at(f"{node.folder}/a.sock") is None  # Serve would believe that its own still runs
    text = (node.folder / haproxy.STAND_IN).read_text()
    binds = re.findall(r"(?m)^\s*bind (\S+)", text)
    assert all(bind.startswith((f"unix@{node.folder}/", "fd@")) for bind in binds)


def test_the_stand_in_goes_when_one_with_routes_serves(node: Node) -> None:
    os.kill(node.start(), signal.SIGKILL)
    until(lambda: node.status() == 200 and node.standing_in())
    node.start(routed=False)  # as each manager does first: it knows no replica yet, and must not answer callers
    assert {node.status() for _ in range(50)} == {200} and node.standing_in()
    last = node.start()
    for old in node.started[:-1]:
        old.kill()
    until(lambda: not node.standing_in())
    assert {node.status() for _ in range(50)} == {200}
    assert haproxy_seen.pid_at(f"{node.folder}/a.sock") == last


def test_a_stand_in_that_dies_is_replaced_as_well(node: Node) -> None:
    os.kill(node.start(), signal.SIGKILL)
    until(lambda: node.status() == 200 and node.standing_in())
    time.sleep(haproxy_guard.LASTED_S)
    [first] = node.standing_in()
    os.kill(first, signal.SIGKILL)
    assert [node.status() for _ in range(20)] == [200] * 20
    assert node.standing_in() != [first]


def test_where_nobody_can_stand_in_the_guard_says_so_and_ends(node: Node) -> None:
    (node.folder / haproxy.STAND_IN).mkdir()  # no configuration can be written
    os.kill(node.start(), signal.SIGKILL)
    node.started[0].wait()
    until(lambda: "nobody stands in" in node.said())
    until(lambda: not haproxies(node.folder))


def test_one_that_stands_still_is_replaced(node: Node) -> None:
    frozen = node.start()
    os.kill(frozen, signal.SIGSTOP)
    until(lambda: node.started[0].poll() is not None)
    assert node.status() == 200 and "stands still" in node.said()


def test_one_that_stands_still_is_ended_while_its_successor_starts(node: Node) -> None:
    frozen, coming = node.start(), node.sleeper()
    until(lambda: node.status() == 200)
    node.register(coming.pid, os.getpid())
    os.kill(frozen, signal.SIGSTOP)
    until(lambda: node.started[0].poll() is not None)
    assert node.status() == 200 and coming.poll() is None


def test_only_one_that_could_run_waits_for_a_processor(node: Node) -> None:
    node.start()
    busy, stopped, asleep = node.sleeper("while True: pass"), node.sleeper("while True: pass"), node.sleeper()
    until(lambda: haproxy_seen.could_run(busy.pid) and haproxy_seen.could_run(stopped.pid))
    os.kill(stopped.pid, signal.SIGSTOP)
    until(lambda: not haproxy_seen.could_run(stopped.pid) and not haproxy_seen.could_run(asleep.pid))
    assert haproxy_seen.could_run(busy.pid)


def test_a_reload_needs_no_stand_in(node: Node) -> None:
    first = node.start()
    node.start()
    os.kill(first, signal.SIGUSR1)
    node.started[0].wait(30)
    assert node.status() == 200 and not node.standing_in()


def test_without_replicas_nobody_stands_in_for_long(rays: str) -> None:
    node = Node(rays, free_port())
    try:
        os.kill(node.start(), signal.SIGKILL)
        node.started[0].wait()
        until(lambda: "no replica is left" in node.said())
        until(lambda: not haproxies(node.folder))  # the guard has nothing to guard any more
    finally:
        node.end()


def test_a_replica_that_is_slow_to_answer_checks_is_not_gone(rays: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as silent:
        node = Node(rays, silent.getsockname()[1])
        try:
            os.kill(node.start(), signal.SIGKILL)
            node.started[0].wait()
            until((node.folder / "b.sock").exists)
            until(lambda: ",DOWN," in haproxy_seen.asked(f"{node.folder}/b.sock", "show stat"))
            time.sleep(2 * haproxy_guard.EMPTY_S)
            assert node.status() == 503 and node.standing_in()
        finally:
            node.end()


def test_it_ends_with_its_guard_and_at_once(node: Node) -> None:
    node.start()
    assert len(haproxies(node.folder)) == 2
    began = time.monotonic()
    assert end_haproxy(node.folder) == 2 and haproxies(node.folder) == []
    assert time.monotonic() - began < 3
    assert "stands in" not in node.said()


def test_a_guard_that_was_killed_is_replaced_at_the_next_start(node: Node) -> None:
    node.start()
    os.kill(node.guard(), signal.SIGKILL)
    assert node.status() == 200
    second = node.start()
    node.started[0].terminate()
    node.started[0].wait()  # it has a listening socket of its own, from the guard that is gone
    os.kill(second, signal.SIGKILL)
    assert node.status() == 200


def test_without_a_guard_haproxy_listens_by_itself(node: Node) -> None:
    (node.folder / haproxy.GUARD).mkdir()  # nothing can listen there
    killed = node.start()
    assert node.status() == 200
    os.kill(killed, signal.SIGKILL)
    node.started[0].wait()
    with pytest.raises(ConnectionRefusedError):
        node.status()


def test_a_dead_cluster_has_no_stand_in(node: Node) -> None:
    killed, raylet = node.start(), node.sleeper()
    node.register(node.sleeper().pid, raylet.pid)
    raylet.kill()
    raylet.wait()
    os.kill(killed, signal.SIGKILL)
    node.started[0].wait()
    time.sleep(2 * (haproxy_guard.LOOK_S + haproxy_seen.ANSWER_S))
    assert not node.standing_in() and "stands in" not in node.said()


MESSAGE = {"pid": 1, "cluster": 1, "real": "/none", "text": "", "address": "127.0.0.1:1"}
NONSENSE = {
    "an address of another kind": {"address": 1},
    "no address": {"address": "nowhere"},
    "a large port": {"address": "127.0.0.1:65536"},
    "a large process": {"pid": 1 << 80},
    "no process": {"cluster": -1},
    "no program": {"real": None},
    "half a letter": {"text": "\ud800"},
    "a zero": {"real": "a\0b"},
}
SAID = {"nothing": b"", "a half": b"{", "no field": b"{}", "a list": b"[]", "a deep one": b"[" * 100_000}


@pytest.mark.parametrize(
    "said",
    [*SAID.values(), *(json.dumps({**MESSAGE, **other}).encode() for other in NONSENSE.values())],
    ids=[*SAID, *NONSENSE],
)
def test_nonsense_does_not_end_the_guard(node: Node, said: bytes) -> None:
    killed = node.start()
    assert node.tell(said) == (b"", [])
    os.kill(killed, signal.SIGKILL)
    assert node.status() == 200
