"""How many queries the filters of the query log leave."""

import asyncio
from pathlib import Path

import pytest

from dashboard.components import READY
from dashboard.data import Failure
from dashboard.pages import queries
from dashboard.pages.queries import Queries, total
from tests.dashboard_stage import MINUTE, Stage
from tests.stores import observation, records, settled
from verdicts.store import Filter

pytestmark = pytest.mark.anyio


def log(stage: Stage, many: int = 9) -> None:
    rows = [
        observation(f"n{number}.example.org", stage.now - MINUTE, count=number, client="192.0.2.1", score=0.9)
        for number in range(many)
    ]
    stage.store.append(records(rows))
    settled(stage.store)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "36 queries"),  # of nine rows, one of count 0
        ({"qname": "n1.example.org"}, "1 query"),
        ({"client": "192.0.2.1", "qname": ".example.org"}, "36 queries"),
        ({"client": "192.0.2.0/24"}, "36 queries"),
        ({"qname": "n*.example.org", "min_score": "0.5"}, "36 queries"),
        ({"qname": "none.example.org"}, "0 queries"),
    ],
)
async def test_the_log_tells_how_many_queries_match_and_not_how_many_rows(
    url: str, tmp_path: Path, query: dict[str, str], said: str
) -> None:
    stage = Stage(tmp_path, traffic=False, url=url)
    log(stage)
    page = Queries(stage.context(), query)
    page.view()
    await page.start()
    while not page.table.note:
        await asyncio.sleep(0.01)
    assert page.table.note == said
    await stage.close()


async def test_where_counting_all_would_be_reading_all_it_tells_how_many_at_least(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "LOOKED_AT", 3)
    stage = Stage(tmp_path, traffic=False, url=url)
    log(stage)
    where = Filter(stage.now - 2 * MINUTE, stage.now)
    assert await total(stage.data, where) == "36 queries"
    said = await total(stage.data, Filter(where.start, where.end, name=".example.org"))
    assert said.startswith("at least ") and 0 < int(said.split()[2]) < 36
    await stage.close()


async def test_a_count_is_put_again_after_a_while_or_for_other_filters_and_keeps_no_row_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Filter] = []
    waits = asyncio.Event()

    async def slow(_: object, where: Filter) -> str:
        asked.append(where)
        await waits.wait()
        if where.tier:
            raise Failure("away")
        return f"{len(asked)} asked"

    monkeypatch.setattr(queries, "total", slow)
    page = Queries(stage.context(), {})
    page.view()
    first = asyncio.create_task(page.count(page.filters.where()))
    await page.reload()
    await page.count(page.filters.where())  # as at the next beat
    assert page.table.rows and not page.table.note and len(asked) == 1
    waits.set()
    await first
    await page.count(page.filters.where())
    assert page.table.note == "1 asked"
    page.filters.param.update(tier=["block"])
    await page.count(page.filters.where())
    assert page.table.note == "" and asked[-1].tier == ("block",) and not page.failed
    monkeypatch.setattr(queries, "COUNT_S", 0.0)
    page.filters.param.update(tier=[])
    await page.count(page.filters.where())
    before = len(asked)
    await page.count(page.filters.where())
    assert len(asked) == before + 1


async def test_who_goes_live_again_on_an_older_page_sees_the_newest(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "ROWS", 5)
    page = await stage.open(Queries)
    newest = page.table.rows[0]["id"]

    async def read() -> None:
        while page.table.status != READY:
            await asyncio.sleep(0.01)

    page._older(None)
    await read()
    assert page.table.rows[0]["id"] != newest and not page.live.value
    page.live.value = True
    await read()
    assert page.table.rows[0]["id"] == newest and page.newer.disabled
