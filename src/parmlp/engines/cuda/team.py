"""The GPU as the estimators see it: found once, when it is first asked for."""

import os
import threading
from functools import cache
from typing import Any

from parmlp.engines.cpu import EngineStatus
from parmlp.engines.cuda.arrays import DeviceArray, device_array
from parmlp.engines.cuda.compiler import CachedCompiler, Nvrtc
from parmlp.engines.cuda.device import Device
from parmlp.engines.cuda.driver import load_driver
from parmlp.engines.cuda.network import Rows
from parmlp.engines.cuda.side_by_side import Place
from parmlp.engines.errors import EngineUnavailableError

# Two threads that come at once must not get a device each, since arrays of one would be read in
# streams of the other: `cache` alone lets both look.
_finding = threading.Lock()


@cache
def _find_device() -> tuple[int, Device]:
    driver = load_driver()  # first: without a GPU nobody needs to hear of a missing compiler
    return os.getpid(), Device(driver, CachedCompiler(Nvrtc(driver.version // 1000)))


def find_device() -> Device:
    """Return the first GPU that CUDA_VISIBLE_DEVICES leaves to this process.

    Raises
    ------
    EngineUnavailableError
        Without a GPU, a driver or the compiler, and in a forked child of a process with a GPU.
    """
    with _finding:
        process, device = _find_device()
    if process != os.getpid():
        raise EngineUnavailableError(
            "engine='cuda' is not available: this process was forked from one that uses the GPU, "
            "and CUDA does not work in such a child. Start processes with the 'spawn' or "
            "'forkserver' method of multiprocessing, or use engine='threads'."
        )
    return device


def take_array(array: Any, name: str) -> DeviceArray:
    """Return another library's array in a GPU's memory as the engine uses it, where it lies.

    Parameters
    ----------
    array : object
        For which :func:`parmlp.engines.cuda.arrays.is_device_array` is true.
    name : str
        What errors call it.

    Raises
    ------
    EngineUnavailableError
        As :func:`find_device` does.
    ValueError
        When it lies on another GPU, or in a way that kernels cannot read.
    """
    return device_array(array, name, find_device())


def status() -> EngineStatus:
    """Return whether there is a GPU that can be used, or why not and what to do."""
    try:
        find_device()
    except EngineUnavailableError as error:
        reason, _, remedy = (
            str(error).removeprefix("engine='cuda' is not available: ").partition(". ")
        )
        return EngineStatus("cuda", False, f"{reason}.", remedy)
    return EngineStatus("cuda", True)


class Team:
    """A GPU, with ``_core.Team``'s surface.

    Parameters
    ----------
    place : Place, optional
        That of the network that this is to train, among others that train side by side with it.
    """

    engine = "cuda"
    size = 1

    def __init__(self, place: Place | None = None) -> None:
        self.device = find_device()
        self.place = place

    def leave(self) -> None:
        """Give up the place, if there is one: the other networks no longer wait for this one."""
        if self.place is not None:
            self.place.leave()
            self.place = None

    def rows(self, X: Any) -> Rows:
        """Return X (ndarray, CSR matrix, DeviceArray, PickedRows) as a network here takes it."""
        return Rows(X)
