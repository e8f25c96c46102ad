"""The protocol on a corpus made by hand: which names count where, and what the report shows."""

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from model.calibrate import case_weights
from model.commands import REFERENCES, evaluate
from model.dataset import DGA, FEED, JUDGE, STRATA, Corpus, build, collect
from model.evaluate import notices
from model.families import Family
from model.network import build as network
from model.plan import Plan
from model.protocol import calibration, choose, judge, measure, robustness
from model.references import BUILDERS, compare, grouped
from model.registry import RELEASED
from model.report import as_text, taught
from model.robustness import VARIANTS, vary
from model.sources import Source
from tests.model_fixtures import SMALL, manifest
from verdicts.names import split

pytestmark = pytest.mark.patient
EVALUATION = RELEASED / "segments-2026-11h" / "evaluation.json"

SOURCES = [
    Source("good.txt", "plain", "benign", "teach", "MIT", "-", 1.0, "china"),
    Source("rare.csv", "csv", "benign", "teach", "MIT", "-", 1.0, "umbrella"),
    Source("dga.csv", "csv", "dga", "judge", "none", "-"),
    Source("feed.csv", "csv", "feed", "judge", "none", "-"),
]
FAMILIES = {
    "known": Family("known", 1, "letters", 9), "held": Family("held", 0, "letters", 9),
    "words": Family("words", 0, "words", 9), "few": Family("few", 1, "letters", 9),
    "charbot": Family("charbot", -1, "letters", 9),
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    data = tmp_path_factory.mktemp("data")
    (data / "good.txt").write_text(
        "".join(f"s0000x{i}.com\n" for i in range(20_000)) + "".join(f"s0100y{i}.github.io\n" for i in range(400))
    )
    (data / "rare.csv").write_text(
        "name,first_seen,snapshots\n"
        + "".join(f"s{'0600' if i < 40 else '0000'}u{i}.org,2026-02-01,9\n" for i in range(2500))
    )
    (data / "dga.csv").write_text(
        "name,family\n"
        + "".join(f"s0{hits}00{family}{i}.biz,{family}\n" for family, hits in
                  (("known", 9), ("held", 7), ("words", 5), ("charbot", 3)) for i in range(150))
        + "".join(f"s0900few{i}.biz,few\n" for i in range(50))
    )  # fmt: skip
    (data / "feed.csv").write_text(
        "name,family\n"
        + "".join(f"h{i}.s0900feed.com,kit\n" for i in range(900))
        + "".join(f"s0000feed{i}.com,\n" for i in range(300))
        + "".join(f"s0900z{i}.github.io,kit\n" for i in range(400))
        + "".join(f"s0900site{i}.com,emotet\n" for i in range(50))
    )
    return build(collect(SOURCES, data), SOURCES, FAMILIES, held_out=0)


def score(names: Sequence[str]) -> NDArray[np.float32]:
    """The four digits in a name's label, as thousandths, for both heads."""
    labels = [split(name).registered for name in names]
    found = np.array([int(label[1:5]) / 1000 if label[1:5].isdigit() else 0 for label in labels], np.float32)
    return np.stack([found, found], 1)


def test_each_group_has_its_rate_at_the_strictest_threshold(corpus: Corpus) -> None:
    report = measure(corpus, judge(corpus, score, lambda line: None), FAMILIES, 0)
    found = report["rates"]["0.01"]
    limits = found["thresholds"]["generated"]
    assert limits["stratum"] == "umbrella-new" and limits["strictest"] == max(limits["by_stratum"].values())
    assert 0.6 < limits["strictest"] < 0.61 and limits["pooled"] < 0.6  # 40 of 2,500, but of all fewer than one in 100
    assert set(limits["by_stratum"]) == {name for name, count in report["benign"].items() if count} <= set(STRATA)
    rates = {name: (group["families"], group["value"]) for name, group in found["strictest"]["groups"].items()}
    assert rates == {
        "known": (1, 1.0), "known characters": (1, 1.0), "unseen": (2, 0.5), "unseen characters": (1, 1.0),
        "unseen words": (1, 0.0), "apart charbot": (1, 0.0),
    }  # fmt: skip
    assert found["pooled"]["groups"]["unseen words"]["value"] == 1.0
    assert "few" in found["strictest"]["families"]  # told, but in no mean


def test_families_of_other_lists_count_as_they_taught(tmp_path: Path) -> None:
    """Those of a release are in its folds; others taught if any of their names did. A list without families is one."""
    (tmp_path / "good.txt").write_text("".join(f"s0000x{i}.com\n" for i in range(3000)))
    (tmp_path / "mine.txt").write_text("".join(f"s0900mine{i}.biz\n" for i in range(900)))
    (tmp_path / "told.csv").write_text("name,family\n" + "".join(f"s0000told{i}.biz,told\n" for i in range(200)))
    sources = [
        Source("good.txt", "plain", "benign", "teach", "MIT", "-"),
        Source("mine.txt", "plain", "dga", "teach", "MIT", "-"),
        Source("told.csv", "csv", "dga", "judge", "none", "-"),
    ]
    made = build(collect(sources, tmp_path), sources, FAMILIES, held_out=0)
    judged = judge(made, score, lambda line: None)
    groups = measure(made, judged, FAMILIES, 0)["rates"]["0.01"]["strictest"]["groups"]
    assert {name: (group["families"], group["value"]) for name, group in groups.items()} == {
        "known": (1, 1.0), "unseen": (1, 0.0),
    }  # fmt: skip
    assert {key: len(found) for key, found in grouped(made, judged, FAMILIES, 0, (1e-2,)).items()} == {
        "known 0.01": 1, "unseen 0.01": 1,
    }  # fmt: skip


def test_our_network_of_a_comparison_has_its_own_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.txt").write_text("".join(f"river{i}stone.com\n" for i in range(900)))
    (tmp_path / "dga.txt").write_text("".join(f"qzx{i}vkw.biz\n" for i in range(900)))
    sources = [
        Source(f"{kind}.txt", "plain", of, "teach", "MIT", "-") for kind, of in (("good", "benign"), ("dga", "dga"))
    ]
    made = build(collect(sources, tmp_path), sources, FAMILIES, held_out=0)
    monkeypatch.setattr("model.references.BUILDERS", {})
    monkeypatch.setattr("model.references.Plan", functools.partial(Plan, blocks=1, grammars=50, shape=SMALL))
    rows = compare(made, score, 7, FAMILIES, 0, 0.001, lambda line: None, score, lambda network: score)
    assert [(row.name, row.parameters) for row in rows] == [
        ("segments, the same time", network(SMALL).count_params()), ("segments", 7), ("seed", 1913),
    ]  # fmt: skip


def test_a_feed_is_one_name_a_domain_without_free_hosts_and_hacked_sites(corpus: Corpus) -> None:
    judged = judge(corpus, score, lambda line: None)
    report = measure(corpus, judged, FAMILIES, 0)
    found = report["rates"]["0.01"]["strictest"]
    hacked = corpus.family[judged.rows] == corpus.families.index("emotet")
    assert hacked.sum() > 20
    mine = judged.rows[(corpus.kind[judged.rows] == FEED) & ~corpus.private[judged.rows] & ~hacked]
    domains = len(set(corpus.registered[mine].tolist()))
    assert len(mine) > 1000 and 100 < domains <= 301  # one of 900 hosts, and those of one host each
    assert found["feeds"] == {"feed.csv": pytest.approx(1 / domains, abs=1e-4)}
    assert found["feeds_mean"]["low"] <= found["feeds_mean"]["value"] <= found["feeds_mean"]["high"]
    assert report["private_suffixes"] == {"github.io": 1.0}


def test_feeds_of_free_hosts_alone_have_no_figure(corpus: Corpus) -> None:
    made = corpus._replace(private=corpus.private | (corpus.kind == FEED))
    found = measure(made, judge(made, score, lambda line: None), FAMILIES, 0)["rates"]["0.01"]["strictest"]
    assert found["feeds"] == {} and found["feeds_mean"] is None


def test_calibration_is_told_at_the_base_rate(corpus: Corpus) -> None:
    judged = judge(corpus, score, lambda line: None)
    found = calibration(corpus, judged, np.ones(len(judged.rows)))["generated"]
    assert found["base_rate"] == pytest.approx(0.001)
    assert found["log_loss_of_constant"] == pytest.approx(-(0.001 * np.log(0.001) + 0.999 * np.log(0.999)))
    low, *_, high = found["reliability"]
    assert low["observed"] < low["to"] and high["observed"] == 1.0


def test_a_sample_weighs_as_the_part_it_was_drawn_of(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    part = np.flatnonzero(corpus.part == JUDGE)
    monkeypatch.setattr("model.protocol.PER_FAMILY", 60)
    monkeypatch.setattr("model.protocol.PER_SOURCE", 100)
    rows = choose(corpus)
    assert len(rows) < len(part) - 1000
    whole, drawn = case_weights(corpus, part), case_weights(corpus, rows, part)
    for kind, group in ((DGA, corpus.family), (FEED, corpus.source)):
        for number in np.unique(group[part[corpus.kind[part] == kind]]):
            expected, found = (
                weights[(corpus.kind[of] == kind) & (group[of] == number)].sum()
                for weights, of in ((whole, part), (drawn, rows))
            )
            assert found == pytest.approx(expected)


def test_each_variant_is_judged(corpus: Corpus) -> None:
    found = robustness(corpus, judge(corpus, score, lambda line: None), score, 0.4)
    assert set(found) == set(VARIANTS) and found["as it is"] == found["upper case"] == found["www"]
    assert found["as it is"]["true_positives"] > 0.7 > 0.1 > found["as it is"]["false_positives"]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("upper case", {"a.loop.co.uk"}), ("www", {"www.a.loop.co.uk"}), ("homoglyph", {"a.100p.co.uk"}),
        ("benign sub-label", {f"{label}.a.loop.co.uk" for label in ("cdn", "mail", "api", "static", "img")}),
        ("another TLD", {f"a.loop.{tld}" for tld in ("com", "net", "org", "info", "de")}),
    ],
)  # fmt: skip
def test_a_variant_is_as_it_says(variant: str, expected: set[str]) -> None:
    assert {vary("a.loop.co.uk", variant, np.random.default_rng(i)) for i in range(50)} == expected


def test_one_edit_is_one_character_of_the_registered_label() -> None:
    for seed in range(50):
        edited = vary("a.loop.co.uk", "one edit", np.random.default_rng(seed))
        assert edited[:2] == "a." and edited[6:] == ".co.uk"
        assert sum(one != other for one, other in zip(edited, "a.loop.co.uk", strict=True)) <= 1


def test_the_command_writes_json_a_report_and_plots_of_any_network(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("".join(f"river{i}stone.com\n" for i in range(1500)))
    (tmp_path / "dga.csv").write_text("name,family\n" + "".join(f"qzx{i}vkw.biz,qakbot\n" for i in range(900)))
    (tmp_path / "feed.txt").write_text("".join(f"login-{i}.top\n" for i in range(300)))
    rows = [("good.txt", "plain", "benign"), ("dga.csv", "csv", "dga"), ("feed.txt", "plain", "feed")]
    (tmp_path / "sources.toml").write_text("".join(
        f'[[source]]\npath="{path}"\nform="{form}"\nkind="{kind}"\nuse="teach"\nlicence="MIT"\nreason="-"\n'
        for path, form, kind in rows
    ))  # fmt: skip
    out = tmp_path / "out"
    arguments = ["--model", "seed-2020", "--data", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(evaluate, arguments)
    assert result.exit_code == 0, result.output
    assert {file.name for file in out.iterdir()} == {"evaluation.json", "report.md", "roc.png", "calibration.png"}
    assert all((out / name).read_bytes()[:4] == b"\x89PNG" for name in ("roc.png", "calibration.png"))
    report, text = json.loads((out / "evaluation.json").read_text()), (out / "report.md").read_text()
    assert set(report["rates"]) == {"0.01", "0.001", "0.0001"} and report["judge_digest"]
    for heading in ("True-positive rates", "Feeds", "Thresholds", "Hard benign names", "Tiers", "Written otherwise",
                    "Calibration", "Within private suffixes"):  # fmt: skip
        assert f"## {heading}" in text
    assert (
        "not the judged names that the model's manifest states" in text and "Families of fold 0 never taught it" in text
    )
    assert "kinds of fewer than 2,000 names set none beside" in text
    assert "| mean |" in text and "| pooled | **" in text and "| generated | 0." in text


def test_a_report_says_what_its_intervals_and_feeds_count() -> None:
    """It said one name a registered domain, where each counts by the share of its names."""
    text = as_text({**json.loads(EVALUATION.read_text()), "notices": []})
    assert "by resampling registered domains, the threshold held still" in text
    assert "Each registered domain counts once, by the share of its names that are found" in text


def test_the_cards_intervals_are_those_of_the_evaluation() -> None:
    """The card said within 0.02, where CharBot's reaches 0.024."""
    card = (Path(__file__).parents[1] / "docs" / "model-card.md").read_text()
    said = re.search(r"within (0\.\d+) of each value \((0\.\d+) for word lists, (0\.\d+) for CharBot\)", card)
    assert said
    rest, words, charbot = map(float, said.groups())
    for found in json.loads(EVALUATION.read_text())["rates"].values():
        for name, group in found["strictest"]["groups"].items():
            most = charbot if "charbot" in name else words if "words" in name else rest
            assert max(group["high"] - group["value"], group["value"] - group["low"]) <= most


def test_a_report_says_what_may_have_taught_the_model() -> None:
    as_released = manifest(splits={"judge": "abc"})
    assert notices(as_released, "abc") == [] and len(notices(as_released, "abd")) == 1
    tuned = msgspec.structs.replace(as_released, metrics={"labels": 7})
    told = "It, or what taught it, was fine-tuned with 7 labels, some of which may be judged here."
    assert notices(tuned, "abc") == [told]
    came = msgspec.structs.replace(as_released, metrics={"other_lists": ["segments-1"]})
    assert notices(came, "abc")[0].startswith("It came of segments-1, in whose manifest other judged names stand: ")
    assert taught(-1) == "No family was held out of its training."


def test_one_reference_alone_is_compared_with_the_model_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("".join(f"river{i}stone.com\nwww.market{i}.net\n" for i in range(900)))
    (tmp_path / "dga.csv").write_text("name,family\n" + "".join(f"qzx{i}vkw.biz,qakbot\n" for i in range(900)))
    (tmp_path / "sources.toml").write_text("".join(
        f'[[source]]\npath="{path}"\nform="{form}"\nkind="{kind}"\nuse="teach"\nlicence="MIT"\nreason="-"\n'
        for path, form, kind in (("good.txt", "plain", "benign"), ("dga.csv", "csv", "dga"))
    ))  # fmt: skip
    arguments = ["--model", "seed-2020", "--data", str(tmp_path), "--reference", "ngrams"]
    result = CliRunner().invoke(evaluate, [*arguments, "--compare", "0.02"])
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["network", "segments", "ngrams"] and rows[2][1] == "65538"
    assert "(lead +0.000 to +0.000)" in rows[1][4] and "lead" in rows[2][4]
    result = CliRunner().invoke(evaluate, arguments)
    assert result.exit_code == 2 and "--reference: not used by an evaluation without" in result.output


def test_a_network_of_another_kind_is_no_measure_of_a_new_one(tmp_path: Path) -> None:
    arguments = ["--model", "seed-2020", "--data", str(tmp_path), "--compare"]
    for minutes, told in (("6", "model seed-2020, encoding codepoints-256: expected segments-96"), ("nan", "'nan'")):
        result = CliRunner().invoke(evaluate, [*arguments, minutes])
        assert result.exit_code in (1, 2) and told in result.output


def test_every_reference_may_be_named() -> None:
    assert set(REFERENCES) == set(BUILDERS)
