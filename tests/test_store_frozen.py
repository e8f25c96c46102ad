"""Nothing on the way of a question or a report waits for the store: one that never answers holds up neither."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deployments.messages import pack
from deployments.verdict_log import VerdictLog
from tests.stores import batch_of, now, observation
from tests.test_routes import Setup, frame
from verdicts.lists import entry
from verdicts.store import Document, Epoch

pytestmark = pytest.mark.anyio

PATIENCE_S = 60.0  # only a test that fails takes as long


@pytest.fixture
def frozen() -> Iterator[socket.socket]:
    """What a server under SIGSTOP is: the kernel takes connections for it, and nobody reads them."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening


class Log(VerdictLog):
    """Closed by the test alone."""

    def __del__(self) -> None:  # type: ignore[override]
        pass


class Stuck:
    """A store whose every call comes in and never returns until `end`; it notes the threads that wait."""

    def __init__(self) -> None:
        self.waiting: list[threading.Thread] = []
        self.end = threading.Event()

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> Epoch:
            self.waiting.append(threading.current_thread())
            self.end.wait()
            return Epoch(0, "")

        return call


async def test_questions_and_reports_are_answered_while_the_store_answers_nothing(tmp_path: Path) -> None:
    setup = Setup(tmp_path)
    setup.decide(entry("blocklist", "bad.org"))
    stuck = Stuck()
    setup.follower._store = stuck  # type: ignore[assignment]
    periodic = asyncio.create_task(setup.context.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not stuck.waiting:  # the follower's poll is now in the store, and stays there
                await asyncio.sleep(0.01)
            for number in range(20):
                reply = await setup.ask("/v1/verdicts", frame("www.bad.org", "a.org"))
                assert [v["source"] for v in reply.json()["verdicts"]] == ["blocklist", "model"]
                report = batch_of([observation()], number + 1, "r1")
                assert (await setup.ask("/v1/observations", msgspec.json.encode(report))).status_code == 200
                assert (await setup.ask("/v1/verdict", {"qname": "a.org"}, "admin")).status_code == 200
            assert (await setup.client.get("/healthz")).status_code == 200
        # One call is in the store, from a thread of its own: nobody else went there.
        assert len(stuck.waiting) == 1 and stuck.waiting[0] is not threading.current_thread()
    finally:
        stuck.end.set()
        periodic.cancel()
        await setup.client.aclose()
        setup.store.close()


async def test_reports_are_kept_while_the_store_holds_every_commit(frozen: socket.socket, tmp_path: Path) -> None:
    log = Log(f"http://127.0.0.1:{frozen.getsockname()[1]}/?timeout=600", str(tmp_path), 64 << 20)
    commits = [asyncio.create_task(log.commit(pack([entry("blocklist", f"{i}.org")]), "a")) for i in range(64)]
    async with asyncio.timeout(PATIENCE_S):
        for number in range(1, 11):
            await log.append(msgspec.json.encode(batch_of([observation(at=now())], number)))
        state = await log.status()
    assert state["spool_bytes"] > 0 and state["stored"] == 0
    assert not any(commit.done() for commit in commits)
    for commit in commits:
        commit.cancel()
    frozen.close()  # which ends the connections that its threads wait for
    await asyncio.to_thread(log._keeper.close)


async def test_a_decision_does_not_wait_for_commits_of_long_lists(tmp_path: Path) -> None:
    log, go_on = Log(f"sqlite://{tmp_path}/verdict.db", str(tmp_path / "spool"), 64 << 20), threading.Event()
    commit = log._keeper.commit

    def slow(documents: list[Document], *more: Any) -> Epoch:
        if len(documents) > 1:
            go_on.wait()
        return commit(documents, *more)

    log._keeper.commit = slow  # type: ignore[method-assign]
    feed = pack([entry("blocklist", f"n{number}.example-shop.com") for number in range(2000)])
    imports = [asyncio.create_task(log.commit(feed, "ann")) for _ in range(20)]
    try:
        async with asyncio.timeout(10):
            await asyncio.sleep(0.1)
            assert (await log.commit(pack([Document("policy", "policy", {"paused": True})]), "ann")).number > 0
    finally:
        go_on.set()
        await asyncio.gather(*imports)
        await asyncio.to_thread(log._keeper.close)
