"""serve_app/control_policy.py: a policy that no resolver could act on is refused, and never stands in the way."""

import asyncio
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


LATER = {"block_action": "sinkhole", "thresholds": {"block": "high"}, "cache_ttl": 61, "colour": "blue"}


async def test_a_pause_works_beside_what_a_later_release_wrote(url: str, tmp_path: Path) -> None:
    setup = Setup(tmp_path, url=url)
    await setup.good("PUT", "/v1/policy", {"policy": {"block_action": "drop"}})
    setup.store.commit([Document("policy", "policy", LATER)], "a later release")
    setup.follow()
    await setup.good("POST", "/v1/policy/pause", {"paused": True})
    assert setup.followers[0].policy == Policy(block_action="drop", cache_ttl=61, paused=True)
    kept = setup.store.get("policy", "policy")  # what the later release finds when it is back
    assert kept is not None and kept.body is not None and (LATER | {"paused": True}).items() <= kept.body.items()
    setup.store.close()


async def test_who_asks_for_a_policy_is_told_what_of_it_cannot_be_read(setup: Setup) -> None:
    await setup.good("PUT", "/v1/policy", {"policy": {"block_action": "drop"}})
    assert (await setup.good("GET", "/v1/policy"))["wrong"] == []
    setup.store.commit([Document("policy", "policy", LATER)], "a later release")
    setup.follow()
    told = await setup.good("GET", "/v1/policy", role="viewer")
    assert [said.split("`")[-2] for said in told["wrong"]] == ["$.thresholds.block", "$.block_action"]
    assert (told["author"], told["policy"]["block_action"]) == ("a later release", "drop")
    await setup.good("PUT", "/v1/policy", {"policy": {"block_action": "refused", "thresholds": None}})
    assert (await setup.good("GET", "/v1/policy"))["wrong"] == []


async def test_a_pause_and_other_changes_of_the_same_moment_all_hold(url: str, tmp_path: Path) -> None:
    setup = Setup(tmp_path, url=url)
    fields: list[dict[str, Any]] = [{"cache_ttl": 61}, {"answer_ttl": 7}, {"prevalence_rank": 5}]
    replies = await asyncio.gather(
        *(setup.ask("PUT", "/v1/policy", {"policy": field}) for field in fields),
        setup.ask("POST", "/v1/policy/pause", {"paused": True}),
    )
    assert [reply.status_code for reply in replies] == [200] * 4, [reply.text for reply in replies]
    policy = (await setup.good("GET", "/v1/policy"))["policy"]
    assert {**policy, **fields[0], **fields[1], **fields[2], "paused": True} == policy
    setup.store.close()


async def test_a_change_that_expects_an_epoch_gives_way_to_one_of_the_same_moment(setup: Setup) -> None:
    seen = (await setup.good("GET", "/v1/policy"))["epoch"]
    change = {"policy": {"cache_ttl": 61}, "expect": seen}
    replies = await asyncio.gather(*(setup.ask("PUT", "/v1/policy", change) for _ in range(3)))
    assert sorted(reply.status_code for reply in replies) == [200, 409, 409]
