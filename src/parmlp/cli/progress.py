"""Progress of a fit on a terminal: epoch, loss, samples a second, time left; on stderr."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import rich.progress

    from parmlp.estimators import EpochReport


class ProgressLine:
    """On the screen inside a ``with`` block, where a subclass has made a ``_progress``."""

    _progress: "rich.progress.Progress | None" = None

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


class TrainingProgress(ProgressLine):
    """A progress line that is fed by the estimators' `callback`.

    Parameters
    ----------
    epochs : int
        Epochs that the fit will run.
    shown : bool
        False makes every method do nothing.
    label : str
        Word at the start of the line.
    """

    def __init__(self, epochs: int, *, shown: bool, label: str = "training") -> None:
        if not shown:
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TextColumn("{task.fields[figures]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(label, total=epochs, figures="")

    def __call__(self, report: "EpochReport") -> bool:
        """Show one finished epoch. Returns False: the fit goes on."""
        if self._progress is not None:
            rate = report.samples / report.seconds if report.seconds > 0 else 0.0
            self._progress.update(
                self._task,
                completed=report.epoch,
                figures=f"loss {report.loss:.6f}  {rate:,.0f} samples/s",
            )
        return False


class DownloadProgress:
    """Progress of downloads on a terminal, with the methods pooch asks of a progress bar."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

        self._progress = Progress(
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("download", total=None)
        self._total = 0

    @property
    def total(self) -> int:
        """Bytes of the file that is being downloaded."""
        return self._total

    @total.setter
    def total(self, n_bytes: int) -> None:
        self._total = n_bytes
        self._progress.reset(self._task, total=n_bytes)
        self._progress.start()

    def update(self, n_bytes: int) -> None:
        """Add bytes that have arrived."""
        self._progress.update(self._task, advance=n_bytes)

    def reset(self) -> None:
        """Forget the bytes of this file; pooch calls it before it sets the bar to full."""
        self._progress.reset(self._task, total=self._total)

    def close(self) -> None:
        """Take the bar off the screen."""
        self._progress.stop()
