"""The pages: one file a page, each a class built anew whenever a person goes there."""

from dashboard.page import Page
from dashboard.pages.overview import Overview

NAVIGATION: tuple[dict[str, str], ...] = (
    {"path": "/", "label": "Overview", "icon": "space_dashboard"},
)  # fmt: skip

PAGES: dict[str, type[Page]] = {page.path: page for page in (Overview,)}
