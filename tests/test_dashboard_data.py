"""dashboard/data.py: the store is asked in threads, once for all who ask the same, and not for those who left."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dashboard.data import Data, Failure
from verdicts.store import Document, Filter, Page, Unavailable

pytestmark = pytest.mark.anyio
WHERE = Filter(start=0, end=1000)


class Reader:
    """A store whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked: list[str] = []
        self.failing = False

    def search(self, where: Filter, limit: int = 100, cursor: str | None = None) -> Page:
        self.asked.append(where.name)
        self.let_go.wait(5)
        if self.failing:
            raise Unavailable("store: locked")
        return Page([], where.name)


@pytest.fixture
async def reader() -> Reader:
    return Reader()


@pytest.fixture
async def make(reader: Reader) -> AsyncIterator[Callable[..., Data]]:
    made: list[Data] = []

    def build(**options: Any) -> Data:
        made.append(Data(lambda: reader, **options))  # type: ignore[arg-type, return-value]
        return made[-1]

    yield build
    reader.let_go.set()
    for data in made:
        data.close()


async def begun(reader: Reader, count: int) -> None:
    async with asyncio.timeout(5):
        while len(reader.asked) < count:
            await asyncio.sleep(0.001)


async def test_the_event_loop_runs_on_while_the_store_thinks(reader: Reader, make: Callable[..., Data]) -> None:
    task = asyncio.create_task(make().search(WHERE))
    await begun(reader, 1)
    assert not task.done()
    reader.let_go.set()
    assert (await task).records == []


async def test_equal_questions_are_put_once(reader: Reader, make: Callable[..., Data]) -> None:
    data = make()
    tasks = [asyncio.create_task(data.search(WHERE)) for _ in range(20)]
    await begun(reader, 1)
    reader.let_go.set()
    await asyncio.gather(*tasks)
    assert len(reader.asked) == 1


async def test_an_answer_is_kept_for_its_time(reader: Reader, make: Callable[..., Data]) -> None:
    reader.let_go.set()
    data = make()
    await data.search(WHERE, keep=60)
    await data.search(WHERE, keep=60)
    await data.search(WHERE, keep=0)
    assert len(reader.asked) == 2


async def test_a_question_nobody_waits_for_is_never_put(reader: Reader, make: Callable[..., Data]) -> None:
    data = make(workers=1)
    first = asyncio.create_task(data.search(Filter(start=0, end=1, name="first")))
    await begun(reader, 1)
    dropped = asyncio.create_task(data.search(Filter(start=0, end=1, name="dropped")))
    last = asyncio.create_task(data.search(Filter(start=0, end=1, name="last")))
    await asyncio.sleep(0)
    dropped.cancel()
    await asyncio.gather(dropped, return_exceptions=True)
    reader.let_go.set()
    await asyncio.gather(first, last)
    assert reader.asked == ["first", "last"]


async def test_one_who_leaves_does_not_take_the_answer_from_the_others(
    reader: Reader, make: Callable[..., Data]
) -> None:
    data = make()
    stays, leaves = (asyncio.create_task(data.search(WHERE)) for _ in range(2))
    await begun(reader, 1)
    leaves.cancel()
    reader.let_go.set()
    assert (await stays).records == []


async def test_a_store_that_is_down_is_a_failure_that_says_so(reader: Reader, make: Callable[..., Data]) -> None:
    reader.failing = True
    reader.let_go.set()
    with pytest.raises(Failure, match="store: locked"):
        await make().search(WHERE)


async def test_a_store_that_is_too_slow_is_a_failure_that_says_so(reader: Reader, make: Callable[..., Data]) -> None:
    with pytest.raises(Failure, match=r"no answer within 0\.05 s"):
        await make(patience=0.05).search(WHERE)


async def test_an_answer_that_is_old_is_not_kept(reader: Reader, make: Callable[..., Data]) -> None:
    reader.let_go.set()
    data = make()
    await data.search(WHERE, keep=0.001)
    await asyncio.sleep(0.3)
    await data.search(Filter(start=0, end=1000, name="other"))
    assert len(data._cache) == 1


async def test_an_answer_is_good_for_as_long_as_it_took(reader: Reader, make: Callable[..., Data]) -> None:
    data = make()
    task = asyncio.create_task(data.search(WHERE, keep=0.001))
    await begun(reader, 1)
    await asyncio.sleep(0.5)
    reader.let_go.set()
    await task
    await asyncio.sleep(0.05)
    await data.search(WHERE, keep=0.001)
    assert len(reader.asked) == 1  # a store that is slow is not asked the same again at once


class Documents(Reader):
    """The same, of documents: each answer is told apart by its number."""

    def history(self, kind: str, key: str, limit: int, before: int | None) -> list[Document]:
        self.asked.append(key)
        answer = [Document(kind, key, {"number": len(self.asked)})]
        self.let_go.wait(5)
        return answer


@pytest.mark.parametrize("keep", [0.0, 60.0])
async def test_who_asks_after_a_decision_is_not_told_what_was_before(keep: float) -> None:
    """Neither an answer that is kept nor one that is on its way since before."""
    reader = Documents()
    data = Data(lambda: reader)  # type: ignore[arg-type, return-value]
    before = asyncio.create_task(data.history("list", "x", keep=keep))
    await begun(reader, 1)
    data.decided()
    after = asyncio.create_task(data.history("list", "x", keep=keep))
    await begun(reader, 2)
    reader.let_go.set()
    assert [(await task)[0].body for task in (before, after)] == [{"number": 1}, {"number": 2}]
    assert (await data.history("list", "x", keep=60))[0].body == {"number": 2 if keep else 3}
    data.close()


async def test_a_decision_changes_nothing_of_what_was_asked(reader: Reader, make: Callable[..., Data]) -> None:
    reader.let_go.set()
    data = make()
    await data.search(WHERE, keep=60)
    data.decided()
    await data.search(WHERE, keep=60)
    assert len(reader.asked) == 1
