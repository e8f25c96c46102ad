"""Names: one text for one name, and clear errors for what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verdicts import names


@pytest.mark.parametrize(
    ("given_name", "normal"),
    [
        ("WWW.Example.ORG.", "www.example.org"),
        (".", "."),
        ("\\065bc.example", "abc.example"),
        ("a\\.b.example", "a\\.b.example"),
        ("a\\046b.example", "a\\.b.example"),
        ("\\\\.example", "\\\\.example"),
        ("x y.example", "x\\032y.example"),
        ("\\000\\255.example", "\\000\\255.example"),
        ("b\u00fccher.example", "b\\195\\188cher.example"),
        ("_sip._tcp.example.org", "_sip._tcp.example.org"),
        ("last\\.", "last\\."),
        ("<script>.example", "\\060script\\062.example"),
    ],
)
def test_same_octets_give_the_same_text(given_name: str, normal: str) -> None:
    assert names.normalise(given_name) == normal
    assert names.normalise(normal) == normal


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "at least one label"),
        ("a..example", "empty label"),
        (".example", "empty label"),
        ("..", "empty label"),
        ("a" * 64 + ".example", "63 octets"),
        (".".join(["a" * 63] * 4), "255 octets"),
        ("a\\25", "escape"),
        ("a\\256.example", "escape"),
        ("a\\", "ends inside an escape"),
        ("a." * 600 + "\\256", "255 octets"),  # by its length, before it is read octet by octet
    ],
)
def test_what_is_no_name_is_refused_with_its_reason(bad: str, reason: str) -> None:
    with pytest.raises(names.BadName, match=reason):
        names.normalise(bad)


def test_the_longest_name_is_a_name() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert names.normalise(longest) == longest
    every_octet_escaped = ".".join(["\\000" * 63, "\\000" * 63, "\\000" * 63, "\\000" * 61])
    assert names.normalise(every_octet_escaped) == every_octet_escaped


@given(st.text(max_size=300))
def test_normalising_is_idempotent_or_refused(text: str) -> None:
    try:
        normal = names.normalise(text)
    except names.BadName:
        return
    assert names.normalise(normal) == normal
    assert normal.isascii() and normal.isprintable()


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=6))
def test_labels_survive_the_presentation_form(labels: list[bytes]) -> None:
    text = ".".join("".join(f"\\{octet:03d}" for octet in label) for label in labels)
    assert len(names.labels_of(names.normalise(text))) == len(labels)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("localhost", "single-label"),
        (".", "single-label"),
        ("_dmarc.localhost", "single-label"),
        ("1.0.0.127.in-addr.arpa", "arpa"),
        ("printer.local", "special-use"),
        ("abc.onion", "special-use"),
        ("www.example.com", "special-use"),
        ("notexample.com", None),
        ("wikipedia.org", None),
        ("_sip._tcp.wikipedia.org", None),
    ],
)
def test_which_names_the_model_is_asked_for(name: str, reason: str | None) -> None:
    assert names.ineligible(name) == reason


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("www.wikipedia.org", ("www", "wikipedia.org", "org")),
        ("a.b.bbc.co.uk", ("a.b", "bbc.co.uk", "co.uk")),
        ("someone.github.io", ("", "someone.github.io", "github.io")),
        ("co.uk", ("", "co.uk", "co.uk")),
        ("a\\.b.wikipedia.org", ("a\\.b", "wikipedia.org", "org")),
        (".", ("", ".", ".")),
        ("\\.com", ("", "\\.com", "\\.com")),
        ("google\\.com", ("", "google\\.com", "google\\.com")),
        ("mail.google\\.co.uk", ("mail", "google\\.co.uk", "uk")),
        ("a.\\\\.com", ("a", "\\\\.com", "com")),
    ],
)
def test_names_split_at_the_public_suffix(name: str, parts: tuple[str, str, str]) -> None:
    assert names.split(name) == parts


@pytest.mark.parametrize(
    ("name", "qname"),
    [
        ("\U0001f4a9.la", "xn--ls8h.la"),
        ("i\u2764\ufe0f.ws", "xn--i-7iq.ws"),  # the sign that makes a heart red is no part of the name
        ("\u2603\u3002Net", "xn--n3h.net"),
        ("_dmarc.b\u00fccher.de", "_dmarc.xn--bcher-kva.de"),
        ("stra\u00dfe.de", "xn--strae-oqa.de"),
    ],
)
def test_a_name_with_symbols_is_asked_for_as_browsers_ask(name: str, qname: str) -> None:
    assert names.asked(name) == names.typed(name) == qname


@pytest.mark.parametrize(
    "name", ["\u05d0\u2603a.example", "\U0001f469\u200d\U0001f4bb.example", "\u2603\u0378.example"]
)
def test_what_no_browser_asks_for_is_no_name_for_all_its_symbols(name: str) -> None:
    with pytest.raises(names.BadName, match="IDNA"):
        names.asked(name)


@given(st.text(max_size=300))
def test_any_text_is_asked_for_in_ascii_or_refused(text: str) -> None:
    try:
        assert names.asked(text).isascii() or text.isascii()
    except names.BadName:
        pass


@given(st.lists(st.text("ab.\\", min_size=1, max_size=3), min_size=1, max_size=4))
def test_any_name_splits_at_the_ends_of_its_labels(labels: list[str]) -> None:
    name = names.normalise(".".join("".join(f"\\{ord(c):03d}" for c in label) for label in [*labels, "co", "uk"]))
    parts = names.split(name)
    assert ".".join(filter(None, [parts.subdomain, parts.registered])) == name
    assert names.labels_of(parts.registered)[1:] == names.labels_of(parts.suffix) == ["co", "uk"]


def test_suffixes_go_from_longest_to_shortest() -> None:
    assert names.suffixes("a\\.b.c.org") == ["a\\.b.c.org", "c.org", "org"]


def test_a_shown_name_is_safe_in_a_terminal() -> None:
    shown = names.shown("\x1b[31m" + "a" * 300)
    assert "\x1b" not in shown and len(shown) <= 80


@pytest.mark.parametrize(
    ("text", "plain", "zoned"),
    [
        ("192.0.2.1", True, True),
        ("2001:db8::1", True, True),
        ("fe80::1%eth0", False, True),
        ("192.0.2.1%eth0", False, False),
        ("fe80::1%", False, False),
        ("192.0.2.0/24", False, False),
        ("", False, False),
    ],
)
def test_what_is_an_address_with_a_zone_and_without(text: str, plain: bool, zoned: bool) -> None:
    assert (names.is_address(text), names.is_address(text, zoned=True)) == (plain, zoned)
