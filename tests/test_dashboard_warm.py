"""What pages begin with is asked ahead, over the usual ranges, whatever one page meets."""

import pytest

from dashboard.data import Data, Failure, reader_of
from dashboard.filters import DAY, RANGES
from dashboard.pages.names import Names
from dashboard.warm import ASKED, ask_ahead
from dashboard.warm import RANGES as LENGTHS
from tests.dashboard_stage import Stage
from verdicts.store import Filter

pytestmark = pytest.mark.anyio


class Heard(Data):
    """Notes over how many days is asked, by the kind of question."""

    asked_for: set[tuple[str, int]]

    async def ask(self, key, question, keep):  # type: ignore[no-untyped-def]
        kind, *rest = key
        for where in rest:
            if isinstance(where, Filter):
                self.asked_for.add((kind, (where.end - where.start) // DAY))
        return await super().ask(key, question, keep)


async def test_each_pages_questions_are_asked_over_each_usual_range(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Heard(reader_of(stage.setup.url), workers=1)
    data.asked_for = set()

    async def failing(page: Names) -> None:
        raise Failure("the store is away")

    await ask_ahead(data, stage.client)
    lengths = {RANGES[length] // DAY for length in LENGTHS}
    assert {length for kind, length in data.asked_for if kind == "top"} == lengths
    assert {length for kind, length in data.asked_for if kind == "cube"} >= lengths
    before, data.asked_for = data.asked_for, set()
    monkeypatch.setattr(Names, "read", failing)
    await ask_ahead(data, stage.client)
    assert data.asked_for >= before - {("domains", length) for length in lengths}
    assert Names in ASKED and stage.told == stage.went == []
    data.close()
