"""Kinds of hard benign names."""

import pytest

from model.hard import kinds


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("qq.com", "registered label of 4 characters or fewer"),
        ("163.com", "registered label of digits"),
        ("web2print.de", "registered label of letters and digits"),
        ("d41d8cd98f00.cdn.example.net", "hexadecimal label"),
        ("xn--bcher-kva.example", "internationalised"),
        ("mbstrgtl.com", "five consonants in a row"),
        ("www.example.co.uk", "under a country's suffix"),
        ("a.b.c.example.org", "five labels or more"),
    ],
)
def test_a_name_is_of_its_kind(name: str, kind: str) -> None:
    assert kind in kinds(name)


def test_an_ordinary_name_is_of_no_hard_kind() -> None:
    assert kinds("wikipedia.org") == []
