"""The files and folders that settings name, looked at before anything starts: a replica that cannot use one of them
would say so after half a minute, at its third try."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.serving import FOLLOW
from model.artifact import check_digests, read_manifest
from model.registry import Registry, UnknownVersion
from model.remote import NoRemote
from serve_app.settings import BadSettings, Settings
from verdicts import privacy
from verdicts.sinks import read_sinks
from verdicts.store import Misconfigured, open_store


def check_places(settings: Settings) -> None:
    """Raise `BadSettings` for what no replica on this machine could start with. Nothing is made or contacted, but for a
    registry at a URI. A store that is away is no obstacle."""
    if settings.alerts_file:
        with _named():
            read_sinks(Path(settings.alerts_file))
    if settings.client_privacy == "keyed":
        with _named("client_key_file: "):
            privacy.read_key(Path(settings.client_key_file))
    with _named("store_url: "):  # whose value may hold a password; the error tells the host or the file
        open_store(settings.store_url, readonly=True).close()
    with _named(f"spool_dir {settings.spool_dir!r}: "):
        _check_writable(Path(settings.spool_dir))
    with _named(f"registry {settings.registry!r}: "):
        _check_registry(settings.registry, settings.model)


def _check_registry(place: str, model: str) -> None:
    """Raise an error unless this registry has the model, or may be filled with the released ones."""
    folder, follows = None if "://" in place else Path(place), model == FOLLOW
    if folder is not None and not folder.is_dir():
        _check_writable(folder)
        if not follows:
            raise UnknownVersion(f"model {model!r}: expected {FOLLOW!r}, for the registry is not there yet")
        return
    registry = Registry(place)
    if follows and not registry.pointer():
        if folder is not None:
            _check_writable(folder)
        return
    path = registry.path(registry.serving() if follows else model)
    check_digests(path, read_manifest(path))


def _check_writable(folder: Path) -> None:
    """Raise `ValueError` unless this user can write in the folder, or make it where it is absent."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"expected a folder that this user can write, {there} is none")


@contextmanager
def _named(what: str = "") -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, Misconfigured, NoRemote, UnknownVersion) as error:
        raise BadSettings(f"args: {what}{error}") from error
