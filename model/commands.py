"""The model's part of the `verdict` command: train, evaluate, classify."""

import io
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import click

REFERENCES = ("woodbridge", "yu", "drichel", "ngrams")  # of model.references, which takes seconds to import


@click.command()
@click.argument("names", nargs=-1)
@click.option("--model", help="Artifact folder, or a released version (default: the newest release).")
@click.option("--json", "as_objects", is_flag=True, help="One JSON object a line.")
@click.option("--explain", "explained", is_flag=True, help="Which characters moved the score; nearest known family.")
@click.option("--threads", type=click.IntRange(1), help="TensorFlow's threads (default: all cores).")
def classify(names: tuple[str, ...], model: str | None, as_objects: bool, explained: bool, threads: int | None) -> None:
    """Judge NAMES offline, or with `-` those on standard input, one a line.

    Prints name, label, score and generated, separated by tabs, in input order. With --explain each character has a
    mark below it: # and + raised the score (# the most), = and - lowered it (= the most).
    """
    if not names:
        raise click.UsageError("no names: give some, or - to read them from standard input")
    if "-" in names and len(names) > 1:
        raise click.UsageError("-: expected alone, or names without it")
    if names == ("-",) and sys.stdin is None:
        raise click.UsageError("-: standard input is closed, expected names there")
    from model.classify import arriving, as_json, as_line, as_picture, as_text, judge
    from model.explain import explain
    from model.scorer import Scorer, set_threads

    quiet()
    if threads is not None:
        set_threads(threads)  # before the artifact is loaded, for that computes
    artifact = _load(model)
    few = names != ("-",) and len(names) <= 64
    scorer = Scorer(artifact, batch_sizes=(64,) if few else (64, 1024))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without the character is no reason to end
    try:
        given = [[as_text(os.fsencode(name)) for name in names]]
        for chunk in arriving(getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)) if names == ("-",) else given:
            for judged in judge(chunk, scorer):
                if as_objects:
                    _write(as_json(judged, scorer, explained))
                    continue
                _write(as_line(judged))
                if explained and judged.verdict is not None and judged.verdict.source == "model":
                    _write(as_picture(explain(scorer, judged.qname)))
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries again at its end
        if not isinstance(error, BrokenPipeError):  # a reader that went away (`head`) is no error
            raise click.ClickException(f"not all names were judged: {error}") from error


@click.command()
@click.option(
    "--network", type=click.Choice(["segments", "attention", "seed"]), default="segments", show_default=True,
    help="attention: a teacher, for a GPU; hours for each epoch without.",
)  # fmt: skip
@click.option("--data", required=True, help="Folder or URL of the training data (see model/sources.toml).")
@click.option("--rows", type=click.IntRange(0), default=0, help="Sample size: names of each kind; 0: all.")
@click.option("--epochs", type=click.IntRange(0), default=0, help="0: the network's own number.")
@click.option("--minutes", type=click.FloatRange(0), default=0.0, help="Train for this long instead.")
@click.option("--batch-size", type=click.IntRange(0), default=0, help="0: the network's own.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=5, help="With --network seed --rows: repetitions.")
@click.option(
    "--held-out",
    type=click.IntRange(-1, 4),
    default=0,
    show_default=True,
    help="Fold of families that does not teach; -1: all teach.",
)
@click.option("--start", default="", help="Artifact folder or version to fine-tune, on hard benign names.")
@click.option(
    "--teacher", multiple=True, help="Artifact folder or version that teaches the network; several times for several."
)
@click.option(
    "--head", type=click.Choice(["generated", "malicious"]), default=None,
    help="Teach --start the words of this head alone; all else of it stays as it is.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the run and its artifact; goes on from there.")
def train(
    network: Literal["segments", "attention", "seed"], data: str, rows: int, epochs: int, minutes: float,
    batch_size: int, seed: int, seeds: int, held_out: int, start: str, teacher: tuple[str, ...],
    head: Literal["generated", "malicious"] | None, out: Path | None,
) -> None:  # fmt: skip
    """Train a network and write its artifact; a new one's heads are taught their words after it.

    `--network seed --rows 500` repeats the published experiment of 2020 instead, over several seeds, and prints what
    came of it.
    """
    again = network == "seed" and rows > 0
    others = ("minutes", "batch_size", "seed", "held_out", "start", "teacher", "head", "out")
    _refuse(others if again else ("seeds",), "--network seed --rows" if again else "this training")
    _check_data(data)
    quiet()
    if again:
        _repeat_2020(data, rows, epochs or 30, seeds)
        return
    from model.artifact import read_manifest
    from model.evaluate import notices
    from model.jobs import BadSettings, JobSettings, check, new_version, work

    settings = JobSettings("train", network, data, epochs, minutes, batch_size,
                           rows, seed, held_out=held_out, start=start, teachers=list(teacher),
                           head=head or "")  # fmt: skip
    try:
        check(settings)
    except BadSettings as error:
        raise click.ClickException(str(error)) from error
    run = out or Path("build") / "train" / new_version(settings)
    with _progress() as progress:
        try:
            version = work(settings, str(run / "registry"), run, new_version(settings), progress, lambda: False)
        except (OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            kept = (run / "checkpoint" / "state.json").exists()
            on = f"the same command with --out {run} goes on from its last epoch" if kept else "nothing is kept of it"
            raise click.ClickException(f"stopped; {on}") from None
    click.echo(f"{run / 'registry' / version}")
    manifest = read_manifest(run / "registry" / version)
    for notice in (*notices(manifest, manifest.splits.get("judge")), *manifest.notices()):
        click.echo(notice, err=True)


@click.command()
@click.option("--network", type=click.Choice(["segments", "seed"]), default="segments", show_default=True)
@click.option("--model", help="Artifact folder, or a released version (default: the newest release).")
@click.option("--data", required=True, help="Folder or URL of the data (see model/sources.toml).")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/evaluation"), show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=15, help="Of the seed network.")
@click.option("--seeds", type=click.IntRange(1), default=1, help="Repetitions of the seed network.")
@click.option(
    "--compare", type=click.FloatRange(0, min_open=True), help="Train each reference for MINUTES of processor time."
)
@click.option(
    "--reference",
    "references",
    type=click.Choice(REFERENCES),
    multiple=True,
    help="With --compare: this one alone beside the model as it is; several times for several.",
)
@click.option(
    "--fold",
    "folds",
    type=click.IntRange(0, 4),
    multiple=True,
    help="With --compare and --reference: our network and the references trained anew with this fold of families held "
    "out; several times for several. What each found is kept in --out.",
)
def evaluate(
    network: str, model: str | None, data: str, out: Path, epochs: int, seeds: int, compare: float | None,
    references: tuple[str, ...], folds: tuple[int, ...],
) -> None:  # fmt: skip
    """Judge a network by the protocol of docs/model-card.md; writes JSON, a report and plots.

    `--network seed` trains the network of 2020 on an honest random split of all names of its two lists instead.
    """
    if network == "seed":
        _refuse(("model", "out", "compare", "references", "folds"), "--network seed")
    else:
        _refuse(("epochs", "seeds"), "--network segments")
        if compare is not None and not math.isfinite(compare):
            raise click.UsageError(f"--compare: '{compare}', expected a number of minutes")
        if compare is None:
            _refuse(("references", "folds"), "an evaluation without --compare MINUTES")
        elif not folds:
            _refuse(("out",), "--compare without --fold")
        elif not references:
            raise click.UsageError("--fold: expected --reference beside it")
        else:
            _refuse(("model",), "--fold, which trains anew")
    _check_data(data)
    quiet()
    if network == "seed":
        _repeat_2020(data, None, epochs, seeds)
        return
    from model.evaluate import compare_references, evaluate_artifact, validate_folds

    artifact = _load(model)
    try:
        with _progress() as progress:
            if compare is not None and folds:
                report = validate_folds(artifact, data, compare, progress, sorted({*folds}), references, out)
            elif compare is not None:
                report = compare_references(artifact, data, compare, progress, references)
            else:
                report = evaluate_artifact(artifact, data, out, progress)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(report)


COMMANDS: list[click.Command] = [train, evaluate, classify]


def _repeat_2020(data: str, rows: int | None, epochs: int, seeds: int) -> None:
    from model.experiment2020 import load, repeat

    try:
        lists = load(data)
        with _progress() as progress:
            results = repeat(lists, rows, seeds, epochs, progress)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    what = f"the first {rows} rows of each list" if rows else "all rows of both lists"
    click.echo(f"seed network, {what}, {epochs} epochs, 80/10/10: train, validation, test accuracy in %")
    for result in results:
        marks = (result.train, result.validation, result.test)
        click.echo(f"seed {result.seed}\t" + "\t".join(f"{100 * mark:.2f}" for mark in marks))
    means = (sum(getattr(r, part) for r in results) / len(results) for part in ("train", "validation", "test"))
    click.echo("mean\t" + "\t".join(f"{100 * mean:.2f}" for mean in means))


def _check_data(data: str) -> None:
    """Raise a usage error where no folder of data is, before TensorFlow is imported."""
    from model.sources import check_folder

    try:
        check_folder(data)
    except NotADirectoryError as error:
        raise click.UsageError(f"--data {error}") from error


def _refuse(unused: Sequence[str], what: str) -> None:
    """Raise a usage error for an option that was given and that `what` would pass over."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(str(option.name)) == click.core.ParameterSource.COMMANDLINE
        if option.name in unused and given:
            raise click.UsageError(f"{option.opts[0]}: not used by {what}")


class _progress:
    """A bar on a terminal, a line of figures otherwise, on standard error."""

    def __enter__(self) -> Callable[[dict[str, Any]], None]:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._status = self._console.status("starting") if self._console.is_terminal else None
        if self._status is not None:
            self._status.start()
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def _report(self, line: dict[str, Any]) -> None:
        text = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items())
        if self._status is not None and "notice" in line:
            self._console.print(line["notice"])  # above the bar, where it stays
        elif self._status is not None:
            self._status.update(text)
        else:
            click.echo(text, err=True)


def _load(model: str | None) -> Any:
    """An artifact by folder or released version."""
    from model.artifact import BadArtifact
    from model.registry import load_named

    try:
        return load_named(model)
    except BadArtifact as error:
        raise click.ClickException(str(error)) from error


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def quiet() -> None:
    """Import TensorFlow without its start-up notes, which go to the process's standard error past Python's, and without
    its warnings of retracing.

    These count the traces of all networks together, for they are of one function of Keras: a few networks, each traced
    two or three times for rows of all widths, are no fault. With another backend of Keras (KERAS_BACKEND) there are
    none, and TensorFlow need not be installed.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
    tensorflow.get_logger().addFilter(_no_retracing)  # of one function there is one


def _no_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()
