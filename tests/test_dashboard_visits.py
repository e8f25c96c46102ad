"""Saved views, and what changed since the last visit."""

import time
from pathlib import Path

import msgspec
import pytest

from dashboard.components import Nav
from dashboard.pages.overview import Overview
from dashboard.views import SavedViews, view_rows
from dashboard.visit import GAP, LONGEST, by_others, last_visit, news
from tests.dashboard_stage import MINUTE, Stage
from tests.stores import observation, records, settled
from verdicts.incidents import Incident
from verdicts.store import Document
from verdicts.watch import Watch

pytestmark = pytest.mark.anyio
HOUR = 60 * MINUTE


def views_of(stage: Stage, user: str) -> tuple[SavedViews, Nav]:
    nav, context = Nav(), stage.context("viewer", user)
    return SavedViews(nav, context.data, context.control, context.tell), nav


async def test_a_view_is_kept_replaced_seen_by_others_and_removed_by_its_owner_alone(stage: Stage) -> None:
    (mine, nav), (others, theirs) = views_of(stage, "ada"), views_of(stage, "bob")
    await mine.save(" night / shift ", "/queries?tier=block")
    await mine.save("night shift", "/queries?tier=alert")
    assert nav.views == [{"name": "night shift", "address": "/queries?tier=alert", "author": "ada", "mine": True}]
    await others.forget("night shift")
    assert stage.told[-1][1] == "error" and "you keep none" in stage.told[-1][0]
    await others.read()
    assert [(view["name"], view["mine"]) for view in theirs.views] == [("night shift", False)]
    await mine.forget("night shift")
    assert nav.views == []


@pytest.mark.parametrize(
    "address",
    ["//elsewhere.example", "https://elsewhere.example", "javascript:x", "/" + "x" * 2000, "/\t/elsewhere.example"],
)
async def test_a_view_leads_nowhere_else(stage: Stage, address: str) -> None:
    views, nav = views_of(stage, "ada")
    await views.save("trap", address)
    assert stage.told[-1][1] == "error" and nav.views == []


def test_a_persons_own_views_come_first() -> None:
    bodies = [
        {"name": "b", "address": "/", "author": "bob (dash)"},
        {"name": "a", "address": "/", "author": "ada (dash)"},
    ]
    assert [(row["name"], row["mine"]) for row in view_rows(bodies, "ada")] == [("a", True), ("b", False)]


async def test_an_incident_whose_reports_came_late_is_new_since_it_was_opened(url: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path, traffic=False, url=url)
    now = int(time.time() * 1000)
    rows = [
        observation(
            f"q7x{n}.net", now - 5 * HOUR, client="192.0.2.1", label="malicious", tier="alert", rcode="NXDOMAIN"
        )
        for n in range(6)
    ]
    stage.store.append(records(rows))
    settled(stage.store)
    Watch()(stage.store)
    [document] = stage.store.scan("incident")
    incident = msgspec.convert(document.body, Incident)
    assert incident.start < now - HOUR <= now <= incident.opened
    items, _ = await news(stage.data, now - HOUR, now + MINUTE, "ada")
    assert [item["text"] for item in items] == ["1 new incident"]
    items, _ = await news(stage.data, incident.opened, now + MINUTE, "ada")
    assert items == []
    await stage.close()


async def test_a_new_incident_that_was_closed_meanwhile_is_counted_where_the_link_shows_it(stage: Stage) -> None:
    now = int(time.time() * 1000)
    body = {"client": "192.0.2.31", "opened": now - MINUTE}
    links = []
    for state in ("open", "closed"):
        stage.store.commit([Document("incident", state, {**body, "state": state})], "bob")
        stage.data.decided()
        items, _ = await news(stage.data, now - HOUR, now, "ada")
        links.append((items[0]["text"], items[0]["href"]))
    assert links == [("1 new incident", "/incidents"), ("2 new incidents", "/incidents?state=all")]


@pytest.mark.parametrize(
    ("cookies", "ended"),
    [
        ({}, 0),
        ({"seen": "nonsense"}, 0),
        ({"seen": str(10 * LONGEST - GAP - 1)}, 10 * LONGEST - GAP - 1),  # back after a pause: where it was left
        ({"seen": str(10 * LONGEST - 5), "before": str(9 * LONGEST + 7)}, 9 * LONGEST + 7),  # a tab of this visit
        ({"seen": str(10 * LONGEST - 5)}, 0),  # the first visit
        ({"seen": "5"}, 9 * LONGEST),
    ],
)
def test_when_the_last_visit_ended(cookies: dict[str, str], ended: int) -> None:
    assert last_visit(cookies, 10 * LONGEST) == ended


def test_what_others_changed_is_one_sentence_a_kind() -> None:
    changes = [
        Document("list", "benign/a.org", {}, time=9, author="bob (dash)"),
        Document("list", "benign/b.org", {}, time=8, author="bob (dash)"),
        Document("list", "benign/c.org", {}, time=8, author="eve (dash)"),
        Document("list", "benign/d.org", {}, time=8, author="ada (dash)"),  # the person's own
        Document("policy", "policy", {}, time=7, author="root"),
        Document("policy", "policy", {}, time=2, author="root"),  # before
        Document("token", "x", {}, time=7, author="root"),
    ]
    assert by_others(changes, 5, "ada") == [
        {"text": "3 list entries, by bob, eve", "href": "/audit?kind=list"},
        {"text": "1 change of the policy, by root", "href": "/audit?kind=policy"},
    ]


async def test_more_changes_than_are_looked_at_are_told_as_at_least_so_many(stage: Stage) -> None:
    before = int(time.time() * 1000) - 1
    stage.store.commit([Document("list", f"blocklist/n{n}.org", {}) for n in range(700)], "bob (dash)")
    items, _ = await news(stage.data, before, before + MINUTE, "ada")
    assert [item["text"] for item in items] == ["at least 500 list entries, by bob"]


async def test_the_overview_tells_what_is_new_since_the_last_visit(tmp_path: Path) -> None:
    stage = Stage(tmp_path, traffic=False)
    now = int(time.time() * 1000)
    bad = {"tier": "block", "label": "malicious"}
    rows = [observation("old.evil.net", now - 5 * HOUR, **bad), observation("old.evil.net", now - MINUTE, **bad)]
    rows += [observation("fresh.evil.net", now - MINUTE, count=4, **bad), observation("good.org", now - MINUTE)]
    stage.store.append(records(rows))
    stage.store.commit([Document("incident", "one", {"client": "192.0.2.31", "start": now - MINUTE})], "cluster")
    stage.store.commit([Document("incident", "two", {"client": "192.0.2.32", "start": now - 9 * HOUR})], "cluster")
    stage.store.commit([Document("list", "benign/a.org", {})], "bob (dash)")
    items, names = await news(stage.data, now - HOUR, now, "ada")
    assert [item["text"] for item in items] == ["1 new incident", "1 list entry, by bob"]
    assert [(row["key"], row["count"]) for row in names] == [("fresh.evil.net", 4)]
    page = Overview(stage.context()._replace(since=now - HOUR), {})
    page.view()
    await page.start()
    assert page.since.items == items and page.since.status["kind"] == "ready"
    await stage.close()
