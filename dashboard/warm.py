"""The questions that pages begin with, asked before a person asks them.

What the store reads for them is then in its memory, and Elasticsearch keeps the answers of the days that are over: of
a week's or a month's first asking by a person is left what has changed since. A long range begins at another time each
quarter of an hour (`Filters.span`), so then they are asked again. One question at a time, so that those of people come
first.
"""

import asyncio
import logging
import time

from dashboard.client import Client
from dashboard.data import Data, Failure, Opener
from dashboard.page import Context, Page
from dashboard.pages.clients import Clients
from dashboard.pages.enforcement import Enforcement
from dashboard.pages.names import Names
from dashboard.pages.overview import Overview

logger = logging.getLogger("dashboard")

QUARTER_S, AFTER_S = 900, 1.0  # when all ranges have moved
PATIENCE_S = 120.0  # nobody waits
RANGES = ("24h", "7d", "30d")
ASKED: tuple[type[Page], ...] = (Overview, Names, Clients, Enforcement)  # whose questions are about all rows of a range


async def keep_warm(open_reader: Opener, client: Client) -> None:
    """Ask again and again; ends when it is cancelled."""
    data = Data(open_reader, workers=1, patience=PATIENCE_S)
    try:
        while True:
            await ask_ahead(data, client)
            await asyncio.sleep(QUARTER_S - time.time() % QUARTER_S + AFTER_S)
    finally:
        data.close()


async def ask_ahead(data: Data, client: Client) -> None:
    """Read each page as somebody who opens it does, over each usual range; what fails is tried the next time."""
    context = Context(data, client.as_user("", "viewer"), "", "viewer", lambda _: None, lambda *_: None, {})
    for length in RANGES:
        for kind in ASKED:
            page = kind(context, {"range": length})
            try:
                await page.read()
            except Failure as failure:
                logger.info("asked ahead, %s over %s: %s", kind.path, length, failure)
            finally:
                page.stop()
