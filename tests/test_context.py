"""serve_app/context.py: what an ingress replica does all the time goes on, whatever those whom it asks do."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.control_setup import Setup
from verdicts.follower import Follower

pytestmark = pytest.mark.anyio


async def test_a_log_that_gave_up_what_it_was_asked_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, asked = Setup(tmp_path), 0

    async def log_status() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise asyncio.CancelledError
        return {"spool_bytes": 7}

    monkeypatch.setattr(setup.graph, "log_status", log_status)
    monkeypatch.setattr("serve_app.context.STATUS_POLL_S", 0.5)
    context = setup.contexts[0]
    periodic = asyncio.create_task(context.run())
    try:
        async with asyncio.timeout(20):
            while context.log_state.get("spool_bytes") != 7:
                assert not periodic.done()
                await asyncio.sleep(0.01)
    finally:
        periodic.cancel()
        await asyncio.gather(periodic, return_exceptions=True)


@pytest.mark.parametrize(
    ("path", "body", "role"),
    [
        ("/v1/verdicts", {"names": ["a.org"]}, "resolver"),
        ("/v1/observations", {}, "resolver"),
        ("/v1/lists", {}, "admin"),
        ("/v1/lists", {}, ""),
    ],
)
async def test_before_the_store_was_read_no_token_is_called_wrong(
    tmp_path: Path, path: str, body: Any, role: str
) -> None:
    setup = Setup(tmp_path)
    setup.contexts[0].follower = Follower(f"sqlite://{tmp_path}/away/verdict.db")
    setup.contexts[0].follower.poll()
    reply = await setup.ask("POST", path, body, role)
    assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (503, "unavailable", "1")


async def test_a_store_that_takes_nothing_of_the_log_is_a_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, told = Setup(tmp_path).contexts[0], list[float]()
    monkeypatch.setattr(context.metrics, "flush", lambda gauges: told.append(gauges["away"]))
    began = time.time() - 90
    states: list[dict[str, Any]] = [
        {"store": "unavailable", "since": began}, {"store": "healthy", "since": began},
        {"unreachable": "killed", "since": 1000 * began}, {},
    ]  # fmt: skip
    for context.log_state in states:
        await context._flush()
    assert told[0] == pytest.approx(90, abs=30) and told[1:] == [0.0, 0.0, 0.0]
