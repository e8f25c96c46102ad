"""Says what is happening: a moving display on a terminal, plain lines elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Steps:
    """Several pieces of work going on at the same time."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._moving = self.console.is_terminal
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"), console=self.console, disable=not self._moving,
        )  # fmt: skip

    def __enter__(self) -> "Steps":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, what: str) -> "Step":
        """A new piece of work."""
        return Step(self, what)

    def _line(self, text: str) -> None:
        if not self._moving:
            self.console.print(text, markup=False, soft_wrap=True)  # a line of a log stays one


class Step:
    """One piece of work."""

    def __init__(self, steps: Steps, what: str) -> None:
        self._steps, self._what = steps, what
        self._task: TaskID = steps._progress.add_task(what, total=1, detail="")
        steps._line(f"{what} ...")

    def say(self, detail: str) -> None:
        """What it is doing now."""
        self._steps._progress.update(self._task, detail=detail)
        self._steps._line(f"{self._what}: {detail}")

    def done(self, detail: str = "") -> None:
        """It is finished."""
        self._steps._progress.update(self._task, completed=1, detail=detail)
        seconds = self._steps._progress.tasks[self._task].elapsed or 0.0
        self._steps._line(f"{self._what}: {detail or 'done'} ({seconds:.1f} s)")
