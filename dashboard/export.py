"""The filtered log or a vetted list as a file: CSV that no spreadsheet takes for formulas, or JSON lines."""

import csv
import functools
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, authenticated

from dashboard.accounts import Role
from dashboard.auth import CLAIMS, claims_of, signed
from dashboard.data import Data, Failure
from dashboard.filters import Filters
from dashboard.typed import BadFilter
from verdicts import list_formats
from verdicts.cells import is_formula
from verdicts.records import Record
from verdicts.store import Document, Filter, Store

LIMIT = 200_000  # records in one file
PAGE = 2_000
ENTRIES = 10_000  # of a list, written at a time: a million at once would stop everybody's pages
FIELDS = (
    "time",
    "last",
    "count",
    "qname",
    "qtype",
    "client",
    "resolver",
    "mode",
    "label",
    "tier",
    "action",
    "enforced",
    "source",
    "rule",
    "model",
    "reason",
    "rcode",
    "score",
    "generated",
    "registered",
    "addresses",
    "targets",
    "target_of",
)


def safe(value: Any) -> str:
    """A cell's text that no spreadsheet calculates: numbers as they are, text that begins like a formula quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = " ".join(value) if isinstance(value, list) else str(value)
    return "'" + text if is_formula(text) else text


def csv_lines(records: Iterable[Record]) -> str:
    """Rows of a CSV file (RFC 4180)."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    for record in records:
        writer.writerow([safe(getattr(record, field)) for field in FIELDS])
    return out.getvalue()


def json_lines(records: Iterable[Record]) -> str:
    """One JSON object a line; ASCII, so that no mark in a name changes how the file is read."""
    return "".join(json.dumps({field: getattr(record, field) for field in FIELDS}) + "\n" for record in records)


async def pages(data: Data, where: Filter, limit: int = LIMIT) -> AsyncIterator[list[Record]]:
    """The records of a filter, page by page, at most `limit` of them."""
    cursor: str | None = None
    left = limit
    while left > 0:
        page = await data.search(where, min(PAGE, left), cursor, keep=0)
        if page.records:
            yield page.records
        left -= len(page.records)
        cursor = page.cursor
        if cursor is None:
            return


class ForThoseLoggedIn(RequestHandler):
    """What every download needs: a person who is logged in and has a role here, and the store."""

    def initialize(self, data: Data, role_of: Callable[[str | None, Any], Role | None]) -> None:
        self.data, self.role_of = data, role_of

    async def prepare(self) -> None:
        provider = self.application.auth_provider  # type: ignore[attr-defined]
        user = provider.get_user(self) if provider.get_user else await provider.get_user_async(self)
        self.current_user: str | None = user
        cookies = {name: cookie.value for name, cookie in self.cookies.items()}
        if user is not None and self.role_of(user, claims_of(signed(CLAIMS, cookies))) is None:
            raise HTTPError(403, "no role here")

    def get_login_url(self) -> str:
        return "/login"

    def attach(self, kind: str, filename: str) -> None:
        """The headers of a file that a browser saves and never shows."""
        self.set_header("Content-Type", "text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson")
        self.set_header("Content-Disposition", f'attachment; filename="{filename}.{kind}"')
        self.set_header("X-Content-Type-Options", "nosniff")

    def failed(self, failure: Failure) -> None:
        """Tell that the store gave no answer. Raises where a part was sent: a file cut short must not look whole."""
        if self._headers_written:
            raise failure
        self.clear()
        self.set_status(503)
        self.set_header("Retry-After", "5")
        self.finish({"code": "store", "message": str(failure)})


class ExportHandler(ForThoseLoggedIn):
    """`/export.csv` and `/export.json` with the query of the log's page."""

    @authenticated
    async def get(self, kind: str) -> None:
        filters = Filters()
        filters.restore({key: self.get_query_argument(key) for key in self.request.query_arguments})
        try:
            where = filters.where()
        except BadFilter as error:
            self.set_status(400)
            self.finish({"code": "malformed", "message": str(error)})  # as JSON: it names what was asked for
            return
        shape = csv_lines if kind == "csv" else json_lines
        self.attach(kind, "verdict-queries")
        try:
            if kind == "csv":
                self.write(",".join(FIELDS) + "\r\n")
            async for records in pages(self.data, where):
                self.write(shape(records))
                await self.flush()
        except Failure as failure:
            self.failed(failure)
        except StreamClosedError:
            pass  # whoever downloads it broke it off


class ListExportHandler(ForThoseLoggedIn):
    """`/lists/LIST.csv`: one vetted list in the form that the lists page and `verdict lists import` take."""

    @authenticated
    async def get(self, kind: str) -> None:
        self.attach("csv", f"verdict-{kind}")
        after: str | None = ""
        try:
            while after is not None:
                lines, after = await self.data.ask(
                    ("list-file", kind, after), functools.partial(list_lines, kind=kind, after=after), 0
                )
                self.write(lines)
                await self.flush()
        except Failure as failure:
            self.failed(failure)
        except StreamClosedError:
            pass  # whoever downloads it broke it off


def list_lines(store: Store, kind: str, after: str) -> tuple[str, str | None]:
    """ENTRIES lines of a list's file from the key beyond `after` on, and the key to go on from. Blocks."""
    found = list(itertools.islice(store.scan("list", f"{kind}/", after), ENTRIES))
    lines = list_formats.write(map(entry_of, found), "csv")
    if after:  # the heading stands once
        lines = itertools.islice(lines, 1, None)
    text = "".join(f"{line}\r\n" for line in lines)
    return text, found[-1].key if len(found) == ENTRIES else None


def entry_of(document: Document) -> list_formats.Row:
    """A list's entry as a row of its file."""
    body = document.body or {}
    return list_formats.Row(document.key.partition("/")[2], body.get("note") or document.note, body.get("expires"))
