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


def rows(**matters: float) -> list[dict[str, object]]:
    plain = {"generated": 0.1, "count": 3}
    return [
        {"key": f"{label}.x.com", "matters": of, "clients": 6 - of, "last": 9 - of, **plain}
        for label, of in matters.items()
    ]


def test_names_alike_matter_together_and_are_one_of_the_days_names() -> None:
    found = grouped(rows(b=5, mail1=4, a=3, mail2=2, c=1), 3)
    assert [[m["key"] for m in g["members"]] for g in found] == [
        ["mail1.x.com", "mail2.x.com"], ["b.x.com"], ["a.x.com"],
    ]  # fmt: skip


def test_a_shut_group_stands_for_all_its_names_and_an_open_one_for_each() -> None:
    groups = grouped(rows(mail1=4, mail2=2, a=3), 9)
    shut, single = laid_out(groups, set())
    assert (shut["names"], shut["alike"], shut["count"]) == (["mail1.x.com", "mail2.x.com"], 1, 6)
    assert (shut["clients"], shut["last"]) == (4, 7)  # of the name that matters less
    assert (single["names"], single["alike"], single["count"]) == (["a.x.com"], 0, 3)
    opened = laid_out(groups, {"mail1.x.com"})
    keys = ("mail1.x.com", "mail2.x.com", "a.x.com")
    assert [(row["key"], row["names"], row["count"]) for row in opened] == [(key, [key], 3) for key in keys]
