"""serve_app/control*.py: who may do what, that it holds at once, and that it can be undone and traced."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from serve_app import control
from serve_app.wire import WireError
from tests.control_setup import Setup
from verdicts.store import Document, Unavailable
from verdicts.tokens import Tokens

pytestmark = pytest.mark.anyio

NAME = "evil.example-shop.com"
BLOCK = {"entries": [{"list": "blocklist", "suffix": NAME}], "note": "phishing"}


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


READS = [
    "/v1/lists",
    "/v1/policy",
    "/v1/models",
    "/v1/audit",
    "/v1/status",
    "/v1/labels",
    "/v1/vetting",
    "/v1/incidents",
    "/v1/views",
]
WRITES: list[tuple[str, str, Any, str]] = [
    ("POST", "/v1/lists", BLOCK, "analyst"),
    ("DELETE", "/v1/lists", BLOCK, "analyst"),
    ("POST", "/v1/lists/import", {"list": "blocklist", "text": NAME}, "analyst"),
    ("POST", "/v1/vetting", {"decisions": [{"name": NAME}]}, "analyst"),
    ("POST", "/v1/labels", {"labels": [{"name": NAME, "label": "benign"}]}, "analyst"),
    ("POST", "/v1/policy/pause", {"paused": True}, "analyst"),
    ("PUT", "/v1/policy", {"policy": {"cache_ttl": 60}}, "admin"),
    ("POST", "/v1/tokens", {"role": "viewer", "name": "eve"}, "admin"),
]
RANK = {"viewer": 0, "analyst": 1, "admin": 2}


@pytest.mark.parametrize("path", READS)
async def test_without_a_credential_nothing_is_told(setup: Setup, path: str) -> None:
    reply = await setup.ask("GET", path, role="")
    assert reply.status_code == 401 and reply.json()["code"] == "unauthorised"


@pytest.mark.parametrize("path", READS)
async def test_a_resolvers_token_is_not_for_people(setup: Setup, path: str) -> None:
    assert (await setup.ask("GET", path, role="resolver")).status_code == 403


@pytest.mark.parametrize("path", READS)
async def test_a_viewer_may_read(setup: Setup, path: str) -> None:
    assert (await setup.ask("GET", path, role="viewer")).status_code == 200


@pytest.mark.parametrize("role", ["viewer", "analyst", "admin"])
@pytest.mark.parametrize(("method", "path", "body", "needed"), WRITES, ids=[f"{m} {p}" for m, p, _, _ in WRITES])
async def test_a_role_writes_what_it_may_and_nothing_else(
    setup: Setup, method: str, path: str, body: Any, needed: str, role: str
) -> None:
    before = setup.store.epoch()
    reply = await setup.ask(method, path, body, role)
    if RANK[role] >= RANK[needed]:
        assert reply.status_code == 200, reply.text
    else:
        assert reply.status_code == 403 and setup.store.epoch() == before


@pytest.mark.parametrize(("method", "path", "body", "needed"), WRITES, ids=[f"{m} {p}" for m, p, _, _ in WRITES])
async def test_a_stated_role_takes_rights_away(setup: Setup, method: str, path: str, body: Any, needed: str) -> None:
    assert (await setup.ask(method, path, body, "admin", verdict_role="viewer")).status_code == 403


async def test_a_stated_role_never_gives_rights(setup: Setup) -> None:
    reply = await setup.ask("PUT", "/v1/policy", {"policy": {"cache_ttl": 60}}, "analyst", verdict_role="admin")
    assert reply.status_code == 403


async def test_a_blocked_name_is_blocked_from_the_epoch_of_the_reply_on(setup: Setup) -> None:
    reply = await setup.good("POST", "/v1/lists", BLOCK, "analyst")
    verdict = await setup.verdict("www." + NAME)
    assert verdict["source"] == "blocklist" and verdict["epoch"] >= reply["epoch"]


async def test_a_removed_entry_no_longer_decides(setup: Setup) -> None:
    await setup.good("POST", "/v1/lists", BLOCK)
    await setup.good("DELETE", "/v1/lists", BLOCK)
    assert (await setup.verdict(NAME))["source"] == "model"


async def test_undo_writes_the_former_body_back(setup: Setup) -> None:
    await setup.good("POST", "/v1/lists", BLOCK)
    change = (await setup.good("GET", "/v1/lists/history"))["changes"][0]
    await setup.good("POST", "/v1/audit/undo", {key: change[key] for key in ("kind", "key", "epoch", "time")})
    assert (await setup.verdict(NAME))["source"] == "model"


async def test_undo_is_refused_when_somebody_changed_it_since(setup: Setup) -> None:
    await setup.good("POST", "/v1/lists", BLOCK)
    change = (await setup.good("GET", "/v1/lists/history"))["changes"][0]
    await setup.good("DELETE", "/v1/lists", BLOCK)
    reply = await setup.ask("POST", "/v1/audit/undo", {key: change[key] for key in ("kind", "key", "epoch", "time")})
    assert reply.status_code == 409


async def test_an_imported_prevalence_list_is_told_of_in_few_names_and_taken_back_whole(setup: Setup) -> None:
    first, second = ([f"shop-{n}.{top}" for n in range(25_000)] for top in ("com", "net"))
    for names in (first, second):
        text = "".join(f"{rank},{name}\n" for rank, name in enumerate(names, 1))
        await setup.good("POST", "/v1/lists/import", {"list": "prevalence", "form": "top", "text": text})
    reply = await setup.ask("GET", "/v1/audit?kind=prevalence")
    changes = reply.json()["changes"]
    assert len(changes) == 6 and len(reply.content) < 10_000
    told = {(change["body"]["first"], change["body"]["count"]) for change in changes}
    assert told == {(1, 10_000), (10_001, 10_000), (20_001, 5_000)}
    newest = next(change for change in changes if change["body"]["first"] == 1)
    assert newest["body"]["names"].split("\n") == second[:5] and newest["previous"]["names"].split("\n") == first[:5]
    commit = {key: newest[key] for key in ("epoch", "time")}
    await setup.good("POST", "/v1/audit/undo", {**commit, "kind": "prevalence"})
    exported = await setup.good("GET", "/v1/lists/export?list=prevalence")
    assert exported["text"].splitlines() == first


async def test_a_whole_commit_is_undone_together(setup: Setup) -> None:
    await setup.good("POST", "/v1/lists", {"entries": [{"list": "benign", "suffix": "kept.example-shop.com"}]})
    names = [f"n{number}.example-shop.com" for number in range(3)]
    decisions = [{"name": name, "list": "blocklist", "label": "malicious"} for name in names]
    await setup.good("POST", "/v1/vetting", {"decisions": decisions})
    change = (await setup.good("GET", "/v1/audit?limit=1"))["changes"][0]
    whole = {key: change[key] for key in ("epoch", "time")}
    labels = await setup.good("POST", "/v1/audit/undo", {**whole, "kind": "label"})
    assert labels["undone"] == 3 and (await setup.good("GET", "/v1/labels"))["labels"] == []
    reply = await setup.ask("POST", "/v1/audit/undo", whole)  # of the commit, three labels have changed since
    assert reply.status_code == 409 and len((await setup.good("GET", "/v1/vetting"))["decisions"]) == 3
    for kind in ("list", "vetting"):
        await setup.good("POST", "/v1/audit/undo", {**whole, "kind": kind}, "analyst")
    assert [entry["suffix"] for entry in (await setup.good("GET", "/v1/lists"))["entries"]] == ["kept.example-shop.com"]
    assert (await setup.good("GET", "/v1/vetting"))["decisions"] == []


async def test_a_whole_commit_is_not_undone_by_whoever_may_not_undo_a_part(setup: Setup) -> None:
    await setup.good("PUT", "/v1/policy", {"policy": {"answer_ttl": 30}})
    change = (await setup.good("GET", "/v1/audit?limit=1"))["changes"][0]
    reply = await setup.ask("POST", "/v1/audit/undo", {key: change[key] for key in ("epoch", "time")}, "analyst")
    assert reply.status_code == 403
    reply = await setup.ask("POST", "/v1/audit/undo", {"epoch": change["epoch"] + 1, "time": change["time"]})
    assert reply.status_code == 404


async def test_undo_does_not_bring_back_what_expired_meanwhile(setup: Setup) -> None:
    now = int(time.time() * 1000)
    gone = Document("list", f"blocklist/{NAME}", {"note": "", "expires": now - 1})
    setup.store.commit([gone], "ada")
    setup.store.commit([Document("list", gone.key, None)], "expiry")
    change = (await setup.good("GET", "/v1/lists/history"))["changes"][0]
    reply = await setup.ask("POST", "/v1/audit/undo", {key: change[key] for key in ("kind", "key", "epoch", "time")})
    assert reply.status_code == 409 and "expired" in reply.text
    whole = await setup.good("POST", "/v1/audit/undo", {key: change[key] for key in ("epoch", "time")})
    assert whole["undone"] == 1 and setup.store.get("list", gone.key) is None


async def test_a_name_that_somebody_decided_meanwhile_is_not_decided_again(setup: Setup) -> None:
    seen = setup.store.history("", "", 1)[0].epoch
    await setup.good("POST", "/v1/vetting", {"decisions": [{"name": NAME, "list": "benign"}], "expect": seen})
    both = [{"name": "other.example-shop.com", "list": "blocklist"}, {"name": NAME, "list": "blocklist"}]
    reply = await setup.ask("POST", "/v1/vetting", {"decisions": both, "expect": seen})
    assert reply.status_code == 409
    assert [entry["list"] for entry in (await setup.good("GET", "/v1/lists"))["entries"]] == ["benign"]


async def test_the_history_names_the_person_and_the_token(setup: Setup) -> None:
    await setup.good("POST", "/v1/lists", BLOCK, "analyst", verdict_user="Zo%C3%AB Adams")
    change = (await setup.good("GET", "/v1/lists/history"))["changes"][0]
    assert (change["author"], change["note"]) == ("Zoë Adams (the-analyst)", "phishing")


async def test_who_is_named_as_the_token_stands_in_the_history_once(setup: Setup) -> None:
    await setup.good("POST", "/v1/lists", BLOCK, "analyst", verdict_user="the-analyst")
    assert setup.store.history("list")[0].author == "the-analyst"


async def test_an_import_takes_comments_hosts_lines_and_nothing_that_is_no_name(setup: Setup) -> None:
    text = "# a list\none.example-shop.com\n0.0.0.0 two.example-shop.com # from a hosts file\n\n"
    assert (await setup.good("POST", "/v1/lists/import", {"list": "blocklist", "text": text}))["entries"] == 2
    exported = await setup.good("GET", "/v1/lists/export?list=blocklist")
    assert exported["text"].split() == ["one.example-shop.com", "two.example-shop.com"]


async def test_an_import_tells_a_bad_line_and_takes_the_rest(setup: Setup) -> None:
    text = "good.example-shop.com\nco.uk\n"
    answer = await setup.good("POST", "/v1/lists/import", {"list": "blocklist", "text": text})
    assert (answer["entries"], answer["left_out"], answer["problems"][0]["line"]) == (1, 1, 2)
    assert [entry["suffix"] for entry in (await setup.good("GET", "/v1/lists"))["entries"]] == ["good.example-shop.com"]


async def test_an_import_without_any_name_is_refused(setup: Setup) -> None:
    reply = await setup.ask("POST", "/v1/lists/import", {"list": "blocklist", "text": "co.uk\n"})
    assert reply.status_code == 400 and "line 1" in reply.json()["message"]


async def test_lists_are_searched_page_by_page(setup: Setup) -> None:
    text = "".join(f"n{number}.example-shop.com\n" for number in range(5))
    await setup.good("POST", "/v1/lists/import", {"list": "benign", "text": text})
    first = await setup.good("GET", "/v1/lists?limit=3&contains=EXAMPLE")
    rest = await setup.good("GET", f"/v1/lists?limit=3&contains=example&after={first['after']}")
    assert [e["suffix"][:2] for e in first["entries"] + rest["entries"]] == ["n0", "n1", "n2", "n3", "n4"]
    assert rest["after"] is None


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("POST", "/v1/lists", b"{", "body"),
        ("POST", "/v1/lists", b'{"entries":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "body"),
        ("POST", "/v1/lists", {"entries": [], "note": ""}, "expected 1 to"),
        ("POST", "/v1/lists", {"entries": [{"list": "blocklist", "suffix": "com"}]}, "public suffix"),
        ("POST", "/v1/lists", {"entries": [{"list": "red", "suffix": NAME}]}, "expected one of"),
        ("POST", "/v1/lists", {"entries": [{"list": "blocklist", "suffix": NAME, "expires": 1}]}, "after now"),
        ("POST", "/v1/lists", {"entries": [], "colour": 1}, "colour"),
        ("PUT", "/v1/policy", {"policy": {"colour": 1}}, "colour"),
        ("PUT", "/v1/policy", {"policy": {"thresholds": {"block": 2}}}, "expected 0 to 1"),
        ("PUT", "/v1/policy", {"policy": {"overrides": [{"client": "x", "mode": "off"}]}}, "an address or a prefix"),
        ("PUT", "/v1/policy", {"policy": {"honeypot_answers": ["here"]}}, "an address"),
        ("PUT", "/v1/policy", {"policy": {"block_action": "explode"}}, "block_action"),
        ("POST", "/v1/tokens", {"role": "god", "name": "x"}, "role"),
        ("POST", "/v1/labels", {"labels": [{"name": "a..b", "label": "benign"}]}, "empty label"),
        ("POST", "/v1/explain", {"name": ""}, "at least one label"),
        ("GET", "/v1/lists?limit=many", None, "limit"),
    ],
)
async def test_bad_input_is_told_what_was_expected(setup: Setup, method: str, path: str, body: Any, says: str) -> None:
    reply = await setup.ask(method, path, body)
    assert reply.status_code == 400 and says in reply.json()["message"], reply.text


async def test_a_body_beyond_the_limit_is_refused(setup: Setup) -> None:
    assert (await setup.ask("POST", "/v1/lists", b" " * ((8 << 20) + 1))).status_code == 413


async def test_a_change_of_policy_keeps_the_other_fields(setup: Setup) -> None:
    await setup.good("PUT", "/v1/policy", {"policy": {"cache_ttl": 60}})
    await setup.good("PUT", "/v1/policy", {"policy": {"answer_ttl": 5}})
    policy = (await setup.good("GET", "/v1/policy"))["policy"]
    assert (policy["cache_ttl"], policy["answer_ttl"]) == (60, 5)


async def test_a_change_of_a_policy_that_somebody_changed_meanwhile_is_refused(setup: Setup) -> None:
    seen = (await setup.good("GET", "/v1/policy"))["epoch"]
    await setup.good("PUT", "/v1/policy", {"policy": {"cache_ttl": 60}})
    reply = await setup.ask("PUT", "/v1/policy", {"policy": {"cache_ttl": 90}, "expect": seen})
    assert reply.status_code == 409


async def test_a_pause_reaches_the_resolvers_with_the_next_acknowledgement(setup: Setup) -> None:
    await setup.good("POST", "/v1/policy/pause", {"paused": True, "note": "incident"}, "analyst")
    batch = {"resolver": "the-resolver", "boot": "0" * 32, "batch": 1}
    assert (await setup.good("POST", "/v1/observations", batch, "resolver"))["paused"] is True


async def test_status_shows_the_resolvers_that_report(setup: Setup) -> None:
    batch = {"resolver": "the-resolver", "boot": "0" * 32, "batch": 7, "epoch": 1}
    await setup.good("POST", "/v1/observations", batch, "resolver")
    found = (await setup.good("GET", "/v1/status"))["resolvers"][0]
    assert (found["resolver"], found["batch"], found["epoch"]) == ("the-resolver", 7, 1)


async def test_a_new_token_works_at_once_and_a_revoked_one_no_longer(setup: Setup) -> None:
    issued = await setup.good("POST", "/v1/tokens", {"role": "viewer", "name": "eve"})
    bearer = {"Authorization": f"Bearer {issued['token']}"}
    assert (await setup.clients[0].get("/v1/lists", headers=bearer)).status_code == 200
    await setup.good("DELETE", f"/v1/tokens/{issued['id']}")
    assert (await setup.clients[0].get("/v1/lists", headers=bearer)).status_code == 401


async def test_a_rotated_token_leaves_its_predecessor_good_for_the_grace_alone(setup: Setup) -> None:
    old = setup.tokens["viewer"]
    new = await setup.good("POST", f"/v1/tokens/{old.document.key}/rotate", {"grace": 60_000})
    now = setup.contexts[0].follower.view.of_kind("token")
    assert Tokens(now.values()).check(f"Bearer {new['token']}", "viewer").name == "the-viewer"
    body = now[old.document.key].body
    assert body is not None and body["expires"] is not None


async def test_neither_list_nor_history_of_tokens_shows_a_hash(setup: Setup) -> None:
    for path in ("/v1/tokens", "/v1/audit?kind=token"):
        assert "hash" not in (await setup.ask("GET", path)).text


async def test_a_vetting_decision_lists_labels_and_settles_in_one_commit(setup: Setup) -> None:
    decision = {"name": NAME.upper(), "list": "blocklist", "label": "malicious"}
    reply = await setup.good("POST", "/v1/vetting", {"decisions": [decision], "note": "seen twice"}, "analyst")
    changes = (await setup.good("GET", "/v1/audit?limit=3"))["changes"]
    assert {(c["kind"], c["epoch"]) for c in changes} == {(k, reply["epoch"]) for k in ("list", "label", "vetting")}
    assert (await setup.good("GET", "/v1/labels"))["labels"][0]["label"] == "malicious"


async def test_a_name_in_another_script_is_what_resolvers_are_asked_for(setup: Setup) -> None:
    typed, name = "b\u00fccher.example-shop.com", "xn--bcher-kva.example-shop.com"
    await setup.good("POST", "/v1/labels", {"labels": [{"name": typed, "label": "benign"}]})
    assert [label["key"] for label in (await setup.good("GET", "/v1/labels"))["labels"]] == [name]
    await setup.good("POST", "/v1/vetting", {"decisions": [{"name": typed, "list": "blocklist"}]})
    assert [each["key"] for each in (await setup.good("GET", "/v1/vetting"))["decisions"]] == [name]
    assert (await setup.good("POST", "/v1/explain", {"name": typed}))["entry"] == {"list": "blocklist", "suffix": name}
    spelt = {"labels": [{"name": "b\\195\\188cher.example-shop.com", "label": "benign"}]}  # such a name may be asked
    await setup.good("POST", "/v1/labels", spelt)


async def test_a_retrain_takes_from_the_store_what_it_is_not_given(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[dict[str, Any]] = []

    def start(settings: dict[str, Any], registry: str, runs: str, notice: str) -> str:
        began.append(settings | {"told": notice})
        if len(began) == 3:
            raise OSError("No space left on device")
        return f"j{len(began)}"

    monkeypatch.setattr("deployments.trainer.start", start)
    stored = {"labels": ["stored"], "seen": ["seen"]}, "older ones do not"
    monkeypatch.setattr("serve_app.control_jobs.taught", lambda store, now: stored)
    await setup.good("POST", "/v1/jobs", {"kind": "retrain"})
    await setup.good("POST", "/v1/jobs", {"kind": "retrain", "settings": {"labels": ["given"], "epochs": 1}})
    assert began[0] == {"kind": "retrain", "labels": ["stored"], "seen": ["seen"], "told": "older ones do not"}
    assert began[1] == {"kind": "retrain", "labels": ["given"], "seen": ["seen"], "epochs": 1, "told": ""}
    full = await setup.ask("POST", "/v1/jobs", {"kind": "retrain"})
    assert full.status_code == 503 and "No space left" in full.text


async def test_a_listed_name_is_explained_by_its_entry_and_by_what_the_model_alone_says(setup: Setup) -> None:
    await setup.good("POST", "/v1/lists", BLOCK)
    listed = await setup.good("POST", "/v1/explain", {"name": "www." + NAME})
    assert listed["entry"] == {"list": "blocklist", "suffix": NAME} and listed["verdict"]["source"] == "blocklist"
    assert listed["alone"]["tier"] == "alert" and len(listed["characters"]) == len("www." + NAME)
    scored = await setup.good("POST", "/v1/explain", {"name": "other.example-shop.com"})
    assert scored["entry"] is None and len(scored["characters"]) == len("other.example-shop.com")


@pytest.mark.parametrize("name", ["printer.internal", "1.10.in-addr.arpa"])
async def test_of_a_listed_name_that_no_model_is_asked_of_no_model_says_anything(setup: Setup, name: str) -> None:
    await setup.good("POST", "/v1/lists", {"entries": [{"list": "blocklist", "suffix": name}]})
    listed = await setup.good("POST", "/v1/explain", {"name": name})
    assert listed["entry"]["suffix"] == name and listed["alone"] is None and listed["characters"] == []


async def test_an_entry_explains_without_the_model(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: Any) -> None:
        raise WireError("unavailable", "the model cannot be reached", retry_after=1)

    monkeypatch.setattr(setup.graph, "explain", away)
    await setup.good("POST", "/v1/lists", BLOCK)
    listed = await setup.good("POST", "/v1/explain", {"name": NAME})
    assert listed["entry"] and listed["characters"] == [] and listed["alone"] is None
    assert (await setup.ask("POST", "/v1/explain", {"name": "other.example-shop.com"})).status_code == 503


async def test_an_unknown_model_is_not_found(setup: Setup) -> None:
    assert (await setup.ask("GET", "/v1/models/none-such")).status_code == 404


async def test_a_store_that_is_away_refuses_changes_with_503(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: Any) -> None:
        raise Unavailable("store: no answer")

    monkeypatch.setattr(setup.graph, "commit", away)
    reply = await setup.ask("POST", "/v1/lists", BLOCK)
    assert reply.status_code == 503 and "Retry-After" in reply.headers


async def test_a_job_that_cannot_be_written_down_is_stopped(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: Any) -> None:
        raise Unavailable("store: no answer")

    cancelled: list[str] = []
    monkeypatch.setattr(setup.graph, "commit", away)
    monkeypatch.setattr("deployments.trainer.start", lambda *asked: "j1")
    monkeypatch.setattr("deployments.trainer.cancel", lambda job, runs: cancelled.append(job) or {})
    reply = await setup.ask("POST", "/v1/jobs", {"kind": "train", "settings": {"data": "x"}})
    assert reply.status_code == 503 and cancelled == ["j1"]


def test_the_documentation_lists_every_route_and_no_other(setup: Setup) -> None:
    text = (Path(__file__).parent.parent / "docs" / "control-api.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z]+ /v1/\S+)` \|", text, re.MULTILINE))
    mounted = {
        f"{method} {route.path.replace(':path', '')}"
        for route in control.routes(setup.contexts[0])
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert documented == mounted
