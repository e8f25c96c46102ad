"""`verdict lists`."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from verdicts import list_formats
from verdicts.arguments import DAY_MS, DAYS, Group, cluster_or_store, person
from verdicts.list_holders import CHUNK, Direct, Holder, Refused, Remote, token_in
from verdicts.policy import LIST_NAMES
from verdicts.progress import bar, interruptible, told_of
from verdicts.store import Conflict, Misconfigured, Unavailable
from verdicts.store_commands import told

ALLOWED = "benign"  # the list whose names pass, also in the forms that can say so
TOLD = 20  # rows that were left out, on the terminal


@click.group(cls=Group)
@click.option("--url", help="The cluster, for instance http://127.0.0.1:8053; needs --token-file.")
@click.option("--token-file", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="An analyst's token.")
@click.option("--store", "store_url", help="A store that no cluster writes to: sqlite:///PATH or http://HOST:9200.")
@click.pass_context
def lists(context: click.Context, url: str | None, token_file: Path | None, store_url: str | None) -> None:
    """Show and change the vetted lists: benign, honeypot, blocklist; and the prevalence list.

    Without options: the cluster of `verdict up` in this folder.
    """
    url, token_file = cluster_or_store(url, token_file, store_url)
    with told():
        if url is not None and token_file is not None:
            context.obj = Remote(url, token_in(token_file), person())
        else:
            context.obj = Direct(store_url or "", person(), _now())
    context.call_on_close(context.obj.close)


_LIST = click.argument("list_name", metavar="LIST", type=click.Choice(LIST_NAMES))
_ANY_LIST = click.argument("list_name", metavar="LIST", type=click.Choice((*LIST_NAMES, "prevalence")))
_FILE = click.File("r", encoding="utf-8", errors="surrogateescape")
_FORM = click.option(
    "--form", type=click.Choice(("auto", *list_formats.FORMS)), default="auto", help="How FILE is written."
)
_NOTE = click.option("--note", default="", help="Why; it stands in the history.")
_DAYS = click.option("--days", type=DAYS, help="Until the entries expire.")


@lists.command()
@click.argument("list_name", metavar="[LIST]", required=False, type=click.Choice(LIST_NAMES))
@click.option("--contains", default="", help="Only suffixes with this text in them.")
@click.pass_obj
def show(holder: Holder, list_name: str | None, contains: str) -> None:
    """Print entries: list, suffix, author, expiry, note; tab separated."""
    with told():
        for found in holder.show(list_name or "", contains.lower()):
            expires = _day(found["expires"]) if found["expires"] else "-"
            note = ascii(found["note"] or "")[1:-1]
            click.echo("\t".join([found["list"], found["suffix"], found["author"], expires, note]))


@lists.command()
@_LIST
@click.argument("suffixes", metavar="SUFFIX...", nargs=-1, required=True)
@_NOTE
@_DAYS
@click.pass_obj
def add(holder: Holder, list_name: str, suffixes: tuple[str, ...], note: str, days: float | None) -> None:
    """Add names; each stands for itself and all below it."""
    with told():
        parsed = list_formats.parse(suffixes)
        if parsed.problems:
            raise click.ClickException(parsed.problems[0].reason)
        click.echo(f"{sum(holder.add(list_name, parsed.rows, note, _expiry(days)))} added to {list_name}")


@lists.command()
@_LIST
@click.argument("suffixes", metavar="[SUFFIX...]", nargs=-1)
@click.option("--file", type=_FILE, help="Remove the names in it too, as `import` would add them.")
@_FORM
@_NOTE
@click.pass_obj
def remove(
    holder: Holder, list_name: str, suffixes: tuple[str, ...], file: IO[str] | None, form: str, note: str
) -> None:
    """Remove names; with --file those of a whole file, which takes its import back."""
    if not suffixes and file is None:
        raise click.UsageError("expected SUFFIX or --file")
    with told():
        wanted, absent = list(suffixes), list[str]()
        if file is not None:
            wanted += [row.name for row in _read(file, form, None, list_name)[0].rows]

        def counts() -> Iterator[int]:
            for count, missing in holder.remove(list_name, wanted, note):
                absent.extend(missing)
                yield count

        removed = _write(counts(), list_name, len(wanted), "names, in their order, are gone")
        if file is not None:
            click.echo(f"{removed:,} names are on {list_name} no more")
            return
        click.echo(f"{removed - len(absent):,} removed from {list_name}")
        for suffix in absent:
            click.echo(f"{suffix}: was not on it", err=True)


@lists.command("import", short_help="Add the names of a file, in any usual form.")
@_ANY_LIST
@click.argument("file", type=_FILE)
@_FORM
@click.option("--limit", type=click.IntRange(1), help="Ranks of a top list, or rows of another.")
@_NOTE
@_DAYS
@click.pass_obj
def import_(
    holder: Holder, list_name: str, file: IO[str], form: str, limit: int | None, note: str, days: float | None
) -> None:
    """Add the names of FILE (`-`: standard input); rows that are no names are told and left out.

    LIST may be `prevalence`: the popular names that the model may not block, most popular first; it is replaced.
    A long list goes in by parts, each whole or not at all. Ctrl-C stops between two of them and says how far it came;
    the same command again completes it. An entry that is in already and says the same is left as it is.
    """
    with told():
        began = time.monotonic()
        parsed, form = _read(file, form, limit, list_name, int(time.time() * 1000))
        if not parsed.rows:  # an error page, or nothing: above all no reason to empty the prevalence list
            raise click.ClickException(f"{_name(file)} ({form}): no name for {list_name}; nothing was changed")
        if list_name == "prevalence":
            ranked = sorted(parsed.rows, key=lambda row: row.rank)
            counts = holder.rank([row.name for row in ranked], note)
            which = "ranks are new, behind them stands the former list"
        else:
            counts = holder.add(list_name, parsed.rows, note, _expiry(days))
            which = "names, in their order, are in"
        written = _write(counts, list_name, len(parsed.rows), which)
        seconds = time.monotonic() - began
        click.echo(f"{written:,} into {list_name} ({form}) in {seconds:.1f} s, {parsed.left_out:,} left out")


def _read(file: IO[str], form: str, limit: int | None, list_name: str, now: int = 0) -> tuple[list_formats.Parsed, str]:
    """The names of a file for a list, and the form that it has; what is left out is told."""
    text = file.read().splitlines()
    form = list_formats.guess("\n".join(text[:200])) if form == "auto" else form
    parsed = list_formats.parse(told_of(text, "Reading"), form, limit, list_name == ALLOWED, now)
    for problem in parsed.problems[:TOLD]:
        click.echo(f"{_name(file)}, line {problem.line}: {problem.reason}", err=True)
    if parsed.left_out > TOLD:
        click.echo(f"and {parsed.left_out - TOLD:,} more", err=True)
    return parsed, form


def _name(file: IO[str]) -> str:
    return str(getattr(file, "name", "-"))


def _write(counts: Iterator[int], list_name: str, total: int, which: str) -> int:
    """Let a holder write; where it is interrupted or fails, say how many names it had come to and that `which`."""
    done, why, open_part = 0, "", False
    with interruptible() as interrupt, bar(total, f"Writing {list_name}") as show_more:
        try:
            for count in counts:
                done += count
                show_more(count)
                if interrupt.asked and done < total:
                    why = "interrupted"
                    break
        except (Refused, Unavailable, Misconfigured, Conflict) as error:
            why, open_part = str(error), True
        except KeyboardInterrupt:
            why, open_part = "interrupted at once", True
    if not why:
        return done
    if not done and total <= CHUNK:  # there is but one part
        raise click.ClickException(why)
    of_next = " (of the next part all may be, or none)" if open_part else ""
    raise click.ClickException(
        f"{list_name}: the first {done:,} of {total:,} {which}{of_next}: {why}. The same command again completes it."
    )


@lists.command()
@_ANY_LIST
@click.option("--form", type=click.Choice(list_formats.FORMS), default="plain", help="How it is written.")
@click.pass_obj
def export(holder: Holder, list_name: str, form: str) -> None:
    """Print a whole list."""
    with told():
        if list_name == "prevalence":
            rows = [list_formats.Row(name) for name in holder.ranked()]
        else:
            found = holder.show(list_name, "")
            rows = [list_formats.Row(item["suffix"], item["note"] or "", item["expires"]) for item in found]
        for line in list_formats.write(rows, form, list_name == ALLOWED):
            click.echo(line)


def _expiry(days: float | None) -> int | None:
    return None if days is None else _now() + int(days * DAY_MS)


def _day(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(time_ms / 1000))


def _now() -> int:
    return int(time.time() * 1000)


COMMANDS = [lists]
