"""The audit page: whole commits, and what it says where there is none."""

import pytest

from dashboard.pages.audit import Audit, rows_of
from tests.dashboard_stage import Stage
from verdicts.store import Document

pytestmark = pytest.mark.anyio


def changes(epoch: int, count: int) -> list[Document]:
    """So many changes of one commit."""
    return [
        Document("list", f"blocklist/{epoch}-{number}.example.org", {}, epoch, 1000 + epoch, "ada")
        for number in range(count)
    ]


@pytest.mark.parametrize("read", [1, 5, 20])
def test_a_commit_of_which_a_part_was_read_begins_the_next_page(read: int) -> None:
    """A single change of an import of thousands would stand there as all of it, and *Older* pass over the others."""
    rows, before = rows_of([*changes(9, 30), *changes(8, read)], "admin", cut=True)
    assert {row["epoch"] for row in rows} == {9} and before == 1009
    rows, before = rows_of(changes(8, 30), "admin", cut=True)
    assert rows[-1]["which"] == "at least 18 more of the same commit" and before == 1008


def test_the_oldest_commit_of_all_is_shown() -> None:
    rows, before = rows_of([*changes(9, 30), *changes(8, 1)], "admin", cut=False)
    assert rows[-1]["epoch"] == 8 and before is None


async def test_where_one_kind_was_never_changed_it_does_not_say_that_nothing_was(stage: Stage) -> None:
    stage.store.commit([Document("list", "blocklist/tracker.example.net", {})], "ada")
    page = await stage.open(Audit, kind="policy")
    assert (page.table.rows, page.table.empty) == ([], "No such change.")


async def test_an_undo_is_told_in_the_words_of_its_row(stage: Stage) -> None:
    stage.store.commit([Document("list", "benign/tracker.example.net", {})], "ada")
    page = await stage.open(Audit)
    row = page.table.rows[0]
    await page.undo(row["kind"], row["key"], row["epoch"], row["time"])
    assert row["which"] == "allowlist/tracker.example.net"
    assert stage.told == [(f"Undone: list {row['which']}", "success")]
