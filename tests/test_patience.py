"""serve_app/patience.py: Ray's own processes are waited for while they live."""

import subprocess
import sys
from typing import Any

import pytest
from ray._private import services

from serve_app import patience


def nodes(monkeypatch: pytest.MonkeyPatch, refusals: int, lives: bool) -> list[str]:
    """Let Ray's head know the node only after so many questions; returns the list of what was asked."""
    asked: list[str] = []

    def get_node(address: str) -> dict[str, Any]:
        asked.append(address)
        if len(asked) <= refusals:
            raise RuntimeError("no node yet")
        return {"address": address}

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(patience, "raylet_lives", lambda: lives)
    return asked


def test_a_slow_node_is_asked_for_until_it_is_there_however_often_ray_was_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = nodes(monkeypatch, refusals=2, lives=True)
    patience.be_patient()
    patience.be_patient()
    assert services.get_node("here") == {"address": "here"} and asked == ["here"] * 3


def test_a_node_manager_that_has_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = nodes(monkeypatch, refusals=9, lives=False)
    patience.be_patient()
    with pytest.raises(RuntimeError, match="no node yet"):
        services.get_node("here")
    assert len(asked) == 1


def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes(monkeypatch, refusals=10**9, lives=True)
    patience.be_patient(patience_s=0.0)
    with pytest.raises(RuntimeError, match="no node yet"):
        services.get_node("here")


BUSY = """
import os, subprocess, sys
from serve_app.descendants import descendants
from serve_app.patience import TooBusy, afresh

print(os.getpid(), os.environ.get("SET", "as it was"), len(descendants(os.getpid())), flush=True)
subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
with afresh():
    os.environ["SET"] = "by the former try"
    raise TooBusy(" ".join(sys.argv[1:]))
"""


def test_each_try_is_the_same_command_and_process_in_a_new_image() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, "one", "two"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said, failed = process.communicate(timeout=120)
    lines = said.splitlines()
    assert lines[::2] == [f"{process.pid} as it was 0"] * 3
    assert [line[-10:] for line in lines[1::2]] == ["try 2 of 3", "try 3 of 3"]
    assert process.returncode == 1 and failed.splitlines()[-1].endswith("TooBusy: one two")
