"""The pages without a browser: parameters set, values read, decisions taken through the real control API."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from dashboard.client import Client
from dashboard.data import Data
from dashboard.export import list_lines
from dashboard.pages import PAGES
from dashboard.pages.audit import Audit, change_row, difference
from dashboard.pages.clients import Clients
from dashboard.pages.enforcement import Enforcement
from dashboard.pages.health import Health
from dashboard.pages.incidents import KEEP_S, Incidents
from dashboard.pages.lists import Lists
from dashboard.pages.lookup import Lookup
from dashboard.pages.overview import Overview
from dashboard.pages.queries import Queries
from dashboard.pages.vetting import Vetting
from tests.dashboard_stage import MINUTE, Stage
from tests.stores import batch_of, observation
from verdicts.records import records_of
from verdicts.store import Document, Filter, Promise, Store, Unavailable, open_store

pytestmark = pytest.mark.anyio


def everything(stage: Stage) -> Filter:
    return Filter(start=0, end=stage.now + 60_000)


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/models"])
async def test_every_page_reads_hostile_traffic(stage: Stage, path: str) -> None:
    page = await stage.open(PAGES[path])
    assert all(part.status["kind"] == "ready" for part in page.parts())


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/models"])
async def test_every_page_takes_an_empty_store(tmp_path: Path, path: str) -> None:
    stage = Stage(tmp_path, traffic=False)
    page = await stage.open(PAGES[path])
    assert all(part.status["kind"] == "ready" for part in page.parts())
    await stage.close()


async def test_the_overview_counts_queries_and_not_rows(stage: Stage) -> None:
    stored = sum(b.count for b in stage.store.histogram(everything(stage), 86_400_000))
    page = await stage.open(Overview)
    assert page.tiles.tiles[0] == {
        "label": "Queries",
        "value": stored,
        "before": 0,
        "tier": "plain",
        "href": "/queries?range=1h",
    }
    assert sum(sum(series["values"]) for series in page.chart.chart["series"]) == stored


async def test_what_was_discarded_is_counted_over_the_whole_range(tmp_path: Path) -> None:
    stage = Stage(tmp_path, traffic=False)
    hour = 3_600_000
    left_out = ((1, 1, 3), (2, 20 * hour, 4), (3, 30 * hour, 100))
    promises = [Promise("edge-9", "f" * 32, number, stage.now - ago, 9, count, 0) for number, ago, count in left_out]
    stage.store.append([], promises)
    page = await stage.open(Overview, range="24h")
    told = page.tiles.tiles[-1]
    assert (told["label"], told["value"], told["before"]) == ("Discarded", 7, 100)
    await stage.close()


async def test_unknown_is_told_apart_from_passed(stage: Stage) -> None:
    page = await stage.open(Overview)
    totals = {series["key"]: sum(series["values"]) for series in page.chart.chart["series"]}
    unknown = stage.store.histogram(Filter(start=0, end=stage.now + 1, label=("unknown",)), 86_400_000)
    assert totals["unknown"] == sum(b.count for b in unknown) > 0


async def test_a_page_restores_its_filters_from_its_address(stage: Stage) -> None:
    page = await stage.open(Queries, tier="block", client="192.0.2.31", range="15m")
    assert {(row["tier"], row["client"]) for row in page.table.rows} == {("block", "192.0.2.31")}
    assert page.address() == "/queries?range=15m&client=192.0.2.31&tier=block"


@pytest.mark.parametrize("path", ["/", "/lookup", "/names", "/clients", "/enforcement", "/health", "/queries"])
@pytest.mark.parametrize("length", ["15m", "1h", "24h", "7d"])
async def test_whatever_range_is_chosen_the_address_brings_it_back(stage: Stage, path: str, length: str) -> None:
    page = await stage.open(PAGES[path], q="example.net")
    page.filters.range = length
    query = dict(parse_qsl(page.address().partition("?")[2]))
    assert (await stage.open(PAGES[path], **query)).filters.range == length


async def test_a_figure_leads_to_the_page_with_the_range_that_it_counts(stage: Stage) -> None:
    page = await stage.open(Overview, range="24h")
    hrefs = {tile["label"]: tile["href"] for tile in page.tiles.tiles}
    assert hrefs["Blocked"] == "/queries?enforced=yes&tier=block&range=24h"
    assert hrefs["Would block"] == "/enforcement?range=24h"
    query = dict(parse_qsl(hrefs["Would block"].partition("?")[2]))
    report = await stage.open(Enforcement, **query)
    told = next(tile["value"] for tile in page.tiles.tiles if tile["label"] == "Would block")
    assert report.tiles.tiles[0]["value"] == told > 0


async def test_a_filter_is_understood_as_people_paste_it_and_told_where_it_can_match_nothing(stage: Stage) -> None:
    for query in ({"qname": "HXXPS://Tracker[.]example.net/x"}, {"client": "192.0.2.31/32"}):
        assert (await stage.open(Queries, **query)).table.rows
    page = await stage.open(Queries, client="office/1")
    assert page.table.status["kind"] == "failed" and "office/1" in page.table.status["text"]
    assert "store" not in page.table.status["title"]


@pytest.mark.parametrize("path", ["/", "/queries", "/clients", "/names", "/health", "/enforcement", "/lookup"])
async def test_a_range_that_ends_before_it_begins_is_told(stage: Stage, path: str) -> None:
    page = await stage.open(PAGES[path], q="www.nobodys-zone.org", range="custom", start="2000", end="1000")
    assert {(part.status["kind"], part.status.get("text")) for part in page.parts()} == {
        ("failed", "the range ends before it begins")
    }


@pytest.mark.parametrize(
    ("pasted", "client"),
    [("[2001:DB8::1]", "2001%3Adb8%3A%3A1"), ("192.0.2.31:53", "192.0.2.31"), ("192.0.2.0/24", "192.0.2.0%2F24")],
)
async def test_an_address_is_understood_as_people_paste_it(stage: Stage, pasted: str, client: str) -> None:
    await stage.open(Lookup, q=pasted)
    assert stage.went == [f"/clients?client={client}"]


async def test_a_reading_that_gave_way_to_a_newer_one_does_not_stop_who_waited_for_it(stage: Stage) -> None:
    page = await stage.open(Overview)
    first = asyncio.create_task(page.reload())
    await asyncio.sleep(0)
    await page.reload()
    await first  # a decision that reads the page again goes on to tell where it is in force
    assert page.chart.status["kind"] == "ready"


async def test_the_log_is_paged_by_the_store_without_gap_or_repeat(stage: Stage) -> None:
    page = await stage.open(Queries)
    seen = [row["id"] for row in page.table.rows]
    while page.following is not None:
        page.cursors.append(page.following)
        await page.reload()
        seen += [row["id"] for row in page.table.rows]
    stored = sum(1 for _ in everywhere(stage))
    assert len(seen) == len(set(seen)) == stored


def everywhere(stage: Stage) -> Any:
    cursor = None
    while True:
        found = stage.store.search(everything(stage), 1000, cursor)
        yield from found.records
        cursor = found.cursor
        if cursor is None:
            return


async def test_a_blocked_site_is_allowed_from_the_look_up(stage: Stage) -> None:
    stage.store.commit([Document("list", "blocklist/tracker.example.net", {"note": "report"})], "ada", "report")
    stage.setup.follow()
    page = await stage.open(Lookup, q="tracker.example.net")
    assert [(row["list"], row["note"]) for row in page.entries.rows] == [("blocklist", "report")]
    assert page.why.facts[1]["value"] == "blocklist"
    page.decision.ask([page.name], "benign")
    page.decision.duration.value = "1 day"
    page.decision.note.value = "needed by accounting"
    await page.decision.submit()
    assert stage.told[-1][1] == "success"
    verdict = await stage.setup.verdict("tracker.example.net")
    assert (verdict["source"], verdict["action"]) == ("benign-list", "passthru")
    entry = stage.store.get("list", "benign/tracker.example.net")
    assert entry and entry.body and entry.author == "ada (the-admin)"
    assert 0 < entry.body["expires"] - stage.now < 86_460_000
    assert page.decision.force.notice.kind == "good"


@pytest.mark.parametrize(
    ("entry", "kind"), [("blocklist/a.tracker.example.net", "benign"), ("benign/tracker.example.net", "blocklist")]
)
async def test_a_decision_that_another_entry_overrules_is_told(stage: Stage, entry: str, kind: str) -> None:
    stage.store.commit([Document("list", entry, {"note": "report"})], "ada", "report")
    page = await stage.open(Lookup, q="a.tracker.example.net" if kind == "benign" else "tracker.example.net")
    page.decision.ask([page.name], kind)
    page.decision.scope.value = "its whole registered domain" if kind == "benign" else page.decision.scope.value
    await page.decision.submit()
    notice = page.decision.force.notice
    assert notice.kind == "warn" and entry.partition("/")[2] in notice.text


async def test_a_decision_is_as_wide_as_its_name_whatever_the_one_before_was(stage: Stage) -> None:
    page = await stage.open(Queries)
    page.decision.ask(["a.tracker.example.net"], "blocklist")
    page.decision.scope.value = "its whole registered domain"
    await page.decision.submit()
    page.decision.ask(["a.tracker.example.org"], "blocklist")
    await page.decision.submit()
    listed = {d.key for d in stage.store.scan("list")}
    assert listed == {"blocklist/example.net", "blocklist/a.tracker.example.org"}


async def test_a_viewer_may_not_decide(stage: Stage) -> None:
    page = await stage.open(Lookup, "viewer", q="tracker.example.net")
    page.decision.ask([page.name], "benign")
    await page.decision.submit()
    assert stage.told[-1][1] == "error" and "role" in stage.told[-1][0]
    assert stage.store.get("list", "benign/tracker.example.net") is None


async def test_a_pasted_address_leads_to_the_client(stage: Stage) -> None:
    await stage.open(Lookup, q="192.0.2.31")
    assert stage.went == ["/clients?client=192.0.2.31"]


@pytest.mark.parametrize(
    "pasted", ["hxxps://Tracker[.]example[.]net/path", "tracker.example.net.", "TRACKER.example.net"]
)
async def test_a_name_is_understood_as_people_paste_it(stage: Stage, pasted: str) -> None:
    assert (await stage.open(Lookup, q=pasted)).name == "tracker.example.net"


async def test_the_registry_is_asked_about_the_name_that_was_understood(stage: Stage) -> None:
    page = await stage.open(Lookup, q="hxxps://Tracker[.]example[.]net/path")
    assert (page.registration.domain, page.registration.button.disabled) == ("example.net", False)
    assert (await stage.open(Lookup, q="*.example.net")).registration.button.disabled


async def test_a_name_that_is_none_is_told_why(stage: Stage) -> None:
    page = await stage.open(Lookup, q="a..b")
    assert page.name == "" and "empty label" in page.problem


async def test_look_up_with_all_below_counts_the_siblings(stage: Stage) -> None:
    alone = await stage.open(Lookup, q="example.net")
    wide = await stage.open(Lookup, q="example.net", below="1")
    assert sum(row["count"] for row in wide.history.clients.rows) > sum(
        row["count"] for row in alone.history.clients.rows
    )


async def test_look_up_takes_a_suffix_as_the_log_does(stage: Stage) -> None:
    page = await stage.open(Lookup, q=".Example[.]net")
    assert (page.name, page.wide, page.problem) == ("example.net", True, "")
    assert page.address() == "/lookup?q=Example%5B.%5Dnet&below=1"
    assert page.entries.status["kind"] == "ready" and page.history.siblings.rows


async def test_what_enforcing_would_break_is_what_was_not_enforced(stage: Stage) -> None:
    page = await stage.open(Enforcement, range="1h")
    would = stage.store.histogram(Filter(start=0, end=stage.now + 1, tier=("block",), enforced=False), 86_400_000)
    assert page.tiles.tiles[0]["value"] == sum(b.count for b in would) > 0
    assert all(row["tier"] == "block" for row in page.names.rows)


async def test_pausing_and_switching_reach_the_policy(stage: Stage) -> None:
    page = await stage.open(Enforcement)
    await page.pause(True)
    await page.switch("enforce", "192.0.2.0/24")
    policy = stage.store.get("policy", "policy")
    assert policy and policy.body and policy.body["paused"] is True
    assert policy.body["overrides"] == [{"client": "192.0.2.0/24", "mode": "enforce"}]


async def test_what_of_a_policy_cannot_be_read_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    page = await stage.open(Enforcement)
    said = "Invalid enum value 'sinkhole' - at `$.block_action`"

    async def policy() -> Any:
        return {"policy": {"paused": True}, "wrong": [said], "epoch": 1}

    monkeypatch.setattr(page.context.control, "policy", policy)
    await page.read_policy()
    assert [fact["value"] for fact in page.policy.facts[:2]] == ["paused", said]


@pytest.mark.parametrize("prefix", ["", " ", "0.0.0.0/0", "10.0.0.0/0", "2001:db8::/0"])
async def test_what_reaches_every_resolver_is_asked_once_more(stage: Stage, prefix: str) -> None:
    page = await stage.open(Enforcement, range="1h")
    page.prefix.value = prefix
    page.ask("enforce")
    assert page.confirm.dialog.open and f"{page.tiles.tiles[0]['value']:,} queries" in page.confirm.says.text
    page.confirm._close(None)
    assert stage.store.get("policy", "policy") is None


async def test_before_everybody_is_switched_it_is_told_whose_queries_were_counted(stage: Stage) -> None:
    page = await stage.open(Enforcement, range="1h", client="192.0.2.31")
    page.ask("enforce")
    assert page.confirm.says.text.endswith(f" {page.tiles.tiles[0]['value']:,} queries of 192.0.2.31.")


async def test_names_that_come_and_go_do_not_change_what_was_chosen_to_be_allowed(stage: Stage) -> None:
    page = await stage.open(Enforcement, range="1h")
    last = len(page.names.rows) - 1
    name = page.names.rows[last]["key"]
    page.names.chosen = [last]
    first = {"tier": "block", "label": "malicious", "enforced": False, "action": "nxdomain", "score": 1.0}
    rows = [
        observation("new.example.org", stage.now - 1000, client=f"192.0.2.{at}", count=900, **first) for at in range(40)
    ]
    stage.store.append(list(records_of(batch_of(rows))))
    stage.data = page.context.data
    page.context.data._cache.clear()
    await page.reload()
    assert page.names.rows[0]["key"] == "new.example.org"
    assert [row["key"] for row in page.names.chosen_rows()] == [name]


async def test_the_report_tells_what_is_allowed_by_now(stage: Stage) -> None:
    page = await stage.open(Enforcement, range="1h")
    row = page.names.rows[0]
    stage.store.commit([Document("list", f"benign/{row['key']}", {})], "ada")
    page.context.data._cache.clear()
    await page.reload()
    assert {each["key"] for each in page.names.rows if each["passing"]} == {row["key"]}
    page._row({"action": "allowed", "row": row})
    assert stage.went[-1] == f"/lookup?q={row['key']}"
    assert "allowed since" in page.tiles.tiles[0]["hint"]


async def test_two_who_switch_at_once_do_not_undo_each_other(stage: Stage) -> None:
    page = await stage.open(Enforcement)
    read = page.context.control.policy

    async def read_and_be_overtaken() -> Any:
        seen = await read()
        body = {"overrides": [{"client": "198.51.100.0/24", "mode": "enforce"}]}
        stage.store.commit([Document("policy", "policy", body)], "bob")
        return seen

    page.context.control.policy = read_and_be_overtaken
    await page.switch("enforce", "192.0.2.0/24")
    policy = stage.store.get("policy", "policy")
    assert stage.told[-1][1] == "error" and policy and policy.body
    assert policy.body["overrides"] == [{"client": "198.51.100.0/24", "mode": "enforce"}]


async def test_a_prefix_that_is_none_switches_nothing(stage: Stage) -> None:
    page = await stage.open(Enforcement)
    page.prefix.value = "office/1"
    page.ask("enforce")
    assert stage.told[-1][1] == "error" and "office/1" in stage.told[-1][0]
    assert page.confirm.dialog is None and stage.store.get("policy", "policy") is None


async def test_an_analyst_may_pause_and_may_not_switch(stage: Stage) -> None:
    page = await stage.open(Enforcement, "analyst")
    await page.switch("enforce", "")
    assert stage.told[-1][1] == "error"
    await page.pause(True)
    assert stage.told[-1][1] == "success"


async def test_the_queue_goes_by_clients_times_score(stage: Stage) -> None:
    page = await stage.open(Vetting, alone="1")
    matters = [row["matters"] for row in page.table.rows]
    assert matters == sorted(matters, reverse=True) and len(matters) > 3


@pytest.mark.parametrize(
    ("key", "entry", "label"),
    [("a", "benign", None), ("b", "blocklist", None), ("g", None, "generated"), ("B", "blocklist", "malicious")],
)
async def test_a_key_decides_and_undo_takes_all_of_it_back(
    stage: Stage, key: str, entry: str | None, label: str | None
) -> None:
    page = await stage.open(Vetting, alone="1")
    name = page.table.rows[0]["key"]
    await page.decide(key, [name])
    assert name not in [row["key"] for row in page.table.rows]
    lists = [k for k in ("benign", "blocklist", "honeypot") if stage.store.get("list", f"{k}/{name}")]
    found = stage.store.get("label", name)
    assert (lists, found and found.body and found.body["label"]) == ([entry] if entry else [], label)
    await page.undo()
    assert name in [row["key"] for row in page.table.rows]
    assert stage.store.get("label", name) is None
    assert not [k for k in ("benign", "blocklist", "honeypot") if stage.store.get("list", f"{k}/{name}")]


async def test_who_decides_second_is_told_and_changes_nothing(stage: Stage) -> None:
    ada = await stage.open(Vetting, alone="1")
    bob = Vetting(stage.context("analyst", "bob"), {"alone": "1"})
    await bob.start()
    name, other = ada.table.rows[0]["key"], ada.table.rows[1]["key"]
    await ada.decide("a", [name])
    await bob.decide("b", [other, name])
    assert stage.told[-1][1] == "warning" and "ada" in stage.told[-1][0] and name in stage.told[-1][0]
    assert [d.key for d in stage.store.scan("list")] == [f"benign/{name}"]
    assert name not in [row["key"] for row in bob.table.rows]  # read again
    await bob.decide("b", [other])
    assert stage.store.get("list", f"blocklist/{other}") and not bob._deciding


async def test_undo_takes_back_the_own_decision_alone_and_all_of_it(stage: Stage) -> None:
    page = await stage.open(Vetting, alone="1")
    chosen = [row["key"] for row in page.table.rows[:3]]
    await page.decide("B", chosen)
    calls, told = len(stage.transport.calls), stage.store.epoch().number
    follow, followed = page.force.follow, []
    page.force.follow = lambda epoch: (followed.append(epoch), follow(epoch))[1]
    await page.undo()
    assert followed == [stage.store.epoch().number] != [told]  # the strip is of the undoing, no more of the decision
    assert len([call for call in stage.transport.calls[calls:] if call[0] == "POST" and "undo" in call[1]]) == 1
    assert [kind for kind in ("list", "label", "vetting") if list(stage.store.scan(kind))] == []
    await page.decide("B", chosen[:1])
    stage.store.commit([Document("list", f"blocklist/{chosen[0]}", {"note": "mine"})], "bob (the-admin)", "later")
    await page.undo()  # bob's change came after it
    assert stage.told[-1][1] == "error" and stage.store.get("label", chosen[0]) is not None
    found = stage.store.get("list", f"blocklist/{chosen[0]}")
    assert found and found.author == "bob (the-admin)"


async def test_a_key_pressed_again_while_its_decision_is_on_its_way_does_nothing(stage: Stage) -> None:
    page = await stage.open(Vetting, alone="1")
    row = page.table.rows[0]
    before = stage.store.epoch().number
    first = asyncio.create_task(page.decide("b", [row["key"]]))
    await asyncio.sleep(0)
    page._message({"action": "key", "key": "b", "index": 0, "rows": [row]})
    await first
    assert stage.store.epoch().number == before + 1 and len(page.kept.past) == 1


async def test_the_days_number_is_a_number_a_day(stage: Stage) -> None:
    page = await stage.open(Vetting, alone="1", daily="3")
    assert len(page.table.rows) == 3
    await page.decide("u", [page.table.rows[0]["key"]])
    await page.reload()
    assert len(page.table.rows) == 2 and "1 of 3" in page.table.note
    for _ in range(2):
        await page.decide("u", [page.table.rows[0]["key"]])
    await page.reload()
    assert page.table.rows == [] and "3 decided" in page.table.empty
    await page.undo()
    assert len(page.table.rows) == 1


async def test_a_name_comes_back_to_the_queue_once_its_list_entry_has_expired(stage: Stage) -> None:
    page = await stage.open(Vetting, alone="1")
    name = page.table.rows[0]["key"]
    for expires, there in ((stage.now - 1000, True), (stage.now + 600_000, False)):
        body = {"name": name, "list": "benign", "label": None, "expires": expires}
        stage.store.commit([Document("vetting", name, body)], "bob")
        await page.reload()
        assert (name in [row["key"] for row in page.table.rows]) is there


async def test_a_viewer_is_shown_no_key_that_does_nothing(stage: Stage) -> None:
    for role in ("viewer", "analyst"):
        page = await stage.open(Vetting, role)
        shown = {key for key, _ in page.keys.keys if len(key) == 1} - {"x"}  # the table's own
        assert shown == set(page.table.keys)


async def test_several_names_are_decided_at_once(stage: Stage) -> None:
    page = await stage.open(Vetting, alone="1")
    chosen = [row["key"] for row in page.table.rows[:3]]
    before = stage.store.epoch().number
    await page.decide("b", chosen)
    assert stage.store.epoch().number == before + 1
    assert all(stage.store.get("list", f"blocklist/{name}") for name in chosen)


async def test_a_key_pressed_twice_decides_on_what_was_seen_and_a_choice_stays_with_its_name(stage: Stage) -> None:
    page = await stage.open(Vetting, alone="1")
    first, second = page.table.rows[:2]
    page.table.chosen = [1]
    await page.decide("b", [first["key"]])
    before = stage.store.epoch().number
    page._message({"action": "key", "key": "b", "index": 0, "rows": [first]})
    assert (page.table.rows[0]["key"], page.table.chosen) == (second["key"], [0])
    assert stage.store.epoch().number == before and [decided.names for decided in page.kept.past] == [[first["key"]]]
    await page.undo()
    assert page.table.rows[page.table.selected]["key"] == first["key"]
    assert [page.table.rows[at]["key"] for at in page.table.chosen] == [second["key"]]


async def test_a_key_on_names_alike_decides_all_of_them(stage: Stage) -> None:
    bad = {"tier": "alert", "label": "malicious", "score": 0.9}
    rows = [observation(f"pay{number}.shop.example.com", stage.now - MINUTE, **bad) for number in range(1, 4)]
    stage.store.append(list(records_of(batch_of(rows))))
    page = await stage.open(Vetting)
    row, at = next((row, at) for at, row in enumerate(page.table.rows) if row["key"].endswith("shop.example.com"))
    assert row["alike"] == 2
    page._message({"action": "alike", "index": at})
    assert len([row for row in page.table.rows if row["key"].startswith("pay")]) == 3
    page._message({"action": "key", "key": "l", "index": at, "rows": [page.table.rows[at]]})
    await page.decide("b", page.table.rows[at]["names"])
    listed = {d.key for d in stage.store.scan("list")}
    assert listed == {f"blocklist/pay{number}.shop.example.com" for number in range(1, 4)}
    assert "shop.example.com" not in str(page.table.rows)


async def test_any_change_is_undone_from_the_audit(stage: Stage) -> None:
    lists = await stage.open(Lists)
    lists.names.value = "one.example.org\ntwo.example.org # remark\n"
    await lists.add()
    audit = await stage.open(Audit)
    row = next(row for row in audit.table.rows if row["key"] == "blocklist/one.example.org")
    assert row["author"] == "ada (the-admin)" and row["change"][0] == "added"
    await audit.undo(row["kind"], row["key"], row["epoch"], row["time"])
    assert stage.told[-1][1] == "success", stage.told
    assert [d.key for d in stage.store.scan("list")] == ["blocklist/two.example.org"]


@pytest.mark.parametrize("action", ["undo", "undo_all"])
async def test_undoing_a_policy_is_asked_once_more(stage: Stage, action: str) -> None:
    stage.store.commit([Document("policy", "policy", {"overrides": []})], "ada")
    await asyncio.sleep(0.002)
    changed = Document("policy", "policy", {"overrides": [{"client": "::/0", "mode": "monitor"}]})
    stage.store.commit([changed, Document("list", "blocklist/a.example.org", {})], "ada")
    page = await stage.open(Audit)
    of_policy = next(row for row in page.table.rows if row["kind"] == "policy")
    page._row({"action": action, "row": of_policy if action == "undo" else page.table.rows[0]})
    assert page.table.rows[0]["whole"] and page.confirm.dialog.open
    assert ("POST", "/v1/audit/undo") not in stage.transport.calls
    await page.confirm._do()
    found = stage.store.get("policy", "policy")
    assert found and found.body == {"overrides": []}


async def test_a_bulk_change_is_undone_at_once_and_no_change_falls_between_two_pages(stage: Stage) -> None:
    for commit in range(3):
        names = [f"n{number}.c{commit}.example.org" for number in range(30)]
        stage.store.commit([Document("list", f"blocklist/{name}", {}) for name in names], f"ada {commit}")
        await asyncio.sleep(0.002)  # commits have times of their own
    audit = await stage.open(Audit, "analyst", kind="list")
    told: list[Any] = audit.table.rows
    first = told[0]
    assert (first["author"], first["whole"], told[1].get("whole")) == ("ada 2", True, None)
    assert told[12]["key"] == "18 more of the same commit" and not told[12]["undoable"]
    assert {row["author"] for row in told} == {"ada 0", "ada 1", "ada 2"} and audit.older.disabled
    await audit.undo_all(first["epoch"], first["time"])
    assert not [document for document in stage.store.scan("list") if document.key.endswith("c2.example.org")]
    assert len(list(stage.store.scan("list"))) == 60


async def test_older_pages_of_the_audit_follow_without_gap(stage: Stage) -> None:
    for number in range(75):
        stage.store.commit([Document("label", f"n{number}.example.org", {"label": "unsure"})], "ada")
        await asyncio.sleep(0.0015)
    audit = await stage.open(Audit, kind="label")
    seen = [row["key"] for row in audit.table.rows]
    await audit._older()
    seen += [row["key"] for row in audit.table.rows]
    assert seen == [f"n{number}.example.org" for number in reversed(range(75))]
    assert audit.older.disabled and not audit.newest.disabled


async def test_no_button_offers_what_the_person_may_not_undo(stage: Stage) -> None:
    for kind, body in (("policy", {}), ("model", {"version": "a"}), ("job", {}), ("list", {}), ("token", {})):
        stage.store.commit([Document(kind, "benign/x.example.org", body)], "ada")
    for role, expected in (("admin", {"policy", "list"}), ("analyst", {"list"})):
        audit = await stage.open(Audit, role)
        assert {row["kind"] for row in audit.table.rows if row["undoable"]} == expected


async def test_a_search_of_the_lists_finds_a_whole_name_first_and_tells_what_it_left_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffixes = [f"n{number:03}.example.org" for number in range(240)]
    stage.store.commit([Document("list", f"blocklist/{suffix}", {}) for suffix in suffixes], "ada")
    page = await stage.open(Lists, contains="N239[.]example.org")
    assert [row["suffix"] for row in page.table.rows] == ["n239.example.org"] and page.table.note == ""
    stage.store.commit([Document("list", "benign/xn--bcher-kva.example.org", {})], "ada")
    for pasted in ("B\u00fccher.example.org", "https://b\u00fccher.example.org/shelf?x=1"):
        page = await stage.open(Lists, contains=pasted)
        assert [row["suffix"] for row in page.table.rows] == ["xn--bcher-kva.example.org"]
    page = await stage.open(Lists, contains="example")
    assert len(page.table.rows) == 200 and "first 200" in page.table.note
    monkeypatch.setattr("dashboard.pages.lists.SEARCHED", 100)
    page = await stage.open(Lists, contains="n1")
    assert {row["suffix"] for row in page.table.rows} <= set(suffixes[:100]) and "first 100" in page.table.note


async def test_a_list_is_exported_in_parts_with_one_heading(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.export.ENTRIES", 3)
    for count in (3, 7):
        names = [f"n{number}.example.org" for number in range(count)]
        stage.store.commit([Document("list", f"blocklist/{name}", {}) for name in names], "ada")
        parts, after = [], ""
        while after is not None:
            text, after = list_lines(stage.store, "blocklist", after)
            parts.append(text)
        rows = "".join(parts).split("\r\n")[:-1]
        assert rows[0] == "suffix,note,expires" and [row.partition(",")[0] for row in rows[1:]] == names


async def test_a_tier_that_is_filtered_by_is_the_one_that_is_shown(stage: Stage) -> None:
    for tier in ("none", "alert", "block"):
        page = await stage.open(Queries, tier=tier)
        assert {row["tier"] for row in page.table.rows} == {tier}
    page = await stage.open(Queries, tier="none", label="unknown")
    assert {row["tier"] for row in page.table.rows} == {"unknown"}


async def test_a_filter_without_an_input_is_shown_and_taken_away(stage: Stage) -> None:
    page = await stage.open(Queries, enforced="yes", qtype="A,AAAA", tier="block")
    shown = {button.label: button for button in page.narrowed.objects if button.visible}
    assert set(shown) == {"Enforced: yes", "Type: A, AAAA"}
    for button in shown.values():
        button.receive({"action": "click"})
    assert page.address() == "/queries?tier=block"
    assert not [button for button in page.narrowed.objects if button.visible]


async def test_uncertain_scores_are_marked_in_the_log_too(stage: Stage) -> None:
    page = await stage.open(Queries)
    assert {row["uncertain"] for row in page.table.rows if 0.3 < row["score"] < 0.7} <= {True}
    assert all("uncertain" in row for row in page.table.rows)


async def test_a_prefix_shows_the_incidents_of_all_its_clients(stage: Stage) -> None:
    for number, client in enumerate(("192.0.2.31", "192.0.2.32", "198.51.100.1", "anon-1")):
        stage.store.commit([Document("incident", f"{client}-{number}", {"client": client})], "cluster")
    page = await stage.open(Clients, client="192.0.2.0/24")
    assert {row["client"] for row in page.incidents.rows} == {"192.0.2.31", "192.0.2.32"}


async def test_of_many_incidents_of_a_client_the_latest_are_shown(stage: Stage) -> None:
    ends = {f"192.0.2.31-{number:02}": stage.now - 1000 * (50 - number) for number in range(30)}
    bodies = {key: {"client": "192.0.2.31", "start": end - 9, "end": end} for key, end in ends.items()}
    stage.store.commit([Document("incident", key, body) for key, body in bodies.items()], "verdict")
    page = await stage.open(Clients, client="192.0.2.31")
    assert [row["id"] for row in page.incidents.rows] == sorted(ends, reverse=True)[:12]
    assert page.incidents.note == "the latest 12 of 30"


async def test_a_client_of_blanks_is_no_client(stage: Stage) -> None:
    page = await stage.open(Clients, client=" ")
    assert page.everyone.visible and page.busiest.rows
    assert {part.status["kind"] for part in (page.busiest, page.riskiest)} == {"ready"}


async def test_verdicts_by_model_tell_unknown_from_passed_as_the_chart_does(stage: Stage) -> None:
    page = await stage.open(Lookup, q="example.net", below="1", range="1h")
    told = {series["key"]: sum(series["values"]) for series in page.history.chart.chart["series"]}
    rows = page.history.models.rows
    assert {tier: sum(row["count"] for row in rows if row["tier"] == tier) for tier in told} == told


@pytest.mark.parametrize(
    "pasted", ["*.example.org", ".example.org", "0.0.0.0 example.org", "hxxp://Example[.]org:80/x", "example.org. # x"]
)
async def test_a_list_takes_a_name_as_people_paste_it(stage: Stage, pasted: str) -> None:
    lists = await stage.open(Lists)
    lists.names.value = pasted
    await lists.add()
    assert [d.key for d in stage.store.scan("list")] == ["blocklist/example.org"]


@pytest.mark.parametrize("pasted", ["||example.org^", "example.org,", '"example.org"', "a.example.org b.example.org"])
async def test_a_list_refuses_what_no_client_would_ask_for(stage: Stage, pasted: str) -> None:
    lists = await stage.open(Lists)
    lists.names.value = f"\n{pasted}"
    await lists.add()
    assert lists.refused.visible and "1 line is no name; nothing is added. line 2: " in lists.refused.text
    assert lists.names.value == f"\n{pasted}" and list(stage.store.scan("list")) == [] and stage.told == []


async def test_a_list_entry_that_another_one_overrules_is_told(stage: Stage) -> None:
    stage.store.commit([Document("list", "benign/tracker.example.net", {"note": "report"})], "ada", "report")
    lists = await stage.open(Lists)
    lists.names.value = "fine.example.org\ntracker.example.net"
    await lists.add()
    notice = lists.decision.force.notice
    assert notice.kind == "warn" and "tracker.example.net is still decided by the allowlist" in notice.text


async def test_a_file_is_imported_and_what_is_no_name_is_told(stage: Stage) -> None:
    lists = await stage.open(Lists)
    lists.file.value = b"one.example.org\nnot..fine\n"
    await lists.import_file()
    assert [d.key for d in stage.store.scan("list")] == ["blocklist/one.example.org"]
    assert stage.told == [("1 imported into the blocklist", "success")]
    assert "1 line is no name; left out of the import. line 2: " in lists.refused.text and lists.refused.visible


async def test_an_incident_is_acknowledged_assigned_and_closed(stage: Stage) -> None:
    body = {"client": "192.0.2.31", "state": "open", "start": stage.now - 200_000, "end": stage.now, "names": ["x"]}
    stage.store.commit([Document("incident", "one", body)], "cluster")
    page = await stage.open(Incidents, id="one")
    assert page.names.rows and all(record["client"] == "192.0.2.31" for record in page.log.rows)
    for changes in ({"state": "acknowledged"}, {"assignee": "ada"}, {"state": "closed"}):
        await page.update(changes)
    found = stage.store.get("incident", "one")
    assert found and found.body and (found.body["state"], found.body["assignee"]) == ("closed", "ada")


async def test_an_incident_shows_its_own_names_and_what_each_was_answered(stage: Stage) -> None:
    bad: dict[str, object] = {"client": "192.0.2.31", "label": "malicious", "tier": "alert"}
    asked = (("kq3v9z", "NXDOMAIN"), ("x7w1zz", "NXDOMAIN"), ("x7w1zz", "NOERROR"), ("other", "NOERROR"))
    rows = [observation(f"{name}.top", stage.now - 100_000, rcode=rcode, **bad) for name, rcode in asked]
    stage.store.append(list(records_of(batch_of(rows))))
    names = ["kq3v9z.top", "x7w1zz.top", "gone.top"]
    body = {"client": "192.0.2.31", "state": "open", "start": stage.now - 200_000, "end": stage.now, "names": names}
    stage.store.commit([Document("incident", "one", body)], "verdict")
    page = await stage.open(Incidents, id="one")
    told = [(row["key"], row["count"], row["rcode"]) for row in page.names.rows]
    assert told == [("kq3v9z.top", 1, "NXDOMAIN"), ("x7w1zz.top", 2, "NOERROR"), ("gone.top", 0, "")]
    assert {fact["label"]: fact["value"] for fact in page.facts.facts}["Names"] == 3


async def test_an_incident_that_is_not_there_is_said_to_be_none(stage: Stage) -> None:
    page = await stage.open(Incidents, id="nope")
    assert page.absent.visible and not page.detail.visible
    stage.store.commit(
        [Document("incident", "nope", {"client": "192.0.2.31", "start": stage.now, "end": stage.now})], "x"
    )
    await asyncio.sleep(KEEP_S)
    await page.reload()
    assert page.detail.visible and not page.absent.visible


async def test_of_two_analysts_on_one_incident_the_later_is_told_and_shown_what_is(url: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path, traffic=False, url=url)
    body = {"client": "192.0.2.31", "state": "open", "start": stage.now - 200_000, "end": stage.now, "names": ["x"]}
    stage.store.commit([Document("incident", "one", body)], "verdict")
    ada = await stage.open(Incidents, id="one")
    ben = Incidents(stage.context(user="ben"), {"id": "one"})
    ben.view()
    await ben.start()
    assert ben.done.rows == []
    stage.store.commit([Document("incident", "one", {**body, "count": 7})], "verdict")  # the log; nobody is told of it
    ada.note.value = "on it"
    await ada.update({"state": "acknowledged"})
    assert stage.told[-1] == ("Saved: acknowledged", "success") and ada.note.value == ""
    ben.note.value = "a false alarm"
    await ben.update({"state": "closed"})
    text, kind = stage.told[-1]
    assert kind == "warning" and "Not saved: ada was quicker, " in text and ": acknowledged (on it)" in text
    assert ben.note.value == "a false alarm" and "your note is kept" in text
    facts = {fact["label"]: fact["value"] for fact in ben.facts.facts}
    assert facts["State"] == "acknowledged"
    assert [(row["who"], row["what"], row["note"]) for row in ben.done.rows] == [("ada", "acknowledged", "on it")]
    await ben.update({"state": "closed"})  # having seen it
    found = stage.store.get("incident", "one")
    assert found and found.body and (found.body["state"], found.body["count"]) == ("closed", 7)
    assert [row["who"] for row in ben.done.rows] == ["ben", "ada"]
    await stage.close()


async def test_of_many_incidents_the_latest_are_shown_and_the_one_that_is_open(stage: Stage) -> None:
    ends = {f"i{number:03}": stage.now - 1000 * number for number in range(230)}
    bodies = {key: {"client": "192.0.2.31", "state": "open", "start": end - 9, "end": end} for key, end in ends.items()}
    stage.store.commit([Document("incident", key, body) for key, body in bodies.items()], "verdict")
    page = await stage.open(Incidents, id="i229")
    assert [row["id"] for row in page.table.rows] == [*sorted(ends)[:200], "i229"]
    assert (page.table.selected, page.table.note) == (200, "the latest 200 of 230")
    assert next(fact["value"] for fact in page.facts.facts if fact["label"] == "Last") == ends["i229"]


async def test_whoever_looks_through_closed_incidents_stays_among_them(stage: Stage) -> None:
    for key, state in (("one", "open"), ("two", "closed"), ("three", "closed")):
        stage.store.commit([Document("incident", key, {"client": "192.0.2.31", "state": state})], "verdict")
    page = await stage.open(Incidents, state="closed")
    href = page.table.rows[0]["href"]  # of the title, which is a link
    page._choose({"action": "select", "row": page.table.rows[0]})
    assert page.address() == href == stage.went[-1]
    again = await stage.open(Incidents, **dict(parse_qsl(href.partition("?")[2])))
    assert {row["id"] for row in again.table.rows} == {"two", "three"} and again.id == page.id


async def test_a_clients_page_shows_its_incidents(stage: Stage) -> None:
    body = {"client": "192.0.2.31", "names": ["x", "y"]}
    others = [
        Document("incident", f"192.0.2.3{at}-one", {**body, "client": f"192.0.2.3{at}"}) for at in ("", "11", "2")
    ]
    stage.store.commit([Document("incident", "192.0.2.31-one", body), *others], "cluster")
    page = await stage.open(Clients, client="192.0.2.31")
    assert [row["title"] for row in page.incidents.rows] == ["2 generated names"]
    assert page.malicious.rows[0]["tier"] in ("block", "alert")


async def test_health_adds_up_what_was_promised_and_stored(stage: Stage) -> None:
    page = await stage.open(Health)
    rows = {row["resolver"]: row for row in page.resolvers.rows}
    assert set(rows) == {"edge-1", "edge-2", "office"}
    assert all(row["rows"] == row["stored"] and row["missing"] == 0 for row in rows.values())


async def test_health_tells_a_pause_and_nothing_of_it_where_the_cluster_is_away(stage: Stage) -> None:
    page = await stage.open(Enforcement)
    await page.pause(True)
    health = await stage.open(Health)
    assert [fact["value"] for fact in health.store.facts if fact["label"] == "Enforcing"] == ["paused"]
    stage.client = Client("", str)
    health = await stage.open(Health)
    assert health.trouble.visible and "Enforcing" not in [fact["label"] for fact in health.store.facts]


@pytest.mark.parametrize("length", ["15m", "7d", "30d"])
async def test_a_resolver_that_reports_is_not_silent_over_a_long_range(
    tmp_path: Path, length: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, traffic=False)
    now = stage.now // 30_000 * 30_000 + 100  # the end of a month's range is up to half a minute ahead
    stage.store.append([], [Promise("edge-9", "f" * 32, 1, now - 900, 9, 0, 0)])
    monkeypatch.setattr("time.time", lambda: now / 1000)
    page = await stage.open(Health, range=length)
    assert [(row["resolver"], row["state"]) for row in page.resolvers.rows] == [("edge-9", "good")]
    await stage.close()


@pytest.mark.parametrize("path", [path for path in PAGES if path not in ("/models", "/vetting")])
async def test_a_dead_store_is_told_on_every_page(stage: Stage, path: str) -> None:
    def open_reader() -> Store:
        raise Unavailable("store: the disk is gone")

    stage.data = Data(open_reader)
    page = await stage.open(PAGES[path], q="example.net", id="one")  # nothing raised: the page is tried again
    assert {part.status["kind"] for part in page.parts()} == {"failed"}


def dying(stage: Stage) -> list[bool]:
    """Have the stage's pages read a store that is dead as long as what is returned holds True."""
    dead = [True]

    def open_reader() -> Store:
        if dead[0]:
            raise Unavailable("store: the disk is gone")
        return open_store(stage.setup.url, readonly=True)

    stage.data = Data(open_reader)
    return dead


async def test_a_dead_store_is_told_and_found_again(stage: Stage) -> None:
    dead = dying(stage)
    page = await stage.open(Overview)
    assert page.chart.status == {"kind": "failed", "text": "store: the disk is gone"}
    dead[0] = False
    await page.reload()
    assert page.chart.status["kind"] == "ready" and page.latest.rows


@pytest.mark.parametrize("path", ["/lists", "/audit", "/queries", "/vetting", "/"])
async def test_every_page_tries_again_by_itself_as_it_says(stage: Stage, path: str) -> None:
    stage.store.commit([Document("list", "benign/x.example.org", {})], "ada")
    dead = dying(stage)
    page = await stage.open(PAGES[path])
    assert page.parts()[0].status["kind"] == "failed"
    dead[0] = False
    for _ in range(5):
        await page.beat()
    assert {part.status["kind"] for part in page.parts()} == {"ready"}


async def test_what_was_just_decided_is_shown(stage: Stage) -> None:
    names = [f"n{number}.example.org" for number in range(3)]
    stage.store.commit([Document("list", f"blocklist/{name}", {}) for name in names], "ada")
    lists = await stage.open(Lists)
    for left in (names[1:], names[2:]):
        await lists.remove(lists.table.rows[:1])
        assert [row["suffix"] for row in lists.table.rows] == left
    report = await stage.open(Enforcement, range="1h")
    row = report.names.rows[0]
    report.decision.ask([row["key"]], "benign")
    await report.decision.submit()
    await report.reload()
    assert [each["passing"] for each in report.names.rows if each["key"] == row["key"]] == [True]


async def test_of_two_who_remove_an_entry_the_later_is_told_that_it_was_gone(stage: Stage) -> None:
    names = ["a.example.org", "b.example.org"]
    stage.store.commit([Document("list", f"blocklist/{name}", {}) for name in names], "ada")
    lists, late, look_up = [await stage.open(page, q=names[0]) for page in (Lists, Lists, Lookup)]
    rows = list(late.table.rows)
    for remove in (lists.remove(rows[:1]), late.remove(rows), look_up.remove("blocklist", names[0])):
        await remove
    once = "Removed 1; Audit can undo it"
    assert [text for text, _ in stage.told] == [once, f"{once}; 1 gone already", "Nothing removed; 1 gone already"]


async def test_a_token_that_cannot_be_read_is_told(stage: Stage) -> None:
    def token() -> str:
        raise FileNotFoundError(2, "No such file or directory", "/run/token")

    stage.client = Client("http://verdict", token, stage.transport)
    page = await stage.open(Enforcement)
    await page.pause(True)
    assert stage.told[-1][1] == "error" and "/run/token" in stage.told[-1][0]


def test_a_difference_names_what_changed() -> None:
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 3}) == ["b: ", "2", " \u2192 ", "3"]
    assert difference({"a": 1}, None) == ["removed"]
    assert difference({"assignee": ""}, {"assignee": "ada"}) == ["assignee: ", "none", " \u2192 ", "ada"]
    assert difference(None, {"role": "viewer", "hash": "4f" * 32}) == ["added", "; ", "role: ", "viewer"]
    assert difference(None, {"note": "why", "suffix": "example.org"}) == ["added", "; ", "suffix: ", "example.org"]
    # a time as it is: in whose zone, the browser knows
    assert difference({"expires": None}, {"expires": 1_795_570_885_000})[1:] == ["none", " \u2192 ", 1_795_570_885_000]


def test_an_opened_incident_stands_in_the_audit_without_its_evidence() -> None:
    body = {"status": "open", "records": [{"id": "r-0-1-1"}], "hours": {"1": 2}, "notified": {"mail": {}}}
    row = change_row(Document("incident", "192.0.2.1-1", body, author="watch", time=1, epoch=1), "analyst")
    assert row["change"] == ["added", "; ", "status: ", "open"]


async def test_a_client_leads_to_its_queries(stage: Stage) -> None:
    page = await stage.open(Clients, client="192.0.2.31", range="7d")
    assert page.log.more == "/queries?client=192.0.2.31&range=7d"
    assert [tile["href"] for tile in page.tiles.tiles] == [
        page.log.more + only for only in ("", "&tier=block", "&tier=alert", "&rcode=NXDOMAIN")
    ]
    looked = await stage.open(Lookup, q="tracker.example.net", below="1")
    assert looked.history.log.more == "/queries?qname=.tracker.example.net&range=7d"
