"""The short form of chaos on what `make run` starts: a CoreDNS of its own behind a faulty wire, and every promise kept.

These come after the other end-to-end tests (in the order of their files), since they kill what those use.
"""

from collections.abc import Iterator

import pytest

from loadtest.chaos import SHORT, try_out
from loadtest.faults import Fault, chosen
from loadtest.rig import Rig, beside
from tests.e2e.conftest import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.golang, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def system(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("chaos")
    with beside(stack.process.pid, stack.home, stack.http_port, folder) as made:
        yield made


@pytest.mark.parametrize("fault", chosen("", short=True), ids=lambda fault: fault.name)
def test_every_promise_is_kept(fault: Fault, system: Rig) -> None:
    found = try_out(system, fault, SHORT, seed=0)
    assert not found.broken, found.row()


def test_what_was_killed_and_frozen_serves_again(stack: Stack, system: Rig) -> None:
    assert stack.process.poll() is None
    reply = stack.api("POST", "/v1/verdicts", json={"names": ["wikipedia.org"]})
    assert reply.status_code == 200, reply.text
