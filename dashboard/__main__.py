"""`python -m dashboard`: serve the dashboard until interrupted."""

import asyncio
import getpass
import os
import signal
import sys
from pathlib import Path

import click
import msgspec
from bokeh.server.util import bind_sockets

from dashboard.accounts import ROLES, BadAccounts, hashed
from dashboard.client import Client
from dashboard.connections import MOST, OTHER_FILES
from dashboard.data import Data, reader_of
from dashboard.processes import Part, orphaned, serve_in
from dashboard.server import quiet, serve
from dashboard.settings import Settings
from dashboard.signin import Signin, signin_of
from dashboard.warm import keep_warm
from verdicts.arguments import check_url, in_url
from verdicts.open_files import WHERE, let_open
from verdicts.store import Misconfigured, open_store

_FILE = click.Path(path_type=Path, dir_okay=False)


def _pairs(_: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value!r}: expected NAME=VALUE", param=option)
    return dict(value.split("=", 1) for value in values)


@click.command(context_settings={"max_content_width": 110})
@click.option("--store-url", required=True, help="sqlite:///PATH, or http(s)://HOST:9200 of Elasticsearch.")
@click.option("--control-url", default="", help="The control API; without it the dashboard only reads.")
@click.option("--token-file", type=_FILE, help="Token of the control API; read again at each call.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8050, show_default=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--password-file", type=_FILE, help="Accounts; written with a generated password where absent.")
@click.option("--store-workers", default=4, show_default=True, help="Questions put to the store at once.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="For many people at once.")
@click.option(
    "--max-tabs", type=click.IntRange(1), default=1000, show_default=True, help="Open pages a process holds; more: 503."
)
@click.option("--behind-proxy", is_flag=True, help="Believe X-Forwarded-For and -Proto of a proxy in front.")
@click.option(
    "--allow-host", "allow_hosts", multiple=True, help="HOST:PORT that browsers use, for each name but the address."
)
@click.option("--oauth-issuer", default="", help="An OpenID Connect issuer's URL; it is asked for all the rest.")
@click.option(
    "--oauth-provider", default="", help="Without an issuer: azure, github, gitlab, google, okta, auth0, generic."
)
@click.option("--oauth-key", default="", help="Client identifier at the provider.")
@click.option("--oauth-secret-file", type=_FILE)
@click.option("--oauth-redirect-uri", default="", help="https://HOST/login as the provider knows it.")
@click.option(
    "--oauth-extra",
    multiple=True,
    callback=_pairs,
    help="scope=, USER_KEY= (claim of the name; email); of a generic provider AUTHORIZE_URL=, TOKEN_URL=, USER_URL=.",
)
@click.option(
    "--role-claim", default="groups", show_default=True, help="Claim whose values are groups; dots lead into objects."
)
@click.option("--role-group", "role_groups", multiple=True, callback=_pairs, help="GROUP=viewer|analyst|admin.")
@click.option("--default-role", type=click.Choice(ROLES), help="Of people in no group; absent: they may not enter.")
@click.option(
    "--hash-password",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    help="Ask for a password, print its line part, stop.",
    callback=lambda ctx, _, wanted: _print_hash(ctx) if wanted else None,
)
def main(**options: object) -> None:
    """Serve the dashboard: reads the store, writes through the control API."""
    settings = Settings(**{**options, "allow_hosts": list(options["allow_hosts"])})  # type: ignore
    for group, role in settings.role_groups.items():
        if role not in ROLES:
            raise click.BadParameter(f"--role-group {group}={role}: expected one of {', '.join(ROLES)}")
    if (settings.oauth_issuer or settings.oauth_provider) and not settings.oauth_key:
        raise click.UsageError("--oauth-issuer and --oauth-provider need --oauth-key")
    if settings.control_url and settings.token_file is None:
        raise click.UsageError("--control-url needs --token-file")
    if settings.control_url:
        check_url(settings.control_url, "--control-url")
    if settings.token_file is not None and not os.access(settings.token_file, os.R_OK):
        raise click.UsageError(f"--token-file {settings.token_file}: expected a file that this user can read")
    if ":" in settings.address and not settings.allow_hosts:
        raise click.UsageError(f"--address {settings.address} needs --allow-host: the NAME:PORT that browsers use")
    status = 0
    try:
        open_store(settings.store_url, readonly=True).close()  # of its URL alone: the store itself may be away
        signin = signin_of(settings)
        let_open_files(settings.max_tabs)
        if settings.processes == 1:
            asyncio.run(run(settings, signin))
        else:
            status = share(settings, signin)
    except (BadAccounts, Misconfigured, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    sys.stdout.flush()
    os._exit(status)  # a question to a slow store, on its thread, must not hold the process that was told to stop


def let_open_files(max_tabs: int) -> None:
    """Let each process have the files that so many open pages take; say so where it may not."""
    needed = max_tabs + MOST + OTHER_FILES
    if (most := let_open(needed)) < needed:
        says = f"open files: {most} at most, expected {needed} or more for --max-tabs {max_tabs}: {WHERE}"
        click.echo(f"dashboard: {says}", err=True)


def share(settings: Settings, signin: Signin) -> int:
    """Serve from several processes; the exit status."""
    sockets, port = bind_sockets(settings.address, settings.port)
    settings, parent = msgspec.structs.replace(settings, port=port), os.getpid()
    return serve_in(settings.processes, lambda first: asyncio.run(run(settings, signin, Part(sockets, parent, first))))


async def run(settings: Settings, signin: Signin, part: Part | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    token_file = settings.token_file
    data = Data(reader_of(settings.store_url), settings.store_workers)
    client = Client(settings.control_url, lambda: token_file.read_text().strip() if token_file else "")
    server = serve(settings, data, client, signin, part.sockets if part else ())
    server.start()
    # A password that stands in a file is kept out of logs and journals; one that was drawn stands nowhere else.
    shown = signin.link_token if sys.stdout.isatty() or settings.password_file is None else ""
    link = f"/login?token={shown}" if shown else "/"
    if part is None or part.first:
        print(f"dashboard: http://{in_url(settings.address)}:{server.port}{link}", flush=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(quiet)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    tasks = [asyncio.create_task(orphaned(part.parent, stopped))] if part else []
    if part is None or part.first:
        tasks.append(asyncio.create_task(keep_warm(reader_of(settings.store_url), client)))
    await stopped.wait()
    for task in tasks:
        task.cancel()
    server.stop(wait=False)
    data.close()
    await client.close()


def _print_hash(context: click.Context) -> None:
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not password:
        raise click.ClickException("an empty password: expected one that others do not guess")
    click.echo(hashed(password))
    context.exit()


if __name__ == "__main__":
    main()
