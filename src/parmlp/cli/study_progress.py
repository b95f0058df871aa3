"""Progress of a study on a terminal: cells done, what is measured now, time left; on stderr."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from parmlp.cli.progress import ProgressLine

if TYPE_CHECKING:
    from parmlp.study.cells import PlannedCell


class StudyProgress(ProgressLine):
    """A progress line for people, and lines of text for everyone else.

    Parameters
    ----------
    shown : bool
        Whether there is a terminal to show it on; if not, lines of text go to stderr.
    """

    def __init__(self, *, shown: bool) -> None:
        self._seconds: dict[str, float] = {}
        self._done = 0
        if not shown:
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[cells]}"),
            TextColumn("left"),
            # Cells differ by a factor of 1000: half a minute of them says little about the rest.
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            speed_estimate_period=300,
        )
        self._task = self._progress.add_task("study", total=None, cells="")

    def say(self, text: str) -> None:
        """Show a line of text above the progress line."""
        if self._progress is None:
            typer.echo(text, err=True)
        else:
            self._progress.console.print(text, markup=False, highlight=False)

    def plan(self, cells: "list[tuple[PlannedCell, float]]") -> "Callable[[PlannedCell], None]":
        """Take the seconds expected of each cell; return what is called with each that is done."""
        self._seconds = {planned.key: seconds for planned, seconds in cells}
        if self._progress is not None:
            self._progress.update(self._task, total=sum(self._seconds.values()))
        return self._advance

    def _advance(self, planned: "PlannedCell") -> None:
        self._done += 1
        if self._progress is not None:
            self._progress.update(
                self._task,
                description=planned.experiment,
                cells=f"{self._done}/{len(self._seconds)} cells",
                advance=self._seconds[planned.key],
            )
