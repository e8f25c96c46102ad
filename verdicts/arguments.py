"""What several commands of `verdict` take: numbers, where what they change is kept, and who changes it."""

import getpass
import os
from pathlib import Path
from typing import Any

import click

DAY_MS = 86_400_000


class Number(click.FloatRange):
    """A number within a range, which `nan` would pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if found != found:
            self.fail(f"{value} is not a number.", param, ctx)
        return found


class Group(click.Group):
    """A group whose commands tell their help also where what the group needs is not there."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and set(rest) & set(ctx.help_option_names):
            command.make_context(name, rest, parent=ctx)  # tells its help and ends, before the group's own code
        return name, command, rest


DAYS = Number(0, 36_500, min_open=True)  # what lies further ahead no calendar here can print
HOME_URL, HOME_TOKEN = "http://127.0.0.1:8053", Path(".verdict/tokens/admin")  # of `verdict up` in this folder


def cluster_or_store(url: str | None, token_file: Path | None, store_url: str | None) -> tuple[str | None, Path | None]:
    """The cluster's URL and token file, by default those of `verdict up`; a store alone leaves them as they are.

    Raises `click.UsageError` where they are not one of the two.
    """
    if url is not None and (token_file is None or store_url is not None):
        raise click.UsageError("expected --url with --token-file, or --store alone")
    if url is not None:
        check_url(url, "--url")
    if url is None and store_url is None:
        url, token_file = HOME_URL, token_file or HOME_TOKEN
        if not token_file.exists():
            raise click.UsageError(
                f"no `verdict up` was started in this folder ({token_file} is not there):"
                " go to the one where it was, or name a cluster with --url and --token-file, or a --store"
            )
    return url, token_file


def person() -> str:
    """Who runs the command, as the history tells it; a container's user may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the second from Python 3.13 on
        return f"uid {os.getuid()}"


def in_url(host: str) -> str:
    """A host as it stands in a URL: an address of version 6 in brackets."""
    return f"[{host}]" if ":" in host else host


def check_url(url: str, option: str) -> None:
    """Raise `click.UsageError` for what is no URL of a cluster; a port beyond those there are would wrap around."""
    import httpx  # which `--help` does without

    try:
        parts = httpx.URL(url)
        good = parts.scheme in ("http", "https") and parts.host != "" and (parts.port or 1) < 65_536
    except httpx.InvalidURL:
        good = False
    if not good:
        raise click.UsageError(f"{option} {url}: expected http:// or https:// with a host, such as {HOME_URL}")
