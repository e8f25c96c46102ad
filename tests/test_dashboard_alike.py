"""Names alike are judged once: which are, in which order they stand, and how a group opens."""

import pytest

from dashboard.alike import grouped, laid_out, pattern


@pytest.mark.parametrize(
    ("one", "other", "generated", "alike"),
    [
        ("mail1.shop.com", "mail27.shop.com", 0.1, True),
        ("mail1.shop.com", "mail1.shop.net", 0.1, False),
        ("163.com", "126.com", 0.1, False),
        ("login.shop.com", "signin.shop.com", 0.1, False),
        ("xq7vk2mzt.evil.net", "b93kkq1p.evil.net", 0.99, True),
        ("xq7vk2mzt.evil.net", "b93kkq1p.other.net", 0.99, False),
        ("xqvkmztw.com", "bqlkkqpa.com", 0.99, True),
        ("xqvkmztw.com", "bqlkkqpa.net", 0.99, False),
        ("xqvkmztw.com", "bqlk3qpa.com", 0.99, False),
        ("xqvkmztw.com", "bqlkkqpafhzkwpqxmnrt.com", 0.99, False),
        ("xq-vkmzw.com", "bqlkkqpa.com", 0.99, False),
    ],
)
def test_which_names_are_alike(one: str, other: str, generated: float, alike: bool) -> None:
    assert (pattern(one, generated) == pattern(other, generated)) is alike


def rows(*keys: str, generated: float = 0.1) -> list[dict[str, object]]:
    return [{"key": key, "generated": generated} for key in keys]


def test_a_group_stands_where_its_first_name_stood_and_counts_as_one() -> None:
    found = grouped(rows("b.x.com", "mail1.x.com", "a.x.com", "mail2.x.com", "c.x.com"), 3)
    assert [[m["key"] for m in g["members"]] for g in found] == [
        ["b.x.com"],
        ["mail1.x.com", "mail2.x.com"],
        ["a.x.com"],
    ]


def test_a_shut_group_stands_for_all_its_names_and_an_open_one_for_each() -> None:
    groups = grouped(rows("mail1.x.com", "mail2.x.com", "a.x.com"), 9)
    shut, single = laid_out(groups, set())
    assert (shut["names"], shut["alike"]) == (["mail1.x.com", "mail2.x.com"], 1)
    assert (single["names"], single["alike"]) == (["a.x.com"], 0)
    opened = laid_out(groups, {"mail1.x.com"})
    assert [(row["key"], row["names"]) for row in opened] == [
        (k, [k]) for k in ("mail1.x.com", "mail2.x.com", "a.x.com")
    ]
