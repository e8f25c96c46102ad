"""Incidents as the pages read them: whole once, then what changed; and what an open one costs at each beat."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dashboard import followed
from dashboard.data import Data, reader_of
from dashboard.followed import Followed
from dashboard.pages.incidents import Incidents
from tests.dashboard_stage import MINUTE, Stage
from verdicts.store import Document, Store

pytestmark = pytest.mark.anyio


class Counting:
    """A store, and how often it was asked what."""

    def __init__(self, store: Store) -> None:
        self._store, self.asked, self.given = store, Counter[str](), 0

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        answer = getattr(self._store, name)
        return answer if name != "scan" else lambda *given: self._told(answer(*given))

    def _told(self, documents: Any) -> Any:
        for document in documents:
            self.given += 1
            yield document


def incident(client: str, end: int, **more: Any) -> Document:
    body = {"client": client, "state": "open", "start": end - MINUTE, "end": end, "names": ["x"], **more}
    return Document("incident", f"{client}-1", body)


def unslimmed(body: dict[str, Any]) -> dict[str, Any]:
    return body


def keys(found: list[Document]) -> list[str]:
    return [document.key for document in found]


def test_what_is_followed_is_read_whole_once_and_then_as_it_changes(store: Store) -> None:
    store.commit([incident(f"192.0.2.{number}", 10**12) for number in range(30)], "verdict")
    counting, all_of = Counting(store), Followed("incident", unslimmed)
    assert len(all_of.documents(counting)) == 30
    store.commit([incident("192.0.2.99", 10**12)], "verdict")
    store.commit([incident("192.0.2.5", 10**12, state="closed"), Document("incident", "192.0.2.6-1", None)], "ada")
    store.commit([Document("list", "benign/a.org", {})], "ada")
    found = all_of.documents(counting)
    assert found == list(store.scan("incident")) and (len(found), counting.given) == (30, 30)


def test_what_is_followed_is_read_whole_again_of_another_store_and_where_much_changed(
    store: Store, tmp_path: Path
) -> None:
    all_of = Followed("incident", unslimmed)
    store.commit([incident("192.0.2.1", 10**12)], "verdict")
    assert keys(all_of.documents(store)) == ["192.0.2.1-1"]
    store.commit([Document("incident", f"i{number:04}", {}) for number in range(1100)], "verdict")
    assert len(all_of.documents(store)) == 1101
    other = Stage(tmp_path / "other", traffic=False)
    other.store.commit([incident("192.0.2.2", 10**12)], "verdict")
    assert keys(all_of.documents(other.store)) == ["192.0.2.2-1"]
    other.store.close()


def test_what_the_store_forgot_as_too_old_is_followed_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    all_of = Followed("incident", unslimmed)
    store.commit([incident("192.0.2.1", 10**12)], "verdict")
    assert len(all_of.documents(store)) == 1
    store.forget("incident", 1 << 50)
    monkeypatch.setattr(followed, "WHOLE_S", 0.0)
    assert all_of.documents(store) == []


async def beat(page: Incidents) -> None:
    """Read again as five seconds later: what is good for less is known no more."""
    data, later = page.context.data, time.monotonic() + page.beat_seconds
    data._cache = {key: kept for key, kept in data._cache.items() if kept.expires > later}
    await page.reload()


async def test_a_beat_reads_neither_all_incidents_again_nor_the_rankings_of_the_open_one(
    url: str, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, traffic=False, url=url)
    stage.store.commit([incident(f"192.0.2.{number}", stage.now) for number in range(1, 30)], "verdict")
    counting = Counting(reader_of(stage.setup.url)())
    stage.data = Data(lambda: counting, workers=1)
    page = await stage.open(Incidents, id="192.0.2.7-1")
    assert counting.given == 29
    before = Counter(counting.asked)
    for _ in range(5):
        await beat(page)
    spent = counting.asked - before
    assert spent["top"] == spent["cube"] == spent["scan"] == spent["history"] == 0 < spent["search"]
    stage.store.commit([incident("192.0.2.7", stage.now + 9, count=12)], "verdict")
    await beat(page)
    assert (counting.asked - before)["top"] == 3 and counting.given == 29
    assert page.table.rows[page.table.selected]["count"] == 12
    await stage.close()
