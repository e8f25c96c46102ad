"""The roll-up of Elasticsearch's log says what the log says, or is not believed."""

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.elastic import shared_url
from tests.stores import MINUTE, now, observation, records, settled
from verdicts.observations import Observation
from verdicts.store import Filter, Misconfigured
from verdicts.store.elastic import ElasticStore
from verdicts.store.elastic_counts import DAY, HOUR, QUARTER
from verdicts.store.elastic_schema import SETS

pytestmark = pytest.mark.elastic

FIELDS = ("label", "tier", "enforced", "rcode", "reason")


@pytest.fixture
def store() -> Iterator[ElasticStore]:
    prefix = f"t{uuid.uuid4().hex[:12]}"
    made = ElasticStore(f"{shared_url()}/?prefix={prefix}&replicas=0")
    made.initialise()
    yield made
    made.client.indices.delete(index=f"{prefix}-*")
    for name in SETS:
        made.client.options(ignore_status=404).indices.delete_index_template(name=f"{prefix}-{name}")
    made.close()


def rows(first: int, many: int = 40, step: int = 77 * MINUTE) -> list[Observation]:
    """Rows of all kinds over two days and a bit, some without a count, a reason or a code."""
    kinds: list[dict[str, Any]] = [
        {}, {"rcode": "", "count": 3}, {"label": "unknown", "reason": "timeout", "source": "none"},
        {"label": "malicious", "tier": "block", "enforced": True, "action": "nxdomain", "count": 7},
        {"label": "malicious", "tier": "alert", "count": 0, "target_of": "a.example.com"},
    ]  # fmt: skip
    return [observation(f"h{i % 6}.example.com", first + i * step, **kinds[i % len(kinds)]) for i in range(many)]


def rolled(store: ElasticStore, at: int) -> None:
    """Roll up until nothing is left to do."""
    settled(store)
    while store.roll_up(at):
        settled(store)


def agrees(store: ElasticStore, where: Filter, interval: int = 2 * HOUR) -> None:
    """Counts are those of the rows that a search finds."""
    expected: Counter[tuple[int, tuple[str, ...]]] = Counter()
    for record in store.search(where, 1000).records:
        values = tuple(
            str(getattr(record, field)).replace("True", "true").replace("False", "false") for field in FIELDS
        )
        expected[record.time - record.time % interval, values] += record.count
    found = store.cube(where, interval, FIELDS)
    assert {(cell.time, cell.keys): cell.count for cell in found} == {key: n for key, n in expected.items() if n}
    assert [(cell.time, cell.keys) for cell in found] == sorted((cell.time, cell.keys) for cell in found)


class Asked:
    """Which indices `cube` searches for more than the number of their rows."""

    def __init__(self, store: ElasticStore) -> None:
        self.indices: list[str] = []
        asking = store.ask_many

        def watched(questions: Any) -> Any:
            self.indices += [index for index, body in questions if body["aggs"]]
            return asking(questions)

        store.ask_many = watched  # type: ignore[method-assign]

    def log(self) -> int:
        """How many searches of the log there were since the last look."""
        many = sum("-log-" in index for index in self.indices)
        self.indices.clear()
        return many


@pytest.mark.parametrize(
    "wanted",
    [{}, {"label": ("malicious",)}, {"reason": ("",), "enforced": False}, {"rcode": ("", "NXDOMAIN")}],
    ids=str,
)
def test_counts_from_the_roll_up_are_those_of_the_rows(store: ElasticStore, wanted: dict[str, Any]) -> None:
    end = now() // DAY * DAY - 3 * HOUR + 7 * MINUTE  # the range begins and ends within a quarter
    store.append(records(rows(end - 50 * HOUR)))
    where = Filter(end - 50 * HOUR + 3 * MINUTE, end, **wanted)
    settled(store)
    agrees(store, where)
    rolled(store, now())
    asked = Asked(store)
    for interval in (QUARTER, 2 * HOUR, 3 * DAY):
        agrees(store, where, interval)
        assert asked.log() == 2  # the two ends
    agrees(store, where, 7 * MINUTE)  # the roll-up cannot tell


def test_late_rows_are_counted_before_and_after_the_roll_up_is_made_anew(store: ElasticStore) -> None:
    end = now() // DAY * DAY
    where = Filter(end - 3 * DAY, end)
    store.append(records(rows(end - 60 * HOUR)))
    rolled(store, now())
    asked = Asked(store)
    agrees(store, where)
    assert asked.log() == 0
    store.append(records(rows(end - 30 * HOUR, many=5, step=MINUTE), 2))
    settled(store)
    agrees(store, where)
    assert asked.log() == 1  # the one day that got rows
    rolled(store, now())
    asked.log()
    agrees(store, where)
    assert asked.log() == 0


def test_a_roll_up_that_was_cut_short_or_overwritten_by_an_older_one_is_not_believed(store: ElasticStore) -> None:
    end = now() // DAY * DAY
    where = Filter(end - DAY, end)
    first = rows(end - 20 * HOUR, many=9)
    store.append(records(first))
    rolled(store, now())
    index = store.day("rollup", end - DAY)
    older = {hit["_id"]: hit["_source"] for hit in store.client.search(index=index, size=100)["hits"]["hits"]}
    store.append(records(first, 2))
    rolled(store, now())
    some, body = next(iter(older.items()))
    store.client.index(index=index, id=some, document=body)  # by a writer that was slow
    settled(store)
    agrees(store, where)
    store.client.delete(index=index, id=some)
    settled(store)
    agrees(store, where)
    assert store.roll_up(now()) > 0
    settled(store)
    asked = Asked(store)
    agrees(store, where)
    assert asked.log() == 0


def test_a_roll_up_of_rows_that_are_gone_is_not_believed_and_goes(store: ElasticStore) -> None:
    end = now() // DAY * DAY
    where = Filter(end - DAY, end)
    store.append(records(rows(end - 20 * HOUR, many=9)))
    rolled(store, now())
    store.client.indices.delete(index=store.day("log", end - DAY))
    agrees(store, where)
    store.append(records(rows(end - 10 * HOUR, many=3), 2))
    settled(store)
    agrees(store, where)
    rolled(store, now())
    asked = Asked(store)
    agrees(store, where)
    assert asked.log() == 0


def test_the_present_quarter_is_left_alone_and_counted(store: ElasticStore) -> None:
    at = now()
    store.append(records([observation("a.example.com", at), observation("b.example.com", at - 2 * QUARTER, count=4)]))
    rolled(store, at)
    found = store.client.search(index=f"{store.settings.prefix}-rollup-*", size=10)["hits"]["hits"]
    assert [hit["_source"]["verdict.count"] for hit in found] == [4]
    agrees(store, Filter(at - HOUR, at + MINUTE), QUARTER)


def test_a_roll_up_goes_with_its_day_and_no_reader_makes_one(store: ElasticStore) -> None:
    end = now() // DAY * DAY
    store.append(records(rows(end - 20 * HOUR, many=9)))
    rolled(store, now())
    assert store.retain(end) == 2
    reader = ElasticStore(f"{shared_url()}/?prefix={store.settings.prefix}&replicas=0", readonly=True)
    with pytest.raises(Misconfigured):
        reader.roll_up(now())
    reader.close()


@pytest.mark.parametrize("by", ["qname", "registered", "client"])
def test_a_ranking_of_most_rows_counts_what_a_search_finds(store: ElasticStore, by: str) -> None:
    end = now() // DAY * DAY
    seen = [
        observation(
            f"h.site{i % rank}.com" if i % 50 else "com", end - 1 - i * 11 * MINUTE, count=i % 4,
            client="secret" if i % 9 == 0 else f"192.0.2.{i % rank}", label="malicious" if i % 13 == 0 else "benign",
        )
        for rank in (3, 7, 40) for i in range(300)
    ]  # fmt: skip
    store.append(records(seen))
    settled(store)
    where = Filter(end - 40 * HOUR, end)
    for wanted in (where, msgspec.structs.replace(where, label=("benign",))):
        counts: Counter[str] = Counter()
        for record in store.search(wanted, 1000).records:
            counts[getattr(record, by)] += record.count
        ranked = sorted(((count, key) for key, count in counts.items()), key=lambda item: (-item[0], item[1]))
        for limit in (1, 3, 20):
            found = [(top.count, top.key) for top in store.top(wanted, by, limit)]
            assert found == ranked[:limit]
