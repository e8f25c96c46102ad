"""The `verdict` command. Each subcommand is imported when it is asked for, so that `--help` is instant."""

from importlib import import_module
from typing import Any, NamedTuple

import click


class Place(NamedTuple):
    """Where a subcommand is: a module with `COMMANDS`, and one line for `verdict --help`."""

    module: str
    help: str


PLACES = {
    "up": Place("serve_app.commands", "CoreDNS, the cluster and the dashboard on this machine, on loopback."),
    "serve": Place("serve_app.commands", "The cluster alone, as a configuration file describes it."),
    "classify": Place("model.commands", "Judge names offline with a model artifact."),
    "train": Place("model.commands", "Train a network."),
    "evaluate": Place("model.commands", "Evaluate a network."),
    "models": Place("model.registry_commands", "List, promote and roll back models of a registry."),
    "lists": Place("verdicts.list_commands", "Show and change the vetted lists."),
    "store": Place("serve_app.store_commands", "Create, check, reconcile, back up and fill a store."),
    "tokens": Place("serve_app.token_commands", "Issue, list, rotate and revoke tokens."),
    "bench": Place("serve_app.commands", "Measure, and write the tables."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and help, and imports one only to run it."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(PLACES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        place = PLACES.get(name)
        return None if place is None else _command(place.module, name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in PLACES.items()])

    def invoke(self, context: click.Context) -> Any:
        """Run the command. What a file, folder or socket refused it, where it says nothing better itself, is told in a
        line that names it."""
        try:
            return super().invoke(context)
        except BrokenPipeError:  # click's own to end: who read the output went away
            raise
        except OSError as error:
            raise click.ClickException(str(error)) from error

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        if args and args[0] not in PLACES and not args[0].startswith("-"):
            context.fail(f"no command {args[0]!r}: expected one of {', '.join(PLACES)}")
        return super().resolve_command(context, args)


def _command(module: str, name: str) -> click.Command:
    commands = import_module(module).COMMANDS
    every = commands.values() if isinstance(commands, dict) else commands
    found: click.Command = next(command for command in every if command.name == name)
    return found


@click.command(cls=LazyGroup, context_settings={"max_content_width": 110})
@click.version_option(package_name="verdict-dns", prog_name="verdict")
def main() -> None:
    """Verdict: CoreDNS with machine learning."""


if __name__ == "__main__":
    main()
