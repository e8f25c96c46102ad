"""loadtest/panel_session.py: where a page's document is, and what a page is that has none."""

import pytest

from loadtest.panel_session import NotServed, address, session_token


@pytest.mark.parametrize(
    ("base", "path", "asked"),
    [
        ("http://127.0.0.1:8054", "/", "ws://127.0.0.1:8054/ws"),
        ("https://ws1.example.net", "/names?range=24h", "wss://ws1.example.net/names/ws"),
    ],
)
def test_the_documents_address_is_the_pages(base: str, path: str, asked: str) -> None:
    assert address(base, path) == asked


def test_a_page_without_a_session_is_not_served() -> None:
    assert session_token('{"token": "abc.def"}') == "abc.def"
    with pytest.raises(NotServed):
        session_token("<form>log in</form>")
