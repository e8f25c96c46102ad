"""The forms in which people have lists."""

import csv
import time

import pytest

from verdicts.list_formats import FORMS, Row, guess, parse, read, write

TEXTS = {
    "plain": "# a remark\nA.example-a.com\n*.example-b.com # why\n.example-c.com\n0.0.0.0 example-d.com\n",
    "hosts": "127.0.0.1 localhost\n::1 ip6-localhost\n0.0.0.0 a.example-a.com example-b.com\n"
    "0.0.0.0 example-c.com #x\n127.0.0.1\texample-d.com\n",
    "rpz": "$TTL 300\n@ SOA localhost. root.localhost. 1 2 3 4 5\n  NS localhost.\n$ORIGIN rpz.example.\n"
    "a.example-a.com CNAME .\n*.a.example-a.com CNAME .\nexample-b.com 300 IN CNAME rpz-drop.\n"
    "example-c.com A 192.0.2.1\nexample-d.com.rpz.example. CNAME *. ; why\n",
    "adguard": "! a list\n[Adblock Plus]\n||a.example-a.com^\n||example-b.com^$important\n"
    "||example-c.com^\nexample-d.com\n",
    "csv": 'domain,note\na.example-a.com,one\nexample-b.com,\nexample-c.com,"a, b"\nexample-d.com\n',
    "top": "1,a.example-a.com\n2,example-b.com\r\n3,example-c.com\n7,example-d.com\n",
}
EXPECTED = ["a.example-a.com", "example-b.com", "example-c.com", "example-d.com"]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_read(form: str) -> None:
    found = parse(TEXTS[form].splitlines(), form)
    assert [row.name for row in found.rows] == EXPECTED
    assert found.left_out == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_recognised(form: str) -> None:
    text = TEXTS[form] if form != "plain" else "# a remark\nexample-a.com\n"
    assert guess(text) == form


@pytest.mark.parametrize("line", ["a{}b", "1,{},x", "{}SOB", "1{}x"])
def test_what_a_text_is_made_of_does_not_make_its_form_costly_to_tell(line: str) -> None:
    """Seconds here are seconds in which an ingress answers nobody."""
    began = time.process_time()
    assert guess(line.format(" " * 20_000)) in FORMS
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("1,a.example-a.com", "top"), ("1,a,b", "csv"), ("a,b", "csv"), ("1,", "csv"), ("bad.example cname .", "rpz"),
        ("cname.example", "plain"), ("soa.example", "plain"),
    ],
)  # fmt: skip
def test_a_line_alone_tells_its_form(line: str, form: str) -> None:
    assert guess(line) == form


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_read_back(form: str) -> None:
    rows = [Row(name) for name in EXPECTED]
    assert [row.name for row in parse(write(rows, form), form).rows] == EXPECTED


@pytest.mark.parametrize("form", FORMS)
def test_a_public_suffix_is_left_out_with_its_line_and_the_rest_stands(form: str) -> None:
    lines = list(write([Row("good.org"), Row("co.uk"), Row("fine.org")], form))
    found = parse(lines, form)
    assert [row.name for row in found.rows] == ["good.org", "fine.org"]
    assert found.left_out == (2 if form == "rpz" else 1)
    assert "co.uk" in lines[found.problems[0].line - 1] and "public suffix" in found.problems[0].reason


@pytest.mark.parametrize(
    ("form", "line", "reason"),
    [
        ("plain", "two words", "expected one name"),
        ("plain", "a..b", "empty label"),
        ("plain", "192.0.2.1", "an address"),
        ("plain", "192.0.2.0/24", "a domain name"),
        ("plain", "http://a.example-a.com/path", "a domain name"),
        ("plain", "<p>nginx/1.18.0</p>", "a domain name"),
        ("plain", "ex*mple-a.com", "a domain name"),
        ("plain", "example-a.*", "a domain name"),
        ("plain", "e\0x\0a\0.\0c\0o\0m\0", "a domain name"),
        ("plain", "b\udcfccher.example-a.com", "IDNA"),
        ("hosts", "example.com", "an address and names"),
        ("adguard", "@@||example-a.com^", "exception"),
        ("adguard", "||example-a.com^$client=x", "modifier"),
        ("adguard", "/ads[0-9]/", "expected ||NAME^"),
        ("adguard", "||example-a.com:8080^", "a domain name"),
        ("rpz", "32.1.2.0.192.rpz-ip CNAME .", "other than a qname"),
        ("rpz", "www.example-a.com CNAME rpz-passthru.", "exception"),
        ("rpz", "www.example-a.com CNAME www.example-a.com.", "exception"),
        ("rpz", "www.example-a.com CNAME rpz-tcp-only.", "by TCP"),
        ("top", "x,example-a.com", "RANK,NAME"),
        ("top", "\u00b2,example-a.com", "RANK,NAME"),
        ("top", f"{'9' * 5000},example-a.com", "RANK,NAME"),
        ("csv", "x.com,n,soon", "Unix milliseconds"),
        ("csv", "x.com,n,\u00b2", "Unix milliseconds"),
        ("csv", "x.com,n,9999999999999999999", "Unix milliseconds"),  # more than Elasticsearch takes
        ("csv", '"x.com"y,n', "expected after"),
    ],
)
def test_a_bad_row_says_what_was_expected(form: str, line: str, reason: str) -> None:
    head = {"csv": ["domain,note,expires"], "top": ["1,first.com"]}.get(form, [])
    found = parse([*head, line], form)
    assert len(found.problems) == 1 and reason in found.problems[0].reason
    assert found.problems[0].line == len(head) + 1


@pytest.mark.parametrize("text", ['"begun and not ended', '"' + "x" * 140_000])
def test_a_quote_without_an_end_takes_no_row_without_a_word(text: str) -> None:
    lines = ["domain,note", "a.org,one", f"b.org,{text}", "c.org,three", "d.org,four"]
    found = parse(lines, "csv")
    assert found.rows[0].name == "a.org"
    assert len(found.rows) + found.left_out == 4
    assert found.problems[0].line == 3 and "begins in line 3" in found.problems[0].reason


@pytest.mark.parametrize("form", FORMS)
def test_a_mark_of_the_encoding_is_no_part_of_the_first_name(form: str) -> None:
    text = "\ufeff" + {"plain": "A.example-a.com\n"}.get(form, TEXTS[form])
    assert guess(text) == form
    found = parse(text.splitlines(), form)
    assert found.rows[0].name == EXPECTED[0] and found.left_out == 0


def test_a_name_in_another_script_stands_as_resolvers_are_asked_for_it() -> None:
    assert [row.name for row in parse(["b\u00fccher.example-a.com", "STRA\u00dfE.example-a.com"]).rows] == [
        "xn--bcher-kva.example-a.com", "xn--strae-oqa.example-a.com"
    ]  # fmt: skip


def test_the_address_of_a_hosts_line_may_have_a_zone() -> None:
    rows = [row for _, row in read(["fe80::1%lo0 localhost", "fe80::1%lo0 a.example-a.com"], "hosts")]
    assert [row.name for row in rows if isinstance(row, Row)] == ["a.example-a.com"] and len(rows) == 1


def test_a_zone_with_whole_names_is_read_without_its_own() -> None:
    """As a zone transfer and named-compilezone give it."""
    zone = [
        "rpz.example. 300 IN SOA ns.example. root.example. 1 3600 600 86400 300",
        "rpz.example. 300 IN NS localhost.",
        "example-a.com.rpz.example. 300 IN CNAME .",
        "*.example-a.com.rpz.example. 300 IN CNAME .",
        "good.example-a.com.rpz.example. 300 IN CNAME rpz-passthru.",
    ]
    assert guess("\n".join(zone)) == "rpz"
    found = parse(zone, "rpz")
    assert [row.name for row in found.rows] == ["example-a.com"]
    assert [(problem.line, "good.example-a.com'" in problem.reason) for problem in found.problems] == [(5, True)]


@pytest.mark.parametrize("form", FORMS)
def test_names_that_are_to_pass_are_written_and_read_as_such(form: str) -> None:
    lines = list(write([Row(name) for name in EXPECTED], form, allow=True))
    assert [row.name for row in parse(lines, form, allow=True).rows] == EXPECTED
    if form in ("rpz", "adguard"):  # nobody who reads it blocks them
        assert parse(lines, form).rows == []


def test_a_top_list_ends_at_its_rank() -> None:
    assert [row.rank for row in parse(TEXTS["top"].splitlines(), "top", 3).rows] == [1, 2, 3]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x0b"])
def test_a_note_of_two_lines_brings_no_name_onto_a_list(end: str) -> None:
    lines = "\n".join(write([Row("bad.net", f"see{end}victim.org{end}")], "csv")).splitlines()
    assert parse(lines, "csv").rows == [Row("bad.net", "see victim.org")]


def test_a_csv_keeps_notes_and_expiry_and_no_formula() -> None:
    rows = [
        Row("a.org", "=cmd|' /C calc'!A0", 1_800_000_000_000),
        Row("-b.org", "'-c"),
        Row("c.org", "'tis"),
        Row("d.org", "''"),
        Row("e.org", "\uff1dHYPERLINK(1)"),
        Row("f.org", " =1+1"),
        Row("g.org", "\u00a0'=1+1"),
    ]
    lines = list(write(rows, "csv"))
    cells = [cell for line in csv.reader(lines) for cell in line]
    assert not [cell for cell in cells if cell.strip().startswith(("=", "+", "-", "@", "\uff1d"))]
    assert parse(lines, "csv").rows == rows


def test_an_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="plain, hosts, rpz"):
        parse([], "xml")


def test_repeats_are_one_row() -> None:
    assert len(parse(["a.org", "A.ORG", "a.org."]).rows) == 1
