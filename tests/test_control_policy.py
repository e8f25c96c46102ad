"""serve_app/control_policy.py: a policy that no resolver could act on is refused, and never stands in the way."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.control_setup import Setup
from verdicts.policy import Policy
from verdicts.store import Document

pytestmark = pytest.mark.anyio


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        # A plugin refuses a whole frame for one answer of these: see plugin/verdict/wire.go.
        ({"block_action": "local-data"}, "block_action"),
        ({"blocklist_action": "local-data"}, "blocklist_action"),
        ({"honeypot_answers": ["fe80::1%eth0"]}, "honeypot_answers"),
        # And passes over these, see parsePrefix in plugin/verdict/overrides.go.
        ({"overrides": [{"client": "192.0.2.0/255.255.255.0", "mode": "off"}]}, "overrides"),
        ({"overrides": [{"client": "192.0.2.0/024", "mode": "off"}]}, "overrides"),
        ({"overrides": [{"client": "fe80::1%eth0", "mode": "off"}]}, "overrides"),
        ({"overrides": [{"client": "::ffff:10.0.0.0/104", "mode": "off"}]}, "IPv4 not as ::ffff"),
        ({"overrides": [{"client": "::ffff:0:0/96", "mode": "off"}]}, "IPv4 not as ::ffff"),
        ({"prevalence_rank": 1 << 64}, "prevalence_rank"),
        # Whoever mistypes one would have all three never fire.
        ({"thresholds": {"alert": 0.9}}, "policy.thresholds: unknown field 'alert'"),
    ],
)
async def test_what_no_resolver_can_act_on_is_refused(setup: Setup, change: dict[str, Any], says: str) -> None:
    before = setup.store.epoch()
    reply = await setup.ask("PUT", "/v1/policy", {"policy": change})
    assert reply.status_code == 400 and says in reply.json()["message"] and "expected" in reply.json()["message"]
    assert setup.store.epoch() == before


@pytest.mark.parametrize(
    "change",
    [
        {"block_action": "refused", "blocklist_action": "drop"},
        {"honeypot_answers": ["192.0.2.53", "2001:db8::53"]},
        {"overrides": [{"client": "192.0.2.0/24", "mode": "off"}, {"client": "2001:DB8::7", "mode": "enforce"}]},
        {"prevalence_rank": 0},
    ],
)
async def test_what_resolvers_act_on_is_taken(setup: Setup, change: dict[str, Any]) -> None:
    await setup.good("PUT", "/v1/policy", {"policy": change})
    assert change.items() <= (await setup.good("GET", "/v1/policy"))["policy"].items()


async def test_a_pause_does_not_wait_for_a_policy_of_before_to_be_mended(setup: Setup) -> None:
    old = msgspec.to_builtins(Policy(block_action="local-data", honeypot_answers=["fe80::1%eth0"]))
    setup.store.commit([Document("policy", "policy", old)], "an earlier release")
    await setup.good("POST", "/v1/policy/pause", {"paused": True})
    assert (await setup.good("GET", "/v1/policy"))["policy"] == {**old, "paused": True}
