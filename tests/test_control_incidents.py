"""serve_app/control_incidents.py, on both stores: of two people who decide on one incident, the later is told."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from serve_app import openapi
from serve_app.control_desk import Desk
from tests.control_setup import Setup
from verdicts.incidents import KIND, Incident
from verdicts.store import Document

pytestmark = pytest.mark.anyio

KEY = "192.0.2.1-evil.example-shop.com-1"
PATH = f"/v1/incidents/{KEY}"
INCIDENT = Incident("block-resolves", "192.0.2.1", "evil.example-shop.com", 1, 2, ["a.example-shop.com"], 3, 0, "-", [])


@pytest.fixture
def setup(url: str, tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path, replicas=2, url=url)
    log_writes(made)
    yield made
    made.store.close()


def log_writes(setup: Setup, **fields: Any) -> None:
    """What the log tells of the incident, as `verdicts.watch` writes it."""
    present = setup.store.get(KIND, KEY)
    body = (present.body if present else None) or msgspec.to_builtins(INCIDENT)
    setup.store.commit([Document(KIND, KEY, {**body, **fields})], "verdict")


async def decide(setup: Setup, user: str, replica: int = 0, **body: Any) -> httpx.Response:
    return await setup.ask("POST", PATH, body, "analyst", replica, verdict_user=user)


async def test_an_incident_is_acknowledged_and_assigned(setup: Setup) -> None:
    assert (await decide(setup, "ada", state="acknowledged", assignee="eve")).status_code == 200
    found = await setup.good("GET", PATH)
    assert (found["state"], found["assignee"], found["client"]) == ("acknowledged", "eve", "192.0.2.1")
    assert (await setup.good("GET", "/v1/incidents"))["incidents"] == [found]


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({"state": "acknowledged"}, {"state": "closed"}, "'ada (the-analyst)' decided at"),
        ({"state": "acknowledged"}, {"state": "acknowledged"}, ": acknowledged; changed at epoch"),
        ({"assignee": "ada"}, {"state": "closed"}, ": assigned to ada; changed at epoch"),
        ({"state": "closed", "assignee": ""}, {"assignee": "ben"}, "now 'closed', assigned to 'nobody'"),
        ({"state": "open", "note": "it is the guests' network"}, {"state": "closed"}, ": a note; changed at epoch"),
    ],
)
async def test_who_saw_it_before_another_decided_is_told_and_writes_nothing(
    setup: Setup, first: dict[str, Any], second: dict[str, Any], says: str
) -> None:
    seen = (await setup.good("GET", PATH))["epoch"]
    assert (await decide(setup, "ada", **first, expect=seen)).status_code == 200
    present = await setup.good("GET", PATH)
    reply = await decide(setup, "ben", 1, **second, expect=seen)
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict") and says in reply.json()["message"]
    assert await setup.good("GET", PATH) == present
    assert (await decide(setup, "ben", 1, **second, expect=present["epoch"])).status_code == 200


async def test_of_many_who_decide_at_once_one_is_heard_and_the_others_are_told(setup: Setup) -> None:
    seen = (await setup.good("GET", PATH))["epoch"]
    people = [f"p{number}" for number in range(6)]
    replies = await asyncio.gather(
        *(decide(setup, user, n % 2, assignee=user, expect=seen) for n, user in enumerate(people))
    )
    heard = [user for user, reply in zip(people, replies, strict=True) if reply.status_code == 200]
    assert heard == [(await setup.good("GET", PATH))["assignee"]]
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 5


async def test_what_the_log_adds_is_no_decision_and_is_kept(setup: Setup) -> None:
    seen = (await setup.good("GET", PATH))["epoch"]
    log_writes(setup, count=9, updated=5)
    assert (await decide(setup, "ada", state="acknowledged", expect=seen)).status_code == 200
    log_writes(setup, count=12, updated=6)
    reply = await decide(setup, "ben", state="closed", expect=seen)
    assert reply.status_code == 409 and ": acknowledged" in reply.json()["message"]
    found = await setup.good("GET", PATH)
    assert (found["state"], found["count"]) == ("acknowledged", 12)


async def test_the_log_may_write_at_the_very_moment(setup: Setup) -> None:
    commit, writes = setup.graph.commit, [3, 4]

    async def late(*arguments: Any) -> Any:
        if writes:
            log_writes(setup, count=writes.pop())
        return await commit(*arguments)

    setup.graph.commit = late  # type: ignore[method-assign]
    seen = (await setup.good("GET", PATH))["epoch"]
    assert (await decide(setup, "ada", state="closed", expect=seen)).status_code == 200
    found = await setup.good("GET", PATH)
    assert (found["state"], found["count"]) == ("closed", 3)


async def test_what_was_seen_of_a_decision_that_no_history_tells_yet_is_a_conflict(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Elasticsearch: a document is read the moment it is written, its history once both were refreshed.
    seen = (await setup.good("GET", PATH))["epoch"]
    assert (await decide(setup, "ada", state="closed", expect=seen)).status_code == 200
    read = Desk.read

    async def behind(desk: Desk, ask: Any) -> Any:
        found = await read(desk, ask)
        return found[1:] if isinstance(found, list) else found

    monkeypatch.setattr(Desk, "read", behind)
    assert (await decide(setup, "ben", state="acknowledged", expect=seen)).status_code == 409


async def test_without_what_was_seen_the_last_wins(setup: Setup) -> None:
    for state in ("acknowledged", "closed"):
        assert (await decide(setup, "ada", state=state)).status_code == 200
    assert (await setup.good("GET", PATH))["state"] == "closed"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "expected state or assignee"),
        ({"state": "gone"}, "expected one of open, acknowledged, closed"),
        ({"assignee": "a" * 121}, "assignee: 121 characters, expected at most 120"),
        ({"state": "closed", "expect": -1}, "expect"),
    ],
)
async def test_bad_input_is_named(setup: Setup, body: dict[str, Any], says: str) -> None:
    reply = await decide(setup, "ada", **body)
    assert reply.status_code == 400 and says in reply.json()["message"]


def test_the_document_tells_of_what_was_seen_and_of_the_conflict() -> None:
    told = openapi.document()
    assert "expect" in told["components"]["schemas"]["IncidentChange"]["properties"]
    assert "409" in told["paths"]["/v1/incidents/{key}"]["post"]["responses"]
