"""serve_app/exposition.py: the Prometheus servers of all nodes, as one, for who has a token."""

import asyncio
from collections.abc import Iterator
from threading import Event, Thread, get_ident
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, make_wsgi_app
from prometheus_client.parser import text_string_to_metric_families

from serve_app import exposition
from serve_app.exposition import NoAnswer, Source, gather, merged
from tests.test_routes import Setup, setup  # noqa: F401

pytestmark = pytest.mark.anyio


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def nodes() -> Iterator[list[Source]]:
    """Two nodes, each with a counter of its own replicas."""
    servers = []
    for number in (1, 2):
        registry = CollectorRegistry()
        Counter("ray_verdict_names", "Names judged.", ["source", "node"], registry=registry).labels(
            "model", str(number)
        ).inc(number)
        Gauge("ray_verdict_epoch", "Epoch.", ["node"], registry=registry).labels(str(number)).set(17)
        server = make_server("127.0.0.1", 0, make_wsgi_app(registry), handler_class=Quiet)
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    yield [Source("127.0.0.1", server.server_port) for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


async def test_the_metrics_of_all_nodes_are_one_exposition(nodes: list[Source]) -> None:
    text = (await gather(nodes)).decode()
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    judged = {s.labels["node"]: s.value for s in families["ray_verdict_names"] if s.name.endswith("_total")}
    assert judged == {"1": 1.0, "2": 2.0} and len(families["ray_verdict_epoch"]) == 2
    assert text.count("# TYPE ray_verdict_epoch ") == 1


async def test_a_node_that_does_not_answer_costs_its_own_alone(nodes: list[Source]) -> None:
    text = (await gather([nodes[0], Source("127.0.0.1", 1)])).decode()
    assert 'node="1"' in text


async def test_putting_them_together_holds_up_no_frame(nodes: list[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(exposition, "merged", lambda texts: threads.append(get_ident()) or "")
    await gather(nodes)
    assert threads and get_ident() not in threads


async def test_no_answer_at_all_is_said() -> None:
    with pytest.raises(NoAnswer, match="none of 1 nodes"):
        await gather([Source("127.0.0.1", 1)])


def test_what_has_no_head_stays() -> None:
    assert merged(["a 1\n", "a 2\n# HELP b B.\n# TYPE b gauge\nb 3\n"]) == (
        "a 1\na 2\n# HELP b B.\n# TYPE b gauge\nb 3\n"
    )


@pytest.mark.parametrize("role, status", [("", 401), ("resolver", 403), ("viewer", 200), ("admin", 200)])
async def test_metrics_need_a_viewers_token(
    setup: Setup,  # noqa: F811
    nodes: list[Source],
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    status: int,
) -> None:
    monkeypatch.setattr(exposition, "sources", lambda: nodes)
    bearer = {"Authorization": f"Bearer {setup.tokens[role].text}"} if role else {}
    reply = await setup.client.get("/metrics", headers=bearer)
    assert reply.status_code == status and ("ray_verdict_epoch" in reply.text) == (status == 200)


async def test_metrics_that_are_off_are_not_found_and_said_how(setup: Setup) -> None:  # noqa: F811
    reply = await setup.client.get("/metrics", headers={"Authorization": f"Bearer {setup.tokens['viewer'].text}"})
    assert reply.status_code == 404 and "--metrics-port" in reply.json()["message"]


async def test_no_answer_is_503_with_retry_after(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(exposition, "sources", lambda: [Source("127.0.0.1", 1)])
    reply = await setup.client.get("/metrics", headers={"Authorization": f"Bearer {setup.tokens['viewer'].text}"})
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")


async def test_while_rays_head_is_silent_scrapes_end_in_time_and_take_no_thread_that_others_need(
    setup: Setup,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speaks = Event()
    monkeypatch.setattr(exposition, "sources", lambda: speaks.wait(30) and [])
    monkeypatch.setattr(exposition, "PATIENCE_S", 0.3)
    bearer = {"Authorization": f"Bearer {setup.tokens['viewer'].text}"}
    try:
        async with asyncio.timeout(10):
            replies = await asyncio.gather(*(setup.client.get("/metrics", headers=bearer) for _ in range(64)))
            assert {reply.status_code for reply in replies} == {503}
            assert (await setup.client.get("/openapi.json")).status_code == 200  # made on a thread of asyncio's
    finally:
        speaks.set()


def test_a_node_is_asked_at_its_address_of_either_version() -> None:
    assert Source("192.0.2.1", 80).url == "http://192.0.2.1:80/metrics"
    assert Source("2001:db8::1", 80).url == "http://[2001:db8::1]:80/metrics"
