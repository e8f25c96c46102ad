"""The subcommands that start things: `verdict up`, `verdict serve`, `verdict bench`."""

import sys
from pathlib import Path

import click

from serve_app.local.options import PARTS, Options

UPSTREAM = "auto: a nameserver of this machine that answers; none: a small built-in zone; or ADDRESS[:PORT]."
PORT = click.IntRange(1, 65535)


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), default=Path(".verdict"), show_default=True,
              help="Folder of all state and logs.")  # fmt: skip
@click.option("--dns-port", type=PORT, default=1053, show_default=True)
@click.option("--http-port", type=PORT, default=8053, show_default=True, help="Of the cluster.")
@click.option("--dashboard-port", type=PORT, default=8054, show_default=True)
@click.option("--upstream", default="auto", show_default=True, help=UPSTREAM)
@click.option("--mode", type=click.Choice(["enforce", "monitor"]), default="enforce", show_default=True)
@click.option("--only", "parts", type=click.Choice(PARTS), multiple=True, help="Start this part alone; repeatable.")
def up(**values: object) -> None:
    """CoreDNS, the cluster and the dashboard on this machine, on loopback, until Ctrl-C.

    Everything is kept below --home: an embedded store, tokens, models, logs. Names on the blocklist and names of
    tier block are blocked unless --mode monitor is given.
    """
    options = Options(**{**values, "parts": tuple(values["parts"]) or PARTS})  # type: ignore[arg-type]
    from serve_app.golang import BuildFailed, NoGo
    from serve_app.local.home import HomeBusy
    from serve_app.local.ports import PortBusy
    from serve_app.local.supervisor import NotStarted, StopRequested
    from serve_app.local.up import up as run
    from serve_app.local.upstream import BadUpstream, address_of
    from verdicts.store import Misconfigured, Unavailable

    try:
        if options.upstream not in ("auto", "none"):
            address_of(options.upstream)
        run(options)
    except StopRequested:
        click.echo("Stopped.", err=True)
    except (
        BadUpstream,
        BuildFailed,
        HomeBusy,
        Misconfigured,
        NoGo,
        NotStarted,
        OSError,
        PortBusy,
        Unavailable,
    ) as error:
        raise click.ClickException(str(error)) from error


@click.command()
@click.argument("configuration", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@click.option("--port", type=PORT, help="Instead of the configuration's.")
@click.option("--run", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("/tmp/verdict-run"),
              show_default=True, help="Private folder of sockets and of HAProxy's configuration.")  # fmt: skip
def serve(configuration: Path | None, port: int | None, folder: Path) -> None:
    """The cluster alone, in the foreground, from CONFIGURATION (default: the serve.yaml of this package)."""
    from serve_app.foreground import Refused, serve_until_stopped

    try:
        serve_until_stopped(configuration, port, folder)
    except Refused as error:
        raise click.ClickException(str(error)) from error


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure, and write the tables; --help lists what."""
    import runpy

    sys.argv = ["verdict bench", *arguments]
    runpy.run_module("loadtest.bench", run_name="__main__")


COMMANDS = [up, serve, bench]
