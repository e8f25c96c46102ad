"""verdicts/cells.py: no text is calculated, and each comes back."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from verdicts.cells import bare, harmless, is_formula


@pytest.mark.parametrize("text", ["=1+1", " =1+1", "\u00a0=1+1", "\ufeff@a", "\uff1dHYPERLINK(1)", "-1", "\t=1"])
def test_what_a_spreadsheet_would_calculate_gets_a_quote(text: str) -> None:
    assert harmless(text) == "'" + text


@settings(deadline=None)
@given(st.text() | st.text("'=\uff1d \u00a0\tx"))
@example("  '=1")
def test_no_text_becomes_a_formula_and_each_comes_back(text: str) -> None:
    assert not is_formula(harmless(text)) and bare(harmless(text)) == text
    if text.strip():  # as a reader of lists takes cells
        assert bare(harmless(text).strip()).strip() == text.strip()


def test_a_quote_that_nobody_put_there_stays() -> None:
    assert bare("'tis") == "'tis"
