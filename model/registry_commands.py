"""The registry's part of the `verdict` command: models."""

from pathlib import Path
from typing import Any

import click

from model.commands import quiet

REGISTRY = ".verdict/models"  # that of `verdict up`
registry_option = click.option(
    "--registry", envvar="VERDICT_REGISTRY", default=REGISTRY, show_default=True, help="Folder or URI of the registry."
)


@click.group()
def models() -> None:
    """List, promote and roll back the models of a registry.

    A running cluster follows the registry's pointer within seconds. The control API does the same, and notes who did
    it and why.
    """


@models.command("list")
@registry_option
def list_models(registry: str) -> None:
    """Versions, the serving one marked with *."""
    try:
        told = not absent(registry) and _told(_registry(registry))
    except OSError as error:
        raise click.ClickException(str(error)) from error
    if not told:
        click.echo(f"{registry}: no model yet; the first start of a cluster puts the released ones there", err=True)


def _told(found: Any) -> bool:
    """Print each version of a registry; whether one of them can be read."""
    from model.artifact import BadArtifact
    from model.registry import UnknownVersion

    serving, readable = next(iter(found.pointer()), ""), False
    for version in found.versions():
        try:
            manifest = found.manifest(version)
        except (BadArtifact, UnknownVersion) as error:
            click.echo(f"  {version}\tcannot be read: {error}", err=True)
            continue
        readable = True
        click.echo(f"{'*' if version == serving else ' '} {version}\t{manifest.network}\t{manifest.notes}")
    return readable


@models.command()
@click.argument("version")
@click.option("--force", is_flag=True, help="Although it fails the guard set.")
@registry_option
def promote(version: str, force: bool, registry: str) -> None:
    """Let VERSION serve, if it passes the guard set."""
    from model.artifact import BadArtifact
    from model.registry import GuardFailed, UnknownVersion
    from model.replay import guard

    quiet()
    try:
        _registry(registry).promote(version, guard, force)
    except GuardFailed as error:
        raise click.ClickException(f"{error}; --force lets it serve all the same") from error
    except (UnknownVersion, BadArtifact, OSError) as error:  # not read, not written, or held too long
        raise click.ClickException(str(error)) from error
    _say_served(registry, version)


@models.command()
@registry_option
def rollback(registry: str) -> None:
    """Let the version serve that served before."""
    from model.artifact import BadArtifact
    from model.registry import UnknownVersion

    quiet()
    try:
        version = _registry(registry).rollback()
    except (UnknownVersion, BadArtifact, OSError) as error:
        raise click.ClickException(str(error)) from error
    _say_served(registry, version)


COMMANDS: list[click.Command] = [models]


def _say_served(registry: str, version: str) -> None:
    """Say which version serves now and, on standard error, what to know of it."""
    from model.artifact import read_manifest

    click.echo(f"{version} serves")
    for notice in read_manifest(_registry(registry).path(version)).notices():
        click.echo(notice, err=True)


def absent(registry: str) -> bool:
    """Whether a registry's folder is not there, as that of a mistyped path: `Registry` would make it."""
    return "://" not in registry and not Path(registry).is_dir()


def no_registry(place: str) -> str:
    return f"{place}: no such folder, expected a registry of models; name one with --registry"


def _registry(place: str) -> Any:
    from model.registry import Registry
    from model.remote import NoRemote

    if absent(place):
        raise click.ClickException(no_registry(place))
    try:
        return Registry(place)
    except (NoRemote, OSError) as error:
        raise click.ClickException(str(error)) from error
