"""`verdict store` of a store alone: create, check, reconcile; with models too in `serve_app.store_commands`."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from verdicts.arguments import DAY_MS, DAYS
from verdicts.list_holders import Refused
from verdicts.lists import BadEntry
from verdicts.reconciliation import EDGE_MS, LATE_MS, gaps_of, state_of
from verdicts.store import BatchState, Conflict, Misconfigured, Store, Unavailable, open_store

HOME_STORE = Path(".verdict/verdict.db")


@click.group()
@click.option("--store", "url", help="sqlite:///PATH or http(s)://HOST:9200; default: that of `verdict up` here.")
@click.pass_context
def store(context: click.Context, url: str | None) -> None:
    """Create, check, reconcile, back up and fill a store."""
    context.obj = url or f"sqlite:///{HOME_STORE.resolve()}"


@store.command(short_help="Create tables or indices, where they are absent.")
@click.pass_obj
def init(url: str) -> None:
    """Create tables, or templates and indices; harmless when they are there."""
    with opening(url) as opened:
        opened.initialise()
        epoch = opened.epoch()
        click.echo(f"ready: epoch {epoch.number} of generation {epoch.generation}")


@store.command()
@click.pass_obj
def check(url: str) -> None:
    """Say what is wrong, a line each; exit 1 when something is."""
    with opening(url, readonly=True) as opened:
        problems = opened.check()
    for problem in problems:
        click.echo(problem)
    if problems:
        sys.exit(1)
    click.echo("nothing is wrong")


@store.command(short_help="Compare what resolvers reported with what is stored.")
@click.option("--days", type=DAYS, default=1.0, show_default=True, help="How far back.")
@click.option("--all", "every", is_flag=True, help="A line for complete batches too.")
@click.pass_obj
def reconcile(url: str, days: float, every: bool) -> None:
    """Compare what resolvers reported with what is stored, batch by batch; exit 1 when a row or a batch is missing.

    A line each: state, resolver, boot, batch, rows promised, stored, dead-lettered; tab separated. Batches that were
    acknowledged and of which the store knows nothing stand as FIRST-LAST, their rows as `-`. What the retention cut is
    not looked at, and a last line says so.
    """
    now = int(time.time() * 1000)
    since = now - int(days * DAY_MS)
    totals: Counter[str] = Counter()

    def tell(state: str, resolver: str, boot: str, *more: object) -> None:
        if every or state != "complete":
            click.echo("\t".join([state, ascii(resolver)[1:-1], boot, *map(str, more)]))

    def judged(batches: Iterator[BatchState]) -> Iterator[BatchState]:
        """Batches as they pass: no more is kept of them than their gaps take."""
        for batch in batches:
            yield batch
            if batch.time < since:
                continue
            state = state_of(batch, now)
            totals.update({state: 1, "rows": batch.rows, "stored": batch.stored, "seen": batch.seen})
            totals.update(discarded=batch.discarded, dead=batch.dead)
            tell(state, batch.resolver, batch.boot, batch.batch, batch.rows, batch.stored, batch.dead)

    with opening(url, readonly=True) as opened:
        asked, since = since, max(since, opened.retained_to() + LATE_MS)
        gaps = gaps_of(judged(opened.reconcile(since - EDGE_MS, now + DAY_MS)), since)
    for gap in gaps:
        state = state_of(gap, now)
        totals[state] += gap.batches
        which = gap.first if gap.batches == 1 else f"{gap.first}-{gap.last}"
        tell(state, gap.resolver, gap.boot, which, "-", 0, 0)
    click.echo(
        f"{totals['complete']:,} batches complete, {totals['pending']:,} pending, {totals['missing']:,} missing,"
        f" {totals['dead-lettered']:,} dead-lettered; {totals['stored']:,} of {totals['rows']:,} rows stored;"
        f" {totals['seen']:,} queries, {totals['discarded']:,} discarded by resolvers"
    )
    if since > asked:
        kept = datetime.fromtimestamp(since / 1000, UTC)
        click.echo(f"looked at since {kept:%Y-%m-%d %H:%M} UTC alone: the retention has cut what is older")
    if totals["missing"]:
        sys.exit(1)


@contextmanager
def opening(url: str, readonly: bool = False) -> Iterator[Store]:
    """A store for one command, whose errors are told in a line."""
    with told():
        opened = open_store(url, readonly)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def told() -> Iterator[None]:
    """Errors that a person can act on, in one line instead of a trace."""
    try:
        yield
    except (BadEntry, Refused, Unavailable, Misconfigured, Conflict, ValueError) as error:
        raise click.ClickException(str(error)) from error
