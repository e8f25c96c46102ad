"""serve_app/control_status.py: what is known is told, although a part of what tells it is away."""

import threading
from pathlib import Path
from typing import Any

import pytest

from serve_app import control_status
from tests.control_setup import Setup

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_controller_that_is_away_takes_the_rest_of_the_status_not_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    go_on = threading.Event()

    def away() -> dict[str, Any]:
        if hangs:
            go_on.wait(60)
        raise RuntimeError("the actor died")

    monkeypatch.setattr(control_status, "deployment_states", away)
    monkeypatch.setattr(control_status, "PATIENCE_S", 0.5)
    setup = Setup(tmp_path)
    try:
        status = await setup.good("GET", "/v1/status")
        assert status["deployments"] == {} and status["epoch"] == setup.store.epoch().number
    finally:
        go_on.set()
