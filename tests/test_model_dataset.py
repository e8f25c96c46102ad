"""One corpus of many lists: labels, parts, families."""

from pathlib import Path

import numpy as np
import pytest

from model.dataset import (
    BENIGN,
    DGA,
    FEED,
    JUDGE,
    LEFT_OUT,
    TEACH,
    TUNE,
    Corpus,
    Entry,
    TooFew,
    assign,
    build,
    collect,
    located,
    resolve,
)
from model.evaluate import load_corpus
from model.families import Family, merge, plan, read_plan, shape_of
from model.formats import BadRow
from model.plan import Plan
from model.release import release
from model.sources import BadSources, Source, load_sources

pytestmark = pytest.mark.patient

SOURCES = [
    Source("good.txt", "plain", "benign", "teach", "MIT", "-", 1.0),
    Source("dga.csv", "csv", "dga", "teach", "MIT", "-"),
    Source("feed.csv", "csv", "feed", "teach", "MIT", "-"),
    Source("judge.txt", "plain", "benign", "judge", "none", "-"),
    Source("seen.csv", "csv", "benign", "teach", "MIT", "-", 1.0, "umbrella"),
]
FAMILIES = {"held": Family("held", 0, "letters", 5), "kept": Family("kept", 1, "letters", 5)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "good.txt").write_text("".join(f"www.good{i}.com\ngood{i}.com\n" for i in range(300)) + "both.com\n")
    (tmp_path / "dga.csv").write_text(
        "name,family\n" + "".join(f"h{i}.biz,held\nk{i}.biz,kept\n" for i in range(200)) + "shared.net,kept\n"
        + "".join(f"h{i}.good{i}.com,held\n" for i in range(300))
    )  # fmt: skip
    (tmp_path / "feed.csv").write_text("name,family\nboth.com,x\nshared.net,x\nbot.org,held\nevil.org,other\n")
    (tmp_path / "judge.txt").write_text("".join(f"j{i}.net\n" for i in range(300)) + "api.good1.com\n")
    (tmp_path / "seen.csv").write_text(
        "name,first_seen,snapshots\nnew.late.com,2026-02-01,9\nold.late.com,2020-01-01,9\nrare.early.com,2020-01-01,1\n"
    )
    return tmp_path


@pytest.fixture
def corpus(data: Path) -> Corpus:
    return build(collect(SOURCES, data), SOURCES, FAMILIES, held_out=0)


def part_of(corpus: Corpus, name: str) -> int:
    return int(corpus.part[corpus.names.index(name)])


def test_a_name_on_a_benign_and_a_malicious_list_is_left_out(corpus: Corpus) -> None:
    assert "both.com" not in corpus.names


def test_a_name_on_a_feed_and_a_dga_list_is_dga(corpus: Corpus) -> None:
    assert corpus.kind[corpus.names.index("shared.net")] == DGA


def test_each_name_stands_once(corpus: Corpus) -> None:
    assert len(set(corpus.names)) == len(corpus.names) == len(corpus.x)


def test_names_of_one_registered_domain_are_in_one_part(corpus: Corpus) -> None:
    for i in range(300):
        assert part_of(corpus, f"www.good{i}.com") == part_of(corpus, f"good{i}.com")


def test_a_judging_list_never_teaches(corpus: Corpus) -> None:
    judging = corpus.source == 3
    assert (corpus.part[judging] != TEACH).all() and (corpus.part[judging] == TUNE).any()


def test_no_registered_domain_teaches_and_judges(corpus: Corpus) -> None:
    benign = corpus.kind == BENIGN
    taught = set(corpus.registered[benign & (corpus.part == TEACH)].tolist())
    assert not taught & set(corpus.registered[benign & np.isin(corpus.part, (TUNE, JUDGE))].tolist())


def test_a_held_out_family_judges_in_whole(corpus: Corpus) -> None:
    assert {part_of(corpus, f"h{i}.biz") for i in range(200)} == {JUDGE}
    assert {part_of(corpus, f"k{i}.biz") for i in range(200)} == {TEACH, TUNE, JUDGE}


def test_a_held_out_name_of_a_domain_that_teaches_is_left_out(corpus: Corpus) -> None:
    found = {(part_of(corpus, f"good{i}.com"), part_of(corpus, f"h{i}.good{i}.com")) for i in range(300)}
    assert found == {(TEACH, LEFT_OUT), (TUNE, JUDGE), (JUDGE, JUDGE)}


def test_a_feeds_name_of_a_held_out_family_is_left_out(corpus: Corpus) -> None:
    assert part_of(corpus, "bot.org") == LEFT_OUT and part_of(corpus, "evil.org") != LEFT_OUT


def test_a_name_that_another_list_gives_to_a_held_out_family_teaches_nothing(data: Path) -> None:
    (data / "more.csv").write_text("name,family\n" + "".join(f"k{i}.biz,HELD\nf{i}.org,held\n" for i in range(200)))
    (data / "feed.csv").write_text("name,family\n" + "".join(f"f{i}.org,other\ng{i}.org,other\n" for i in range(200)))
    sources = [*SOURCES, Source("more.csv", "csv", "feed", "teach", "MIT", "-")]
    for order in (sources, [sources[0], *sources[:0:-1]]):
        corpus = build(collect(order, data), order, FAMILIES, held_out=0)
        for letter in "kf":
            assert TEACH not in (found := {part_of(corpus, n) for n in corpus.names if n[0] == letter}) and found
            assert TUNE not in found and LEFT_OUT in found
        assert {part_of(corpus, n) for n in corpus.names if n[0] == "g" and n.endswith(".org")} >= {TEACH, TUNE}


def test_late_names_judge_with_their_whole_domain(corpus: Corpus) -> None:
    assert part_of(corpus, "new.late.com") == part_of(corpus, "old.late.com") == JUDGE


def test_a_row_without_what_its_stratum_needs_is_named(data: Path) -> None:
    (data / "seen.csv").write_text("name,first_seen,snapshots\na.late.com,2026-02-01,9\nb.late.com,2026-02-01,many\n")
    with pytest.raises(BadRow, match=r"seen\.csv:3: .*'many'.*expected first_seen and snapshots"):
        collect(SOURCES, data)
    (data / "seen.csv").write_text("name,snapshots\na.late.com,9\n")
    with pytest.raises(BadRow, match=r"seen\.csv:2: 'first_seen'"):
        collect(SOURCES, data)


def test_strata_are_noted(corpus: Corpus) -> None:
    bits = corpus.strata[corpus.names.index("rare.early.com")]
    assert bits >> 1 & 1 and not bits & 1


def test_a_list_lies_below_the_folder_or_url_of_the_data() -> None:
    for data in ("http://127.0.0.1/d", "http://127.0.0.1/d/"):
        assert located(data, SOURCES[0]) == "http://127.0.0.1/d/good.txt"
    assert located("d/", SOURCES[0]) == Path("d/good.txt")


def test_digests_differ_by_part_and_repeat(corpus: Corpus, data: Path) -> None:
    again = build(collect(SOURCES, data), SOURCES, FAMILIES, held_out=0)
    assert corpus.digest(TEACH) == again.digest(TEACH) != corpus.digest(JUDGE)


def test_three_quarters_of_the_domains_teach() -> None:
    registered = np.arange(100, dtype=np.uint64)
    part = assign(registered, np.ones(100, bool), np.zeros(100, bool))
    assert [(part == p).sum() for p in (TEACH, TUNE, JUDGE)] == [75, 8, 17]


def test_a_name_of_a_judging_list_never_teaches() -> None:
    registered = np.arange(100, dtype=np.uint64)
    part = assign(registered, np.zeros(100, bool), np.zeros(100, bool))
    assert [(part == p).sum() for p in (TEACH, TUNE, JUDGE)] == [0, 18, 82]


def test_what_shares_its_domain_with_a_teaching_name_is_no_judge() -> None:
    part = assign(np.array([3, 3], np.uint64), np.array([True, False]), np.zeros(2, bool))
    assert part.tolist() == [TEACH, LEFT_OUT]


def test_a_teaching_list_is_preferred_to_a_judging_one() -> None:
    found = resolve(Entry(BENIGN, 3, "", 0), Entry(BENIGN, 0, "", 0), SOURCES)
    assert found is not None and found.source == 0


def test_a_contested_name_stays_contested() -> None:
    assert resolve(None, Entry(FEED, 2, "", 0), SOURCES) is None


def test_families_that_share_names_are_one() -> None:
    families = {"a": {str(i) for i in range(100)}, "b": {"1", "2", "3", "x"}, "c": {"y"}}
    assert merge(families) == {"a": ["a", "b"], "c": ["c"]}


def test_families_that_a_smaller_one_joins_are_named_after_the_largest() -> None:
    families = {"mid": {f"m{i}" for i in range(60)}, "big": {f"b{i}" for i in range(100)}, "joins": {"b0", "m0"}}
    assert merge(families) == {"big": ["big", "mid", "joins"]}


def test_folds_are_dealt_within_a_shape() -> None:
    families = {f"f{i}": {f"{'bcdfg'[i % 5] * 8}{j}x{i}.com".replace("0", "k") for j in range(9)} for i in range(5)}
    assert sorted(family.fold for family in plan(families)) == [0, 1, 2, 3, 4]


def test_shapes_are_told_by_letters() -> None:
    assert shape_of("f", {"a1b2c3d4.com"}) == "hex" and shape_of("f", {"bcdfgh.com"}) == "letters"
    assert shape_of("matsnu", {"x.com"}) == "words" and shape_of("f", {"aeiobaco.com"}) == "spoken"


def test_the_fixed_folds_hold_no_family_twice() -> None:
    families = read_plan().values()
    assert {family.fold for family in families} == {-1, 0, 1, 2, 3, 4}
    names = [name for family in {f.name: f for f in families}.values() for name in (family.name, *family.aliases)]
    assert len(names) == len(set(names))


def test_a_list_without_names_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("# as a download that failed\n")
    with pytest.raises(TooFew, match="good.txt: no names"):
        collect([Source("good.txt", "plain", "benign", "teach", "MIT", "-")], tmp_path)


@pytest.mark.parametrize(
    ("benign", "generated", "message"),
    [(1, 2000, r"lists: [01] benign names to teach \([01] to tune, [01] to judge\), expected 50 or more; of the "
      "registered domains 75 % teach, 8 % tune, 17 % judge, so it takes some 625 names$"),
     (2000, 300, r"\d+ DGA names to tune \(.*, and families that are held out judge alone, so it takes"),
     (400, 2000, "benign names to tune")],
)  # fmt: skip
def test_lists_too_short_to_train_on_are_refused_before_a_training(
    tmp_path: Path, benign: int, generated: int, message: str
) -> None:
    (tmp_path / "good.txt").write_text("".join(f"river{i}.com\n" for i in range(benign)))
    (tmp_path / "dga.txt").write_text("".join(f"qzx{i}k.biz\n" for i in range(generated)))
    (tmp_path / "sources.toml").write_text("".join(
        f'[[source]]\npath="{path}"\nform="plain"\nkind="{kind}"\nuse="teach"\nlicence="MIT"\nreason="-"\n'
        for path, kind in (("good.txt", "benign"), ("dga.txt", "dga"))
    ))  # fmt: skip
    with pytest.raises(TooFew, match=message):
        release(str(tmp_path), tmp_path / "made", tmp_path / "run", [Plan()], 0, lambda line: None, lambda: False)
    assert not (tmp_path / "run").exists()


def test_the_sources_of_this_release_follow_their_rules() -> None:
    assert {source.use for source in load_sources()} == {"teach", "judge"}


@pytest.mark.parametrize("licence", ["MIT", "NCSA", "Unlicense", "CC0-1.0"])
def test_a_source_that_anybody_may_use_teaches(tmp_path: Path, licence: str) -> None:
    text = f'[[source]]\npath="a"\nform="plain"\nkind="benign"\nuse="teach"\nlicence="{licence}"\nreason="-"\n'
    (tmp_path / "s.toml").write_text(text)
    assert [source.use for source in load_sources(tmp_path / "s.toml")] == ["teach"]


@pytest.mark.parametrize(
    "licence", ["none", "", " ", "None", "Research only", "Non-commercial", "cc-by-nc-4.0", "unlicensed", "No licence"]
)
def test_a_source_without_a_licence_must_not_teach(tmp_path: Path, licence: str) -> None:
    text = f'[[source]]\npath="a"\nform="plain"\nkind="benign"\nuse="teach"\nlicence="{licence}"\nreason="-"\n'
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(BadSources, match="may only judge"):
        load_sources(tmp_path / "s.toml")


def test_an_unknown_key_of_a_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[[source]]\npath="a"\ncolour="red"\n')
    with pytest.raises(BadSources, match="colour|missing"):
        load_sources(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("kind", r"source 1 \(a\): kind 'bening', expected one of benign, dga, feed$"),
        ("form", r"source 1 \(a\): form 'bening', expected one of plain, "),
        ("use", r"source 1 \(a\): use 'bening', expected one of teach, judge$"),
    ],
)
def test_a_mistyped_value_of_a_source_is_told_with_those_there_are(tmp_path: Path, key: str, told: str) -> None:
    entry = {"path": "a", "form": "plain", "kind": "benign", "use": "teach", "licence": "MIT", "reason": "-"}
    lines = [f'{name}="{value}"\n' for name, value in (entry | {key: "bening"}).items()]
    (tmp_path / "s.toml").write_text("[[source]]\n" + "".join(lines))
    with pytest.raises(BadSources, match=told):
        load_sources(tmp_path / "s.toml")


@pytest.mark.parametrize("text", ['[source]\npath="a"\n', "source = []", ""])
def test_what_is_no_entry_a_list_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(BadSources, match=r"expected \[\[source\]\] alone, one for each list"):
        load_sources(tmp_path / "s.toml")


def test_sources_are_read_as_editors_save_them_and_named_where_they_are_no_utf_8(tmp_path: Path) -> None:
    text = '[[source]]\npath="a"\nform="plain"\nkind="benign"\nuse="teach"\nlicence="MIT"\nreason="caf\u00e9"\n'
    (tmp_path / "s.toml").write_text(text, "utf-8-sig")
    assert [source.reason for source in load_sources(tmp_path / "s.toml")] == ["caf\u00e9"]
    (tmp_path / "s.toml").write_text(text, "latin-1")
    with pytest.raises(BadSources, match=r"s\.toml: 'utf-8' codec"):
        load_sources(tmp_path / "s.toml")


def test_a_list_that_is_not_there_is_told_with_who_expects_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="data: no such folder, expected one of lists of names"):
        load_corpus(tmp_path / "data", lambda line: None)
    with pytest.raises(
        OSError, match=f"no such file, expected the lists of .*; lists of your own need a .* in {tmp_path}"
    ):
        load_corpus(tmp_path, lambda line: None)
    entry = 'path="a"\nform="plain"\nkind="benign"\nuse="teach"\nlicence="MIT"\nreason="-"\n'
    (tmp_path / "sources.toml").write_text(f"[[source]]\n{entry}")
    with pytest.raises(OSError, match=f"a: no such file, expected the lists of {tmp_path}/sources.toml$"):
        load_corpus(tmp_path, lambda line: None)


@pytest.mark.parametrize(("key", "expected"), [("share=0", "share"), ('stratum="popular"', "stratum")])
def test_a_share_or_stratum_that_cannot_be_is_an_error(tmp_path: Path, key: str, expected: str) -> None:
    text = f'[[source]]\npath="a"\nform="plain"\nkind="benign"\nuse="teach"\nlicence="MIT"\nreason="-"\n{key}\n'
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(BadSources, match=expected):
        load_sources(tmp_path / "s.toml")
