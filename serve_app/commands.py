"""The subcommands that start things: `verdict up`, `verdict serve`, `verdict bench`."""

import sys
from pathlib import Path

import click

from serve_app.local.options import PARTS, Options

UPSTREAM = "auto: a nameserver of this machine that answers; none: a small built-in zone; or ADDRESS[:PORT]."
PORT = click.IntRange(1, 65535)
METRICS = "Of Ray's Prometheus server, on loopback: whoever reaches it is told all numbers. Without it, closed."


@click.command()
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), default=Path(".verdict"), show_default=True,
              help="Folder of all state and logs.")  # fmt: skip
@click.option("--dns-port", type=PORT, default=1053, show_default=True)
@click.option("--http-port", type=PORT, default=8053, show_default=True, help="Of the cluster.")
@click.option("--dashboard-port", type=PORT, default=8054, show_default=True)
@click.option("--metrics-port", type=PORT, help=METRICS)
@click.option("--upstream", default="auto", show_default=True, help=UPSTREAM)
@click.option("--mode", type=click.Choice(["enforce", "monitor"]), default="enforce", show_default=True)
@click.option("--only", "parts", type=click.Choice(PARTS), multiple=True, help="Start this part alone; repeatable.")
def up(**values: object) -> None:
    """CoreDNS, the cluster and the dashboard on this machine, on loopback, until Ctrl-C.

    Everything is kept below --home: an embedded store, tokens, models, logs. Names on the blocklist and names of
    tier block are blocked unless --mode monitor is given.
    """
    parts, metrics_port = tuple(values["parts"]) or PARTS, values["metrics_port"] or 0  # type: ignore[arg-type]
    options = Options(**{**values, "parts": parts, "metrics_port": metrics_port})  # type: ignore[arg-type]
    from serve_app.golang import BuildFailed, NoGo
    from serve_app.local.corefile import BadPath
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
        BadPath,
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
@click.option("--metrics-port", type=PORT, help=METRICS)
def serve(configuration: Path | None, port: int | None, folder: Path, metrics_port: int | None) -> None:
    """The cluster alone, in the foreground, from CONFIGURATION (default: the serve.yaml of this package)."""
    from serve_app.foreground import Refused, serve_until_stopped

    try:
        serve_until_stopped(configuration, port, folder, metrics_port or 0)
    except Refused as error:
        raise click.ClickException(str(error)) from error


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure, and write the tables; --help lists what. `verdict bench size`: what a network takes."""
    import runpy

    if arguments[:1] == ("size",):
        from loadtest.sizing import main

        main(arguments[1:])
        return
    sys.argv = ["verdict bench", *arguments]
    runpy.run_module("loadtest.bench", run_name="__main__")


COMMANDS = [up, serve, bench]
