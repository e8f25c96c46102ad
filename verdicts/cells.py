"""Texts as cells of a CSV file that no spreadsheet calculates (OWASP, CSV injection)."""

_BEFORE = " \u00a0\ufeff"  # passed over by some before what follows
_BEGINS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # full-width forms count too


def is_formula(text: str) -> bool:
    """True where a spreadsheet may take a cell of this text for a formula."""
    return text.lstrip(_BEFORE).startswith(_BEGINS)


def harmless(text: str) -> str:
    """A cell that is no formula: a quote before it, which `bare` takes away."""
    return "'" + text if _is_quoted(text) else text


def bare(cell: str) -> str:
    """The text of which `harmless` made this cell; any other cell as it is."""
    return cell[1:] if cell[:1] == "'" and _is_quoted(cell[1:]) else cell


def _is_quoted(text: str) -> bool:
    return is_formula(text) or text.lstrip().startswith("'")  # a quote of its own is told from ours
