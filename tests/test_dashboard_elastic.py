"""The dashboard over a real Elasticsearch: every page reads, and counts as over SQLite."""

import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dashboard import sample
from dashboard.client import Client
from dashboard.data import Data, reader_of
from dashboard.page import Context
from dashboard.pages import PAGES
from dashboard.pages.overview import Overview
from tests.elastic import shared_url
from tests.stores import sqlite_url
from verdicts.store import open_store

pytestmark = [pytest.mark.anyio, pytest.mark.elastic]
MINUTE = 60_000


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[list[Context]]:
    """The same traffic in Elasticsearch and in SQLite, and a viewer before each."""
    now = int(time.time() * 1000)
    contexts = []
    for url in (f"{shared_url()}/?prefix=d{uuid.uuid4().hex[:10]}&replicas=0", sqlite_url(tmp_path)):
        store = open_store(url)
        store.initialise()
        sample.fill(store, now - 8 * MINUTE, now - MINUTE, step=2000, rows=3, hostile=True, daily=False)
        if hasattr(store, "client"):
            store.client.indices.refresh(index="*")
        store.close()
        control = Client("", lambda: "").as_user("vic", "viewer")
        contexts.append(
            Context(
                Data(reader_of(url)), control, "vic", "viewer", lambda _: None, lambda _, __: None, {}, now - MINUTE
            )
        )
    yield contexts
    for context in contexts:
        context.data.close()


async def test_every_page_reads_elasticsearch(both: list[Context]) -> None:
    for path, kind in PAGES.items():
        query = {"q": "mail.example.org"} if path == "/lookup" else {"range": "1h"}
        page = kind(both[0], query)
        page.view()
        await page.start()
        assert [part.status for part in page.parts() if part.status["kind"] != "ready"] == [], path


async def test_both_stores_show_the_same_overview(both: list[Context]) -> None:
    shown = []
    for context in both:
        page = Overview(context, {"range": "1h"})
        page.view()
        await page.start()
        figures = [(tile["label"], tile["value"]) for tile in page.tiles.tiles]
        shown.append((figures, [(row["key"], row["count"], row["clients"]) for row in page.names.rows]))
    assert shown[0] == shown[1] and shown[0][0][0][1] > 100 and dict(shown[0][0])["Discarded"] > 0
