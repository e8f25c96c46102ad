"""The vetted lists in memory: the longest suffix wins, fast, and a change makes a new index."""

import random
import time

import pytest

from verdicts.lists import BadEntry, Lists, entry, prevalence, ranked, removal
from verdicts.policy import LIST_NAMES, ListHit

NAMES = random.Random(7)


def lists_of(*keys: str) -> Lists:
    return Lists.of_keys(keys, {})


@pytest.mark.parametrize(
    ("name", "hit"),
    [
        ("example.org", ListHit("blocklist", "example.org")),
        ("a.b.example.org", ListHit("blocklist", "example.org")),
        ("good.example.org", ListHit("benign", "good.example.org")),
        ("very.good.example.org", ListHit("benign", "good.example.org")),
        ("notexample.org", None),
        ("org", None),
        (".", None),
    ],
)
def test_the_longest_suffix_wins(name: str, hit: ListHit | None) -> None:
    lists = lists_of("blocklist/example.org", "benign/good.example.org")
    assert lists.match(name) == hit
    assert lists.match_frame([name]) == [hit]


@pytest.mark.parametrize(
    ("held", "winner"),
    [
        (("blocklist", "honeypot", "benign"), "benign"),
        (("blocklist", "honeypot"), "honeypot"),
        (("blocklist", "benign"), "benign"),
        (("blocklist",), "blocklist"),
    ],
)
def test_a_tie_goes_benign_honeypot_blocklist(held: tuple[str, ...], winner: str) -> None:
    assert lists_of(*(f"{name}/a.org" for name in held)).match("a.org") == ListHit(winner, "a.org")  # type: ignore[arg-type]


def test_an_escaped_dot_ends_no_label() -> None:
    lists = lists_of("blocklist/b.example.org")
    assert lists.match("a\\.b.example.org") is None
    assert lists.match("a\\.c.b.example.org") == ListHit("blocklist", "b.example.org")


def test_a_change_leaves_the_former_index_as_it_was() -> None:
    before = lists_of("blocklist/a.org")
    after = before.apply([entry("benign", "a.org"), removal("blocklist", "a.org"), entry("honeypot", "b.org")])
    assert before.match("a.org") == ListHit("blocklist", "a.org")
    assert after.match("a.org") == ListHit("benign", "a.org") and after.holds("honeypot", "b.org")
    assert len(after.apply([removal("benign", "a.org"), removal("honeypot", "b.org")])) == 0


def test_removing_from_one_list_leaves_the_other() -> None:
    lists = lists_of("benign/a.org", "blocklist/a.org").apply([removal("benign", "a.org")])
    assert lists.match("a.org") == ListHit("blocklist", "a.org")


def test_a_dump_loads_as_it_was() -> None:
    lists = lists_of(*(f"{name}/{i}.org" for name in LIST_NAMES for i in range(3)), "benign/x.org")
    lists = lists.apply(prevalence(["google.com", "bbc.co.uk"]))
    again = Lists.load(lists.dump())
    assert again.dump() == lists.dump() and again.rank("bbc.co.uk") == 2


def test_a_dump_of_a_newer_release_loads_but_for_a_list_that_is_not_known_here() -> None:
    dumped = lists_of("blocklist/a.org").dump()
    dumped["entries"] = {"greylist": "b.org", **dumped["entries"]}
    assert Lists.load(dumped).dump() == lists_of("blocklist/a.org").dump()


def test_ranks_follow_their_documents() -> None:
    names = [f"site{i}.com" for i in range(25_000)]
    documents = list(prevalence(names))
    lists = Lists().apply(documents)
    assert (lists.rank("site0.com"), lists.rank("site24999.com"), lists.rank("other.com")) == (1, 25_000, None)
    assert ranked({d.key: d.body or {} for d in documents}) == names
    shorter = lists.apply(prevalence(names[:10]))
    assert shorter.rank("site5.com") == 6


@pytest.mark.parametrize("name", ["com", "co.uk", "github.io", ".", "", "a..b", "192.0.2.1", "x" * 64 + ".org"])
def test_what_would_catch_everybody_is_refused(name: str) -> None:
    with pytest.raises(BadEntry):
        entry("blocklist", name)


@pytest.mark.parametrize("name", ["http://a.org/", "*.a.org", "a b.org", "a.org:53", "<a.org>", "\ud800.org"])
def test_what_no_resolver_is_asked_for_is_refused_and_says_so(name: str) -> None:
    with pytest.raises(BadEntry, match=r"expected a domain name|IDNA"):
        entry("blocklist", name)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("b\u00fccher.org", "xn--bcher-kva.org"), (r"a\032b.org", r"a\032b.org"), (r"a\.b.org", r"a\.b.org")],
)
def test_a_name_is_put_on_and_taken_off_as_resolvers_are_asked_for_it(name: str, suffix: str) -> None:
    assert entry("blocklist", name).key == removal("blocklist", name).key == f"blocklist/{suffix}"


def test_an_unknown_list_names_the_known_ones() -> None:
    with pytest.raises(BadEntry, match="benign, honeypot, blocklist"):
        entry("colours", "a.org")


def test_a_million_entries_load_in_seconds_and_match_in_microseconds() -> None:
    def drawn() -> str:
        return f"{NAMES.randbytes(5).hex()}.com"

    keys = [f"blocklist/{drawn()}" for _ in range(1_000_000)]
    began = time.process_time()
    lists = Lists.of_keys(keys, {})
    loaded = time.process_time() - began
    frame = [f"www.{drawn()}" for _ in range(1024)]
    began = time.process_time()
    for _ in range(10):
        lists.match_frame(frame)
    each = (time.process_time() - began) / 10 / len(frame)
    assert len(lists) > 990_000 and loaded < 5 and each < 20e-6
