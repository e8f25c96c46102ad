"""serve_app/context.py: what an ingress replica does all the time goes on, whatever those whom it asks do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.control_setup import Setup

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
