"""Ctrl-C while there is work that must not be lost."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class OneInterrupt:
    """Within the block one Ctrl-C interrupts, and none does after `hold`; later ones wait.

    So what follows an interrupted training, such as saving the model, is done before a second
    Ctrl-C counts: it is raised when the block ends.
    """

    def __init__(self) -> None:
        self._held = False
        self._waiting = False
        self._before: Any = None

    def hold(self) -> None:
        """From here to the end of the block let every Ctrl-C wait."""
        self._held = True

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        # A background job may have been told to ignore Ctrl-C; then it still does.
        if self._before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        if self._waiting and error is None:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._held:
            self._waiting = True
            return
        self._held = True
        raise KeyboardInterrupt
