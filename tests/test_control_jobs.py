"""serve_app/control_jobs.py: what the history says of a job is what became of it."""

from pathlib import Path
from typing import Any

import pytest

from tests.control_setup import Setup

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("state", "told"), [("running", True), ("cancelled", True), ("done", False), ("failed", False)]
)
async def test_the_history_calls_no_job_cancelled_that_had_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, told: bool
) -> None:
    job: dict[str, Any] = {
        "id": "j1", "kind": "train", "state": state, "settings": {}, "version": "v2", "device": "cpu", "started": 1,
        "ended": 0, "progress": {}, "error": "",
    }  # fmt: skip
    monkeypatch.setattr("deployments.trainer.cancel", lambda *_: job)
    setup = Setup(tmp_path)
    assert (await setup.good("DELETE", "/v1/jobs/j1"))["state"] == state
    changes = (await setup.good("GET", "/v1/audit?kind=job"))["changes"]
    assert [change["body"]["state"] for change in changes] == ["cancelled"] * told
