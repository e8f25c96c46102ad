"""An index a day or an hour, by the record's own time: repeats meet their first copy, and age takes whole indices."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.elastic import shared_url
from tests.stores import around, now, observation, promise, records, settled
from verdicts.store import Document, Unavailable
from verdicts.store.elastic import ElasticStore
from verdicts.store.elastic_documents import changes_of
from verdicts.store.elastic_schema import ROTATED, SETS, end_of, index_of

pytestmark = pytest.mark.elastic
HOUR = 3_600_000


@pytest.fixture(params=["day", "hour"])
def store(request: pytest.FixtureRequest) -> Iterator[ElasticStore]:
    opened = ElasticStore(f"{shared_url()}/?prefix=r{uuid.uuid4().hex[:12]}&replicas=0&per={request.param}")
    opened.initialise()
    yield opened
    opened.client.indices.delete(index=f"{opened.settings.prefix}-*")
    for name in SETS:
        opened.client.indices.delete_index_template(name=f"{opened.settings.prefix}-{name}")
    opened.close()


def indices(store: ElasticStore, name: str) -> list[str]:
    return sorted(store.client.indices.get(index=f"{store.settings.prefix}-{name}-*"))


def test_a_record_goes_to_the_index_of_its_own_time_and_a_late_repeat_too(store: ElasticStore) -> None:
    hour = store.settings.per == "hour"
    middle = now() // (24 * HOUR) * 24 * HOUR - 12 * HOUR  # noon of yesterday
    times = [middle + 10, middle + HOUR + 10]
    rows = [observation(f"n{i}.example.com", at) for i, at in enumerate(times)]
    for _ in range(2):
        assert store.append(records(rows), [promise(rows, at=times[1])]) == []
    settled(store)
    prefix = store.settings.prefix
    wanted = {
        f"{prefix}-log-" + datetime.fromtimestamp(at / 1000, UTC).strftime("%Y.%m.%d.%H" if hour else "%Y.%m.%d")
        for at in times
    }
    assert indices(store, "log") == sorted(wanted) and len(wanted) == (2 if hour else 1)
    assert store.client.count(index=f"{prefix}-log")["count"] == 2  # by the alias
    assert [(s.rows, s.stored) for s in store.reconcile(times[0], times[1] + 1)] == [(2, 2)]


def test_age_takes_whole_indices_and_no_record_that_is_younger(store: ElasticStore) -> None:
    width = HOUR if store.settings.per == "hour" else 24 * HOUR
    start = now() // width * width
    times = [start - 2 * width + 1, start - width - 1, start - width, start]
    for number, at in enumerate(times, 1):
        rows = [observation(f"n{number}.example.com", at)]
        store.append(records(rows, number), [promise(rows, number, at)])
    settled(store)
    assert store.retain(start - width - 1) == 0  # the first index holds a record that is as young
    assert store.retain(start - width) == 2  # of records and of promises
    found = store.search(around(start, start=start - 3 * width, end=start + width)).records
    assert sorted(record.qname for record in found) == ["n3.example.com", "n4.example.com"]
    assert all((end_of(name) or 0) > start - width for kind in ROTATED[:2] for name in indices(store, kind))


def test_rows_of_an_old_index_that_is_shut_are_dead_lettered_and_hold_up_no_others(store: ElasticStore) -> None:
    at = now()
    old = at - 50 * HOUR
    first = [observation("old.com", old)]
    store.append(records(first), [promise(first, at=old)])
    store.client.indices.put_settings(index=f"{store.settings.prefix}-*-*", settings={"index.blocks.write": True})
    rows = [observation("late.com", old), observation("new.com", at)]
    for _ in range(2):  # a repeat changes nothing
        [rejected] = store.append(records(rows, 2), [promise(rows, 2, at=old)])
        assert rejected.record.qname == "late.com" and "blocked by" in rejected.reason
    assert store.append(records(first), [promise(first, at=old)]) == []
    settled(store)
    found = [(s.batch, s.rows, s.stored, s.dead, s.missing) for s in store.reconcile(old - 1, old + 1)]
    assert found == [(1, 1, 1, 0, 0), (2, 2, 1, 1, 0)]


@pytest.mark.parametrize(
    ("block", "way_out"),
    [
        ("index.blocks.write", "set index.blocks.write to null"),
        ("index.blocks.read_only", "set index.blocks.read_only to null"),
        ("index.blocks.read_only_allow_delete", "free disk space"),
    ],
)
@pytest.mark.parametrize("kind", ["log", "history"])
def test_an_index_that_was_shut_lately_is_waited_for_and_told_with_the_way_out(
    store: ElasticStore, kind: str, block: str, way_out: str
) -> None:
    rows = [observation("new.com", now())]
    store.append(records(rows))
    index = index_of(store.settings.prefix, "log", now(), store.settings.per)
    index = index if kind == "log" else f"{store.settings.prefix}-history"
    put = store.client.indices.put_settings
    put(index=index, settings={block: True})
    with pytest.raises(Unavailable, match=rf"(?s){re.escape(index)}.*blocked by.*{way_out}"):
        if kind == "log":
            store.append(records(rows, 2))
        else:
            store.commit([Document("policy", "policy", {"paused": True})], "ann")
    put(index=index, settings={block: None})
    assert store.append(records(rows, 2)) == []


def test_every_index_has_the_explicit_mapping_and_the_alias(store: ElasticStore) -> None:
    store.append(records([observation()]))
    index = index_of(store.settings.prefix, "log", now(), store.settings.per)
    found = store.client.indices.get(index=index).body[index]
    assert list(found["aliases"]) == [f"{store.settings.prefix}-log"]
    assert found["mappings"]["dynamic"] == "false"
    kinds = set()

    def walk(properties: dict[str, dict[str, object]]) -> None:
        for field in properties.values():
            if "properties" in field:
                walk(field["properties"])  # type: ignore[arg-type]
            else:
                kinds.add(field["type"])

    walk(found["mappings"]["properties"])
    assert kinds == {"date", "keyword", "ip", "long", "half_float", "boolean", "alias"}


def test_only_a_commit_refreshes_the_indices_of_decisions_also_those_of_an_older_verdict(store: ElasticStore) -> None:
    def intervals() -> set[str]:
        found = store.client.indices.get_settings(index=both, flat_settings=True)
        return {body["settings"]["index.refresh_interval"] for body in found.values()}

    both = f"{store.settings.prefix}-state,{store.settings.prefix}-history"
    assert intervals() == {"-1"}
    store.client.indices.put_settings(index=both, settings={"refresh_interval": "1s"})
    store.initialise()
    assert intervals() == {"-1"}
    store.commit([Document("list", f"benign/{number}.org", {}) for number in range(3)], "ann")
    assert len(list(store.keys("list"))) == len(store.history("list")) == 3


def test_the_history_that_an_older_verdict_wrote_is_found_by_every_key(store: ElasticStore) -> None:
    """Before, each part and each commit of up to a thousand changes held all of its keys."""
    history = f"{store.settings.prefix}-history"
    for size in (300, 1500):
        store.commit([Document("list", f"benign/{number:04}.org", {"n": size}) for number in range(size)], "a")
    for hit in store.client.search(index=history, query={"range": {"part": {"gte": 0}}}, size=100)["hits"]["hits"]:
        source = hit["_source"] | {"keys": [change.key for change in changes_of(hit["_source"])]}
        store.client.index(index=history, id=hit["_id"], document=source)
        if source["sequence"] == 1:  # small enough to stand in its commit
            store.client.index(index=history, id="c-000000000001", document=source | {"part": -1, "parts": 0})
            store.client.delete(index=history, id=hit["_id"])
    settled(store)
    for number, bodies in ((0, [1500, 300]), (299, [1500, 300]), (300, [1500]), (1499, [1500])):
        found = store.history("list", f"benign/{number:04}.org")
        assert [d.body for d in found] == [{"n": n} for n in bodies]
    assert store.history("list", "benign/0001.com") == []
