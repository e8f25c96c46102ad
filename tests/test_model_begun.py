"""What a training began with, by digests."""

from pathlib import Path
from typing import Any

import pytest

from model.artifact import Artifact
from model.begun import of_other_lists
from tests.model_fixtures import manifest

JUDGED = {0: "names", -1: "fewer names"}  # that judge, by the fold that is held out


def parent(version: str, judge: str, held_out: int = 0, **metrics: Any) -> Artifact:
    found = manifest(version, splits={"judge": judge}, held_out=held_out, metrics=metrics)
    return Artifact(Path(), found, None)


@pytest.mark.parametrize(
    ("parents", "strange"),
    [
        ([parent("one", "names"), parent("all", "fewer names", -1)], []),
        ([parent("one", "names"), parent("other", "others")], ["other"]),
        ([parent("all", "names", -1)], ["all"]),
        ([parent("child", "names", other_lists=["b", "a"]), parent("a", "others")], ["a", "b"]),  # handed on, once
        ([Artifact(Path(), manifest("old"), None)], ["old"]),  # its manifest states none
    ],
)
def test_a_parent_is_of_other_lists_where_others_judged_it(parents: list[Artifact], strange: list[str]) -> None:
    assert of_other_lists(parents, JUDGED) == strange
