"""dashboard/typed.py: what people paste is understood, and what can match nothing is told."""

from urllib.parse import parse_qsl

import pytest

from dashboard.typed import BadFilter, client_in, client_of, host_of, name_of, page_of, pattern_of
from verdicts.names import BadName

PASTED = [
    "tracker.example.net",
    "Tracker.EXAMPLE.net.",
    " tracker[.]example[.]net ",
    "tracker(.)example(.)net",
    "tracker[dot]example[DOT]net",
    "HTTPS://tracker.example.net/path?q#f",
    "hxxps[:]//tracker[.]example[.]net",
    "http://user:secret@tracker.example.net:8443/",
    "tracker.example.net:443",
    "tracker.example.net?utm=1",
    "someone@tracker.example.net",
]


@pytest.mark.parametrize("text", PASTED)
def test_a_pasted_name_is_the_one_in_the_log(text: str) -> None:
    assert name_of(text) == "tracker.example.net"
    assert pattern_of(text) == "tracker.example.net"


@pytest.mark.parametrize(
    ("text", "name"), [("b\u00fccher.de", "xn--bcher-kva.de"), ("xn--bcher-kva.de", "xn--bcher-kva.de")]
)
def test_a_name_in_another_script_is_what_resolvers_are_asked_for(text: str, name: str) -> None:
    assert name_of(text) == name


@pytest.mark.parametrize("text", ["\\047\\058.example.org", "a b.example.org", "\u202eexample.org"])
def test_a_name_that_is_no_host_stays_what_it_is(text: str) -> None:
    assert name_of(name_of(text)) == name_of(text)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [(".Example.org", ".example.org"), ("*.Example[.]org", "*.example.org"), ("a**b", "a*b"), ("", ""), ("  ", "")],
)
def test_a_filter_of_names_keeps_its_dot_and_its_stars(text: str, pattern: str) -> None:
    assert pattern_of(text) == pattern


@pytest.mark.parametrize("text", ["a..b", "x" * 64 + ".org", "*a" * 9])
def test_a_filter_that_is_none_is_told(text: str) -> None:
    with pytest.raises(BadFilter, match="expected|empty label|longer"):
        pattern_of(text)


def test_an_empty_name_is_none() -> None:
    with pytest.raises(BadName):
        name_of("https:///path")


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("192.0.2.31", "192.0.2.31"),
        ("192[.]0[.]2[.]31", "192.0.2.31"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("192.0.2.31/24", "192.0.2.0/24"),
        ("anon-3f2a", "anon-3f2a"),
        ("", ""),
    ],
)
def test_a_client_has_one_spelling(text: str, client: str) -> None:
    assert client_of(text) == client


@pytest.mark.parametrize("text", ["192.0.2.1/33", "office/1"])
def test_a_prefix_that_is_none_is_told(text: str) -> None:
    with pytest.raises(BadFilter, match="expected an address, or a prefix"):
        client_of(text)


@pytest.mark.parametrize("text", ["10.0.0.0/33", " 10[.]0[.]0[.]0/33", "2001:db8::/129", "192.0.2.7/8080"])
def test_a_prefix_that_is_none_is_no_address_either(text: str) -> None:
    with pytest.raises(BadFilter, match="expected an address, or a prefix"):
        client_in(text)


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("192[.]0[.]2[.]31/24", "192.0.2.0/24"),
        ("192.0.2.31/index.html", "192.0.2.31"),
        ("192.0.2.31:443/33", "192.0.2.31"),
        ("http://192.0.2.31/33", "192.0.2.31"),
        ("www.example.org/33", ""),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_what_stands_behind_an_address_is_a_length_or_a_path(text: str, client: str) -> None:
    assert client_in(text) == client


@pytest.mark.parametrize(
    ("text", "host"), [("https://[2001:db8::1]:853/x", "2001:db8::1"), ("192.0.2.31:53", "192.0.2.31")]
)
def test_an_address_in_a_url_is_found(text: str, host: str) -> None:
    assert host_of(text) == host


@pytest.mark.parametrize("name", ["192.0.2.7", "tracker.example.net", "\\042.example.net"])
def test_a_name_that_looks_like_an_address_has_a_page_of_its_own(name: str) -> None:
    asked = dict(parse_qsl(page_of(name).partition("?")[2]))["q"]
    assert (client_in(asked), name_of(asked)) == ("", name)
