"""`verdict store`: what `verdicts.store_commands` has, and what needs models too (backup, restore, import)."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from model.commands import quiet
from model.registry_commands import absent, no_registry, registry_option
from verdicts import collector_logs, history, privacy
from verdicts.arguments import person
from verdicts.drain import promise_of
from verdicts.observations import Batch
from verdicts.records import records_of
from verdicts.store import Document, Store
from verdicts.store_commands import opening, store, told

if TYPE_CHECKING:
    from model.registry import Registry
    from serve_app.offline import Offline

_FILE = click.Path(path_type=Path, dir_okay=False)
_THERE = click.Path(path_type=Path, dir_okay=False, exists=True)
_MODELS = click.option("--models/--no-models", default=True, show_default=True, help="The registry too.")


@store.command(short_help="Write what people decided, and the models, to a file.")
@click.argument("file", type=_FILE)
@registry_option
@_MODELS
@click.pass_obj
def backup(url: str, file: Path, registry: str, models: bool) -> None:
    """Write lists, policy, tokens, labels and the models of the registry to FILE (a compressed tar).

    A cluster may run meanwhile. Records and incidents are not in it.
    """
    from serve_app import backup as backups

    if models and absent(registry):
        raise click.ClickException(f"{no_registry(registry)}, or back up what people decided alone by --no-models")
    with opening(url, readonly=True) as source, _told_files():
        head = backups.write(file, source, _registry(registry) if models else None)
    click.echo(
        f"{file}: {head.documents:,} documents of epoch {head.epoch}, {_models(head.members)} models,"
        f" {file.stat().st_size:,} octets"
    )


@store.command(short_help="Decide and serve as a backup says.")
@click.argument("file", type=_THERE)
@registry_option
@_MODELS
@click.option("--note", default="", help="Why; it stands in the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def restore(url: str, file: Path, registry: str, models: bool, note: str, yes: bool) -> None:
    """Make the store decide as FILE says, in one commit, and its model serve.

    What was decided since is taken back (the history keeps it); models that came since stay. With SQLite no cluster
    may run meanwhile. Resolvers follow by themselves: the epoch moves on, and a new store has a new generation.
    """
    from serve_app import backup as backups

    with told(), _told_files():
        found = backups.read(file)
    made = _time(found.head.time)
    with opening(url) as target, _told_files():
        target.initialise()
        if not yes:
            click.confirm(
                f"{url.partition('?')[0].rpartition('@')[2]}: decide as on {made},"
                f" {len(found.documents):,} documents and {len(found.models)} models?",
                abort=True,
            )
        why = f"restored from a backup of {made}, epoch {found.head.epoch}" + (f": {note}" if note else "")
        kept = _registry(registry) if models else None
        epoch, changed = backups.restore(found, target, kept, person(), why)
    click.echo(f"{changed:,} documents changed: epoch {epoch.number} of generation {epoch.generation}")


@store.command("import", short_help="Put the log of another system into the log.")
@click.argument("file", type=_THERE)
@click.option(
    "--clients",
    required=True,
    type=click.Choice(privacy.MODES),
    help="How client addresses are kept, as client_privacy.",
)
@click.option("--client-key-file", type=_THERE, help="For keyed.")
@click.option("--form", type=click.Choice(history.FORMS), help="How FILE is written (default: by its beginning).")
@click.option("--resolver", default="", help="Whose log it is (default: as the events say, or the file's name).")
@click.option("--text-format", default=collector_logs.TEXT_FORMAT, show_default=True, help="DNS-collector's own.")
@click.option("--delimiter", default=" ", help="DNS-collector's text-format-delimiter.")
@click.option("--boundary", default='"', help="DNS-collector's text-format-boundary.")
@registry_option
@click.pass_obj
def import_(
    url: str, file: Path, clients: str, client_key_file: Path | None, form: history.Form | None, resolver: str,
    text_format: str, delimiter: str, boundary: str, registry: str,
) -> None:  # fmt: skip
    """Put the log of another system into the log, judged by the serving model and the lists as they are now.

    FILE is a dnstap file (frame streams), or DNS-collector's JSON lines or text; `.gz` is unpacked. Of queries and
    replies the replies count, or the queries where there are no replies. Importing a file again adds nothing; of one
    that grew, what is new. A record cannot be taken back, so --clients must be said.
    """
    if clients == "keyed" and client_key_file is None:
        raise click.UsageError("--clients keyed: expected the key too, by --client-key-file")
    with told(), _told_files():
        key = privacy.read_key(client_key_file) if client_key_file else b""
        anonymise = privacy.anonymiser(clients, key)
        source = history.Source(file, form, collector_logs.text_lines(text_format, delimiter, boundary))
    with opening(url) as target, _told_files():
        target.initialise()
        done = {d.key: msgspec.convert(d.body, history.Done) for d in target.scan(history.KIND)}
        found = history.survey(source, done)
        _tell(file, found)
        if found.prior is not None and found.prior[1].complete and found.prior[1].ends[-1] == found.events:
            click.echo(f"{file}: imported already; nothing was added")
            return
        if not found.events:
            raise click.ClickException(f"{file}: no client's query or reply, expected a log of a resolver")
        quiet()
        from serve_app.offline import Offline

        served = _registry(registry)
        served.seed_if_empty()
        judge = Offline(target, served.get(served.serving()))
        counts, why = _import(target, source, found, resolver, clients, anonymise, judge)
    click.echo(
        f"{file}: {counts['queries']:,} queries in {counts['rows']:,} rows, {_time(found.first)} to"
        f" {_time(found.last)}; {counts['alert']:,} alert, {counts['block']:,} block, by {judge.version}"
        + (f"; {counts['rejected']:,} rows refused: {why}" if counts["rejected"] else "")
    )


def _import(
    target: Store, source: history.Source, found: history.Survey, resolver: str, clients: str,
    anonymise: Callable[[str], str] | None, judge: "Offline",
) -> tuple[Counter[str], str]:  # fmt: skip
    """Write every batch, between a document that says it began and the same that says it is complete.

    Returns queries by tier, rows and rejected rows, and why the first was rejected.
    """
    todo = history.plan(found)
    if found.prior is not None and (found.prior[1].resolver, found.prior[1].clients) != (resolver, clients):
        began = found.prior[1]
        raise click.ClickException(
            f"{source.path}: imported before with --resolver {began.resolver!r} --clients {began.clients};"
            " go on with the same"
        )
    done = history.Done(
        found.name, source.form, resolver, found.replies, found.size, found.digest, todo.ends, clients, judge.version,
    )  # fmt: skip
    _note(target, todo.boot, done)
    counts: Counter[str] = Counter()
    why, number = "", todo.number
    label = f"{source.path.name}: {found.events:,} events"
    with click.progressbar(length=found.events, label=label) as bar:
        for batch in history.batches(source, found, resolver, judge.judge):
            kept = batch if anonymise is None else privacy.anonymised(batch, anonymise)
            rejected = target.append(list(records_of(kept)), [promise_of(kept, int(time.time() * 1000))])
            why = why or (rejected[0].reason if rejected else "")
            counts.update(_counted(batch))
            counts["rejected"] += len(rejected)
            number = batch.batch
            bar.update(batch.seen)
    _note(target, todo.boot, msgspec.structs.replace(done, batches=number, complete=True))
    return counts, why


def _counted(batch: Batch) -> Counter[str]:
    counts = Counter({"rows": len(batch.rows), "queries": batch.seen})
    for row in batch.rows:
        counts[row.tier] += row.count
    return counts


def _note(target: Store, boot: str, done: history.Done) -> None:
    state = "complete" if done.complete else "begun"
    target.commit([Document(history.KIND, boot, msgspec.to_builtins(done))], person(), f"import {state}")


def _tell(file: Path, found: history.Survey) -> None:
    for leftover in found.leftovers:
        click.echo(f"{file}, {leftover.place}: left out: {leftover.reason}", err=True)
    if found.left_out > len(found.leftovers):
        click.echo(f"and {found.left_out - len(found.leftovers):,} more", err=True)
    if found.others:
        click.echo(f"{file}: {found.others:,} queries left out, since replies are there", err=True)
    if found.cut:
        click.echo(f"{file}, {found.cut}: what came before is imported", err=True)


def _models(members: dict[str, str]) -> int:
    return len({name.split("/")[1] for name in members if name.count("/") == 2})


def _registry(place: str) -> "Registry":
    from model.registry import Registry

    return Registry(place)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@contextmanager
def _told_files() -> Iterator[None]:
    """What files, backups and registries refuse, in one line."""
    from serve_app.backup import BadBackup

    try:
        yield
    except (OSError, KeyError, BadBackup, history.BadHistory, privacy.BadKey) as error:
        raise click.ClickException(str(error)) from error


COMMANDS = [store]
