"""`/v1/models`: what a candidate is asked before it serves."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deployments import analyst
from model.registry import Registry
from model.replay import Replay
from model.retrain import manifest_of
from serve_app import control_models
from tests.control_setup import Setup
from tests.model_fixtures import manifest, write
from verdicts.observations import Batch, Observation
from verdicts.records import records_of

pytestmark = pytest.mark.anyio


async def test_a_replay_asks_what_is_asked_most_and_what_scored_highest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, asked, now = Setup(tmp_path), [], int(time.time() * 1000)
    rows = [
        Observation(f"{name}.example-shop.com", "A", "192.0.2.1", label, now, now, count, source=source,
                    score=score, generated=score)
        for name, label, source, count, score in [
            ("popular", "benign", "model", 90, 0.001), ("ordinary", "benign", "model", 5, 0.002),
            ("rare", "malicious", "model", 1, 0.9), ("listed", "benign", "benign-list", 99, 0.0)]
    ]  # fmt: skip
    setup.store.append(list(records_of(Batch("the-resolver", "0" * 32, 1, rows=rows))))
    await setup.good("POST", "/v1/lists/import", {"list": "prevalence", "form": "top", "text": "1,example-shop.com\n"})

    def ask(registry: str, what: str, *arguments: Any) -> dict[str, Any]:
        asked.append((what, *arguments))
        report: dict[str, Any] = msgspec.to_builtins(Replay())
        return report

    monkeypatch.setattr(analyst, "ask", ask)
    monkeypatch.setattr(control_models, "REPLAYED", 1)
    await setup.good("POST", "/v1/models/v1/replay", {})
    [(what, version, names, policy, popular)] = asked
    assert (what, version, policy) == ("replay", "v1", setup.contexts[0].follower.view.policy)
    assert names == [("popular.example-shop.com", 90), ("rare.example-shop.com", 1)]
    assert popular == {"popular.example-shop.com", "rare.example-shop.com"}


async def test_who_promotes_or_replays_a_model_that_never_blocks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, registry = Setup(tmp_path), Registry(tmp_path / "models")
    tuned = manifest_of(manifest("bounded-1"), "tuned-1", 2, {})
    registry.add(write(tmp_path / "made", "bounded-1"))
    registry.add(write(tmp_path / "made", "tuned-1", thresholds=tuned.thresholds))
    answers = {"replay": msgspec.to_builtins(Replay()), "promote": "tuned-1", "roll_back": "bounded-1"}
    monkeypatch.setattr(analyst, "ask", lambda registry, what, *_: answers[what])
    notice = "tuned-1 never blocks, it only alerts: its rate of false positives was not measured"
    for what in ("replay", "promote"):
        assert (await setup.good("POST", f"/v1/models/tuned-1/{what}", {}))["notices"] == [notice]
    assert (await setup.good("POST", "/v1/models/rollback", {}))["notices"] == []
