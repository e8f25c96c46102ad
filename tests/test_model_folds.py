"""Each fold of families held out in turn from our network and a reference, on small lists."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.dataset import BENIGN, LEFT_OUT, TEACH, Corpus, build, collect
from model.families import Family
from model.folds import OURS, Fold, Found, table, together, validate
from model.network import Shape
from model.plan import Plan
from model.sources import Source

pytestmark = pytest.mark.patient
SMALL = Shape(embedding=4, channels=4, blocks=1, dense=8)
FAMILIES = {name: Family(name, fold, "letters", 300) for name, fold in (("ab", 0), ("cd", 0), ("ef", 1))}


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Corpus]:
    rng = random.Random(1)
    (tmp_path / "good.txt").write_text("".join(f"river{i}stone.com\n" for i in range(3000)))
    rows = [f"{''.join(rng.choices(name * 3 + 'xyz', k=12))}.biz,{name}\n" for name in FAMILIES for _ in range(900)]
    (tmp_path / "dga.csv").write_text("name,family\n" + "".join(rows))
    sources = [
        Source("good.txt", "plain", "benign", "teach", "MIT", "-"),
        Source("dga.csv", "csv", "dga", "teach", "MIT", "-"),
    ]
    monkeypatch.setattr("model.references.Plan", functools.partial(Plan, blocks=1, grammars=50, shape=SMALL))
    return lambda held_out: build(collect(sources, tmp_path), sources, FAMILIES, held_out)


def by_length(network: Any) -> Callable[[Any], Any]:
    return lambda names: np.repeat(np.array([[len(name)] for name in names], np.float32), 2, 1)


def test_every_family_is_judged_where_it_was_held_out(load: Callable[[int], Corpus], tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    out = tmp_path / "folds"
    ask = functools.partial(validate, load, (0, 1), ["ngrams"], 0.001, FAMILIES, by_length, out)
    found = ask(told.append)
    assert [set(fold.networks) for fold in found] == [{OURS, "ngrams"}] * 2
    for fold, unseen in zip(found, ({"ab", "cd"}, {"ef"}), strict=True):
        for network in fold.networks.values():
            assert set(network.families["unseen 0.01"]) == unseen == set(FAMILIES) - set(network.families["known 0.01"])
            assert network.rows > 0
    assert [line["judged"] for line in told if "fold" in line] == [OURS, "ngrams"] * 2
    (out / "fold-1.json").unlink()
    told.clear()
    assert ask(told.append)[0] == found[0]  # what is there is not trained again
    assert [(line["fold"], line["judged"]) for line in told if "fold" in line] == [(1, OURS), (1, "ngrams")]


def test_a_file_of_another_evaluation_is_refused(load: Callable[[int], Corpus], tmp_path: Path) -> None:
    path = tmp_path / "fold-0.json"
    path.write_text('{"held_out": 0, "minutes": 3, "judge": "abc"}')
    ask = functools.partial(validate, load, (0,), ["ngrams"], 0.001, FAMILIES, by_length, tmp_path, lambda line: None)
    with pytest.raises(ValueError, match=r"fold-0.json: of fold 0, 3 minutes .* abc, expected 0, 0.001 and .*folder"):
        ask()
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"fold-0.json: .* expected what an evaluation of folds wrote"):
        ask()


def test_a_file_of_networks_that_other_names_taught_is_refused(load: Callable[[int], Corpus], tmp_path: Path) -> None:
    """The judged names alone were compared: with a list more to teach, the former networks stood for the new ones."""
    out = tmp_path / "folds"
    ask = functools.partial(validate, families=FAMILIES, minutes=0.001, scored=by_length, out=out)
    ask(load, (0,), [], progress=lambda line: None)
    corpus = load(0)
    taught = corpus.where(BENIGN, TEACH)[0]
    fewer = corpus._replace(part=np.where(np.arange(len(corpus.part)) == taught, LEFT_OUT, corpus.part))
    with pytest.raises(ValueError, match=r"fold-0.json: of teaching names \w{12}, expected \w{12}; name"):
        ask(lambda held_out: fewer, (0,), [], progress=lambda line: None)


def test_the_lead_is_over_the_families_of_all_folds() -> None:
    folds = [
        Fold(number, 1.0, "", networks={
            OURS: Found(9, {"known 0.01": {"k": 1.0}, "unseen 0.01": {name: 0.75 for name in names}}),
            "yu": Found(5, {"known 0.01": {"k": 1.0}, "unseen 0.01": {name: 0.5 for name in names}}),
        })
        for number, names in enumerate(("ab", "c"))
    ]  # fmt: skip
    assert [float(share[0]) for share in together(folds, OURS, "unseen 0.01")] == [0.75] * 3
    lines = table(folds, ["yu"]).splitlines()
    assert lines[1].split("\t") == ["0", OURS, "9", "2", "1.000", "0.750"]
    assert lines[-1] == ("unseen 0.01, all folds, 3 families: segments 0.750, yu 0.500, lead +0.250 (+0.250 to +0.250)")


def test_a_share_stands_under_its_own_heading() -> None:
    """The columns went by the order in which a fold's families were met: where the first by name was held out, what is
    never seen stood under what is known."""
    folds = [
        Fold(0, 1.0, "", networks={OURS: Found(9, {"known 0.01": {"a": 0.9}, "unseen 0.01": {"b": 0.5}})}),
        Fold(1, 1.0, "", networks={OURS: Found(9, {"unseen 0.01": {"a": 0.4}, "known 0.01": {"b": 0.8}})}),
        Fold(2, 1.0, "", networks={OURS: Found(9, {"known 0.01": {"a": 0.7}})}),  # its own are too small
    ]
    head, *rows = (line.split("\t") for line in table(folds, []).splitlines())
    assert head[-2:] == ["known 0.01", "unseen 0.01"]
    assert [row[-2:] for row in rows] == [["0.900", "0.500"], ["0.800", "0.400"], ["0.700", "-"]]
    assert table(folds[::-1], []).splitlines()[0].split("\t")[-2:] == head[-2:]
