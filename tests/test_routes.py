import asyncio
import logging
import re
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from starlette.routing import Route

from deployments.messages import Scored
from serve_app.context import Context
from serve_app.haproxy import REFUSED
from serve_app.judge import judge_frame
from serve_app.own_records import OwnRecords
from serve_app.routes import application
from serve_app.settings import settings_of
from tests.test_elastic_reach import Door, answering
from verdicts import tokens
from verdicts.follower import Follower
from verdicts.keeper import Keeper
from verdicts.lists import entry
from verdicts.observations import MAX_ROWS, Batch, Observation
from verdicts.policy import Policy, Thresholds, Verdict
from verdicts.spool import Spool, SpoolFull
from verdicts.store import Document, Store, open_store

pytestmark = pytest.mark.anyio

BOOT = "0123456789abcdef" * 2
DEEP = b'{"more":' + b"[" * 10_000 + b"]" * 10_000 + b',"names":["a.org"]}'  # in a field that is passed over


class Graph:
    """Behind the ingress: scores by the name's length, keeps batches, counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.batches: list[bytes] = []
        self.full = False
        self.slow = 0.0
        self.scores: np.ndarray[Any, Any] | None = None

    async def judge(self, names: bytes, deadline: float) -> Scored | None:
        self.asked.append(names)
        await asyncio.sleep(self.slow)
        scores = self.scores
        if scores is None:
            scores = np.array([[0.0, min(len(name) / 100, 1.0)] for name in names.split(b"\n")], np.float32)
        return Scored("v1", Thresholds(alert_score=0.2), scores) if time.time() < deadline else None

    async def append(self, batch: bytes) -> None:
        if self.full:
            raise SpoolFull("spool: 10 of 10 octets")
        self.batches.append(batch)

    async def commit(self, *arguments: Any) -> Any:
        raise NotImplementedError

    async def model_status(self) -> dict[str, Any]:
        return {"model": "v1"}

    async def log_status(self) -> dict[str, Any]:
        return {"spool_bytes": 0}


class Setup:
    def __init__(self, folder: Path, **settings: Any) -> None:
        url = f"sqlite://{folder}/verdict.db"
        self.store: Store = open_store(url)
        self.store.initialise()
        self.tokens = {role: tokens.issue(role, "r1", 1) for role in ("resolver", "viewer", "admin")}
        self.store.commit([issued.document for issued in self.tokens.values()], "test")
        self.graph = Graph()
        self.follower = Follower(url)
        self.follower.poll()
        args = {"store_url": url, "registry": "r", "spool_dir": str(folder), **settings}
        self.context = Context(settings_of(args), self.follower, self.graph, "test")
        transport = httpx.ASGITransport(application(self.context))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://verdict")

    async def ask(self, path: str, body: Any, role: str = "resolver", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        bearer = {"Authorization": f"Bearer {self.tokens[role].text}"} if role else {}
        return await self.client.post(path, content=content, headers={**bearer, **headers})

    def decide(self, *documents: Document) -> None:
        self.store.commit(documents, "test")
        self.follower.poll()


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(tmp_path)
    yield made
    await made.client.aclose()
    made.store.close()


def frame(*names: str) -> dict[str, list[str]]:
    return {"names": list(names)}


async def test_a_frame_is_answered_in_its_order(setup: Setup) -> None:
    reply = await setup.ask("/v1/verdicts", frame("a.org", "LOCALHOST", "a-much-longer-name.org", "bad..name"))
    body = reply.json()
    assert reply.status_code == 200 and body["model"] == "v1"
    assert [v["source"] for v in body["verdicts"]] == ["model", "ineligible", "model", "ineligible"]
    assert [v["tier"] for v in body["verdicts"]] == ["none", "none", "alert", "none"]
    assert body["verdicts"][3]["rule"] == "malformed"
    assert body["asked"] == zlib.crc32(reply.request.content)
    assert setup.graph.asked == [b"a.org\na-much-longer-name.org"]


async def test_a_listed_name_is_decided_by_its_list_and_not_asked(setup: Setup) -> None:
    setup.decide(entry("blocklist", "bad.org"))
    body = (await setup.ask("/v1/verdicts", frame("www.bad.org"))).json()
    assert body["verdicts"][0]["source"] == "blocklist" and body["verdicts"][0]["rule"] == "bad.org"
    assert setup.graph.asked == [] and body["epoch"] == setup.store.epoch().number


async def test_the_epoch_stamped_is_the_one_read_before_deciding(setup: Setup) -> None:
    setup.graph.slow = 0.05
    before = setup.follower.epoch.number
    asked = asyncio.create_task(setup.ask("/v1/verdicts", frame("late.org")))
    await asyncio.sleep(0.01)
    setup.decide(entry("blocklist", "late.org"))
    body = (await asked).json()
    assert body["epoch"] == before < setup.follower.epoch.number


async def test_policy_of_the_store_overrules_the_artifacts_thresholds(setup: Setup) -> None:
    policy = Policy(thresholds=Thresholds(alert_score=0.01))
    setup.decide(Document("policy", "policy", msgspec.to_builtins(policy)))
    body = (await setup.ask("/v1/verdicts", frame("a.org"))).json()
    assert body["verdicts"][0]["tier"] == "alert"


@pytest.mark.parametrize("role, status", [("", 401), ("viewer", 403), ("admin", 200), ("resolver", 200)])
async def test_a_frame_needs_a_token_of_the_right_role(setup: Setup, role: str, status: int) -> None:
    assert (await setup.ask("/v1/verdicts", frame("a.org"), role)).status_code == status


async def test_a_token_is_looked_at_before_the_body(setup: Setup) -> None:
    reply = await setup.ask("/v1/verdicts", b"no json", role="")
    assert reply.status_code == 401 and reply.json()["code"] == "unauthorised"
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "body, status, said",
    [
        (b"{", 400, "body"),
        (b'{"names":[1]}', 400, "names[0]"),
        (b'{"names":[]}', 400, "expected 1 to 1024"),
        (msgspec.json.encode(frame(*["a.org"] * 1025)), 413, "1025"),
        (b'{"names":["' + b"a" * (5 << 20) + b'"]}', 413, "octets"),
        (b'{"names":["\xff"]}', 400, "body"),
        (DEEP, 400, "body"),
    ],
)
async def test_a_bad_frame_is_told_what_is_wrong(setup: Setup, body: bytes, status: int, said: str) -> None:
    reply = await setup.ask("/v1/verdicts", body)
    assert reply.status_code == status and said in reply.json()["message"]


async def test_the_log_names_a_token_at_its_first_question_and_at_each_refusal(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ray.serve")
    for role in ("resolver", "resolver", "viewer", "viewer"):
        await setup.ask("/v1/verdicts", frame("a.org"), role)
    key = {role: issued.document.key for role, issued in setup.tokens.items()}
    refusal = f"refused: token {key['viewer']}: has the role viewer, expected resolver or analyst"
    assert caplog.messages == [f"token {key['resolver']}, resolver r1, asks here", refusal, refusal]


@pytest.mark.parametrize("path", ["/v1/verdicts", "/v1/verdict"])
async def test_a_body_that_stalls_costs_no_more_than_the_budget(setup: Setup, path: str) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"names":'
        await asyncio.sleep(60)

    headers = {"Authorization": f"Bearer {setup.tokens['resolver'].text}", "Verdict-Budget-Ms": "100"}
    async with asyncio.timeout(20):
        reply = await setup.client.post(path, content=stalled(), headers=headers)
    assert reply.status_code == 504 and "not whole within 0.1 s" in reply.json()["message"]


async def test_a_refusal_that_read_no_body_ends_its_connection(setup: Setup) -> None:
    refused = await setup.ask("/v1/verdicts", frame("a.org"), role="")
    assert refused.status_code == 401 and refused.headers["connection"] == "close"
    assert refused.headers[REFUSED] == refused.text
    for reply in (
        await setup.ask("/v1/verdicts", frame("a.org")),
        await setup.ask("/v1/verdicts", b"{"),
        await setup.client.get("/v1/lists"),
    ):
        assert "connection" not in reply.headers and REFUSED not in reply.headers


async def test_a_refusal_that_names_strange_octets_fits_into_a_header(setup: Setup) -> None:
    bearer = f"Bearer {setup.tokens['resolver'].text}".encode()
    headers = {b"Authorization": bearer, b"Verdict-Budget-Ms": b"\xb2"}
    refused = await setup.client.post("/v1/verdicts", content=b"{}", headers=headers)
    assert refused.status_code == 400 and refused.headers[REFUSED] == refused.text


async def test_a_length_of_a_thousand_digits_is_too_large(setup: Setup) -> None:
    reply = await setup.ask("/v1/verdicts", b"{}", **{"Content-Length": "9" * 5000})
    assert reply.status_code == 413


async def test_a_body_without_a_stated_length_is_cut_at_the_limit(setup: Setup) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 65536

    bearer = {"Authorization": f"Bearer {setup.tokens['resolver'].text}"}
    assert (await setup.client.post("/v1/verdicts", content=endless(), headers=bearer)).status_code == 413


@pytest.mark.parametrize("budget", ["0", "-1", "abc", "1e3", "9" * 19])
async def test_a_bad_budget_is_malformed(setup: Setup, budget: str) -> None:
    reply = await setup.ask("/v1/verdicts", frame("a.org"), **{"Verdict-Budget-Ms": budget})
    assert reply.status_code == 400 and "Verdict-Budget-Ms" in reply.json()["message"]


async def test_a_budget_that_runs_out_is_504(setup: Setup) -> None:
    setup.graph.slow = 5.0
    began = time.monotonic()
    reply = await setup.ask("/v1/verdicts", frame("a.org"), **{"Verdict-Budget-Ms": "50"})
    assert reply.status_code == 504 and reply.json()["code"] == "expired" and time.monotonic() - began < 2


@pytest.mark.parametrize("scores", [[[0.1, 0.2], [0.1, 0.2]], [[np.nan, 0.1]], [[0.0, 1.2]], [[0.1]]])
async def test_scores_that_cannot_be_are_an_error_and_no_verdict(setup: Setup, scores: list[list[float]]) -> None:
    setup.graph.scores = np.array(scores, np.float32)
    assert (await setup.ask("/v1/verdicts", frame("a.org"))).status_code == 500


async def test_more_names_than_may_be_in_flight_are_refused_at_once(tmp_path: Path) -> None:
    made = Setup(tmp_path, max_names_in_flight=1024)
    made.graph.slow = 0.1
    first = asyncio.create_task(made.ask("/v1/verdicts", frame(*["a.org"] * 1000)))
    await asyncio.sleep(0.05)
    second = await made.ask("/v1/verdicts", frame(*["b.org"] * 1000))
    assert second.status_code == 503 and second.headers["retry-after"] == "1"
    assert (await first).status_code == 200
    assert (await made.ask("/v1/verdicts", frame("c.org"))).status_code == 200


async def test_a_clock_that_is_set_back_does_not_hold_the_limit_up(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = [0.0]
    clock = SimpleNamespace(time=lambda: time.time() + ahead[0], monotonic=time.monotonic)
    monkeypatch.setattr("serve_app.judge.time", clock)

    async def slow(names: bytes, deadline: float) -> Scored:
        await asyncio.sleep(0.6)  # more than half of the budget; what is left of it is for a busy machine
        return Scored("v1", Thresholds(), np.zeros((1, 2), np.float32))

    setup.graph.judge = slow  # type: ignore[method-assign]
    limits = [setup.context.admission.limit]
    for ahead[0] in (0.0, -3600.0, -3600.0):
        await judge_frame(setup.context, ["a.org"], 0, clock.time() + 1.1)
        limits.append(setup.context.admission.limit)
    assert limits == sorted(set(limits), reverse=True)


async def test_one_question_is_answered_and_recorded(setup: Setup) -> None:
    reply = await setup.ask("/v1/verdict", {"qname": "Wikipedia.ORG.", "client": "192.0.2.1"}, role="admin")
    assert reply.json()["qname"] == "wikipedia.org" and reply.json()["source"] == "model"
    await setup.context.records.flush()
    batch = msgspec.json.decode(setup.graph.batches[0], type=Batch)
    assert (batch.rows[0].qname, batch.rows[0].client, batch.seen) == ("wikipedia.org", "192.0.2.1", 1)


async def test_one_question_that_is_no_name_is_malformed(setup: Setup) -> None:
    reply = await setup.ask("/v1/verdict", {"qname": "a..b"})
    assert reply.status_code == 400 and "a..b" in reply.json()["message"]


async def test_a_client_without_end_is_not_kept_in_memory(setup: Setup) -> None:
    reply = await setup.ask("/v1/verdict", {"qname": "a.org", "client": "x" * 1025})
    assert reply.status_code == 400 and "client" in reply.json()["message"]


async def test_own_records_wait_for_a_log_that_is_full(setup: Setup) -> None:
    setup.graph.full = True
    await setup.ask("/v1/verdict", {"qname": "a.org"})
    with pytest.raises(SpoolFull):
        await setup.context.records.flush()
    setup.graph.full = False
    await setup.context.records.flush()
    await setup.context.records.flush()
    assert len(setup.graph.batches) == 1


async def test_own_records_of_a_long_outage_fit_into_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 1 << 30)

    async def append(batch: bytes) -> None:
        spool.append(batch)

    records = OwnRecords(append, "cluster-test")
    listed = Verdict("malicious", "block", "nxdomain", 60, "blocklist", 1.0, 0.0, "\\001" * 250)
    for _ in range(MAX_ROWS + 1):
        records.add("\\001" * 250, "\x01" * 1024, listed, "m", 1)
    for _ in range(5):
        await records.flush()
    batches = [msgspec.json.decode(batch, type=Batch) for batch in spool.read(1 << 40)[0]]
    spool.close()
    assert [batch.batch for batch in batches] == [1, 2, 3, 4]
    assert sum(len(batch.rows) for batch in batches) == MAX_ROWS and sum(batch.discarded for batch in batches) == 1


def report(resolver: str = "r1", epoch: int = 0, **changes: Any) -> Batch:
    row = Observation(qname="a.org", qtype="A", client="192.0.2.1", label="benign", first=1, last=2, source="model")
    return msgspec.structs.replace(Batch(resolver, BOOT, 1, epoch=epoch, seen=1, rows=[row]), **changes)


async def test_observations_are_handed_to_the_log_as_they_came(setup: Setup) -> None:
    body = msgspec.json.encode(report())
    reply = await setup.ask("/v1/observations", body)
    assert reply.status_code == 200 and setup.graph.batches == [body]


async def test_the_acknowledgement_tells_what_changed_since_the_resolvers_epoch(setup: Setup) -> None:
    seen = setup.follower.epoch
    setup.decide(entry("blocklist", "bad.org"))
    reply = await setup.ask("/v1/observations", report(epoch=seen.number, generation=seen.generation))
    body = reply.json()
    assert body["changed"] == ["bad.org"] and not body["refresh"] and body["epoch"] == seen.number + 1


async def test_a_paused_policy_reaches_the_resolver(setup: Setup) -> None:
    setup.decide(Document("policy", "policy", {"paused": True}))
    assert (await setup.ask("/v1/observations", report())).json()["paused"] is True


async def test_a_resolver_cannot_report_as_another(setup: Setup) -> None:
    reply = await setup.ask("/v1/observations", report("other"))
    assert reply.status_code == 403 and setup.graph.batches == []


async def test_observations_that_do_not_add_up_are_malformed(setup: Setup) -> None:
    reply = await setup.ask("/v1/observations", report(seen=5))
    assert reply.status_code == 400 and "seen 5" in reply.json()["message"]


async def test_observations_too_deep_to_read_are_malformed(setup: Setup) -> None:
    reply = await setup.ask("/v1/observations", DEEP)
    assert reply.status_code == 400 and "observations" in reply.json()["message"]


async def test_a_full_spool_is_503_with_retry_after(setup: Setup) -> None:
    setup.graph.full = True
    reply = await setup.ask("/v1/observations", report())
    assert reply.status_code == 503 and reply.headers["retry-after"] == "5"


async def test_without_decisions_there_is_no_verdict(setup: Setup, tmp_path: Path) -> None:
    empty = Setup(tmp_path / "new") if (tmp_path / "new").mkdir() is None else None
    assert empty is not None
    empty.context.follower = Follower(f"sqlite://{tmp_path}/absent.db")
    empty.context.settings = msgspec.structs.replace(empty.context.settings, auth="off")
    reply = await empty.ask("/v1/verdicts", frame("a.org"))
    assert reply.status_code == 503 and reply.headers["retry-after"] == "1"


async def test_a_revoked_token_is_refused_after_the_next_poll(setup: Setup) -> None:
    setup.decide(tokens.revoke(setup.tokens["resolver"].document))
    assert (await setup.ask("/v1/verdicts", frame("a.org"))).status_code == 401


async def test_readyz_says_which_part_is_missing(setup: Setup) -> None:
    reply = await setup.client.get("/readyz")
    assert reply.status_code == 503 and "unreachable" in reply.json()["model"]
    await setup.context._ask_status()
    assert (await setup.client.get("/readyz")).json()["ready"] is True


async def test_readyz_tells_nobody_which_resolvers_there_are(setup: Setup) -> None:
    async def log_status() -> dict[str, Any]:
        return {"spool_bytes": 0, "resolvers": [{"resolver": "ns1.secret.example.org"}]}

    setup.graph.log_status = log_status  # type: ignore[method-assign]
    await setup.context._ask_status()
    reply = await setup.client.get("/readyz")
    assert reply.status_code == 200 and "secret" not in reply.text and reply.json()["log"]["spool_bytes"] == 0


async def test_readyz_says_that_the_log_pauses_for_a_refused_key_and_reports_are_taken(
    setup: Setup, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("d3Jvbmc=")
    with answering(Door) as url:
        keeper = Keeper(f"{url}/?api_key_file={tmp_path / 'key'}", tmp_path / "log", 1 << 20)
        setup.graph.append = lambda batch: asyncio.to_thread(keeper.keep, batch)  # type: ignore[method-assign]
        setup.graph.log_status = lambda: asyncio.to_thread(keeper.status)  # type: ignore[method-assign]
        async with asyncio.timeout(60):
            assert (await setup.ask("/v1/observations", report())).status_code == 200
            while keeper.status()["store"] == "healthy":
                await asyncio.sleep(0.02)
        await setup.context._ask_status()
        said = (await setup.client.get("/readyz")).json()
        assert said["ready"] is True  # verdicts are given all the same
        assert said["log"]["store"] == "misconfigured" and said["log"]["since"] > 0
        assert "401 security_exception: no such key" in said["log"]["error"] and said["log"]["spool_bytes"] > 0
        await asyncio.to_thread(keeper.close)


async def test_a_restart_while_the_store_is_away_decides_by_the_snapshot_and_says_so(
    setup: Setup, tmp_path: Path
) -> None:
    setup.decide(entry("blocklist", "bad.org"))
    before = setup.context.follower = Follower(f"sqlite://{tmp_path}/verdict.db", tmp_path / "snapshot")
    periodic = asyncio.create_task(setup.context.run())
    async with asyncio.timeout(10):
        while not (tmp_path / "snapshot").exists():
            await asyncio.sleep(0.01)
    periodic.cancel()
    await asyncio.gather(periodic, return_exceptions=True)
    before.close()
    setup.context.follower = Follower(f"sqlite://{tmp_path}/away/verdict.db", tmp_path / "snapshot")
    reply = (await setup.ask("/v1/verdicts", frame("www.bad.org", "a.org"))).json()  # at once, before any poll
    assert [verdict["source"] for verdict in reply["verdicts"]] == ["blocklist", "model"]
    assert reply["epoch"] == before.epoch.number
    setup.context.follower.poll()
    await setup.context._ask_status()
    said = (await setup.client.get("/readyz")).json()
    assert (
        said["ready"] is True and said["decisions"]["stale_since"] > 0 and "no such file" in said["decisions"]["error"]
    )
    assert (await setup.ask("/v1/observations", report())).status_code == 200


async def test_healthz_and_openapi_need_no_token(setup: Setup) -> None:
    assert (await setup.client.get("/healthz")).status_code == 200
    document = (await setup.client.get("/openapi.json")).json()
    assert {"/v1/verdicts", "/v1/verdict", "/v1/observations"} <= set(document["paths"])


@pytest.mark.parametrize(
    "path, method, code",
    [
        ("/nope", "GET", "not-found"),
        ("/v1/verdicts", "GET", "method-not-allowed"),
        ("/v1/verdicts/", "POST", "not-found"),  # and no redirect
        ("/v1//verdicts", "POST", "not-found"),
        ("/v1%2Fverdicts", "POST", "unauthorised"),
        ("/v1/lists/", "GET", "not-found"),
        ("/v1/tokens", "TRACE", "method-not-allowed"),
        ("/v1/tokens", "X-STRANGE", "method-not-allowed"),
    ],
)
async def test_an_unknown_path_or_method_is_an_error_of_the_same_form(
    setup: Setup, path: str, method: str, code: str
) -> None:
    assert (await setup.client.request(method, path)).json()["code"] == code


async def test_every_route_but_three_asks_for_a_credential_first(setup: Setup) -> None:
    paths = [route.path for route in application(setup.context).routes if isinstance(route, Route)]
    assert len(paths) > 30
    for route in application(setup.context).routes:
        assert isinstance(route, Route) and route.methods is not None
        path = re.sub(r"{[^}]*}", "x", route.path)
        for method in route.methods:
            reply = await setup.client.request(method, path, content=b"{")
            open_to_all = path in ("/healthz", "/readyz", "/openapi.json")
            assert (reply.status_code != 401) == open_to_all, (method, path, reply.status_code)
