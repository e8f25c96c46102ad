"""dashboard/export.py: files that hold the data and start nothing."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.export import FIELDS, csv_lines, entry_of, json_lines, safe
from dashboard.sample import HOSTILE
from tests.stores import observation, records
from verdicts import list_formats
from verdicts.store import Document

FORMULAS = ["=1+1", "+1", "-1", "@sum(a)", "\t=1", "\r=1", "  =1", "\uff1d1", "\ufeff=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_begins_like_a_formula_is_quoted(text: str) -> None:
    assert safe(text) == "'" + text


@pytest.mark.parametrize(("value", "cell"), [(-1.5, "-1.5"), (7, "7"), (True, "true"), (["a", "b"], "a b")])
def test_numbers_stay_numbers(value: object, cell: str) -> None:
    assert safe(value) == cell


@settings(deadline=None)
@given(st.text())
def test_no_text_becomes_a_formula(text: str) -> None:
    assert not safe(text).lstrip(" \u00a0\ufeff").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_hostile_records_make_rows_of_whole_fields() -> None:
    found = records([observation(name, client="=cmd|' /c calc'!a1") for name in HOSTILE])
    rows = list(csv.reader(io.StringIO(csv_lines(found))))
    assert [len(row) for row in rows] == [len(FIELDS)] * len(HOSTILE)
    assert {row[FIELDS.index("client")] for row in rows} == {"'=cmd|' /c calc'!a1"}


def test_json_gives_back_what_was_stored() -> None:
    found = records([observation(name) for name in HOSTILE])
    lines = json_lines(found)
    assert lines.isascii()
    assert [json.loads(line)["qname"] for line in lines.splitlines()] == [record.qname for record in found]


def test_an_exported_list_is_imported_again_as_it_was() -> None:
    document = Document("list", "benign/cdn.example.org", {"note": "ours, all of it", "expires": 1_800_000_000_000})
    lines = list(list_formats.write([entry_of(document)], "csv"))
    parsed = list_formats.parse(lines, list_formats.guess("\n".join(lines)))
    assert (parsed.rows, parsed.problems) == ([entry_of(document)], [])
