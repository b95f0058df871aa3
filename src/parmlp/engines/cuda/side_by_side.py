"""Networks trained side by side: their epochs meet here, and go to the device as one launch."""

import copy
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parmlp.engines.cuda.device import Device, Stream
from parmlp.engines.cuda.network import Lookout, Rows, choose_rungs
from parmlp.engines.cuda.programs import DoesNotFitError, Epoch, Model, Persistent, moments_of

if TYPE_CHECKING:
    from parmlp._core import StopFlag

# Each has a thread of its own, and many more than fill a GPU gain nothing.
_MOST_NETWORKS = 256

# Share of the memory left beside X that the networks of a meeting may take, by estimate.
_MEMORY_SHARE = 0.7


@dataclass(frozen=True)
class Kind:
    """All that the compiled program of a network in training depends on.

    Attributes
    ----------
    model : Model
    solver : str
        A functor of solvers.cuh.
    batch_rows : int
        Rows of a minibatch.
    """

    model: Model
    solver: str
    batch_rows: int


@dataclass(frozen=True)
class Room:
    """How many networks of a kind can be trained side by side.

    Attributes
    ----------
    most : int
        1 for those that do not train on rung 4, and where X does not fit into the memory.
    at_once : int
        How many of them the device has multiprocessors for.
    """

    most: int = 1
    at_once: int = 1


def room_side_by_side(device: Device, kind: Kind, X: Rows, held_out: int) -> Room:
    """Return how many networks of a kind can be trained side by side on X.

    Parameters
    ----------
    device : Device
    kind : Kind
    X : Rows
        The rows that all of them share.
    held_out : int
        Rows that each keeps for itself to validate on.
    """
    model, units = kind.model, kind.model.layer_units
    with device.lock:
        device.make_current()
        if choose_rungs(model, kind.batch_rows)[0] != "persistent" or X.resident(device) is None:
            return Room()
        try:
            program = Persistent(device, model, kind.solver, kind.batch_rows)
        except DoesNotFitError:
            return Room()
        free = device.free_bytes()
    n_rows = X.shape[0]
    # weights, moments and two snapshots; held-out rows and what layers make of them
    numbers = (3 + moments_of(kind.solver)) * model.parameters
    numbers += held_out * (units[0] + 3 * sum(units[1:]))
    # ids and losses of rows; penalties, constants and losses of steps
    steps = -(-n_rows // kind.batch_rows)
    nbytes = numbers * model.itemsize + 12 * n_rows + steps * (8 * program.penalty_shares + 32)
    most = max(1, min(_MOST_NETWORKS, int(_MEMORY_SHARE * free) // nbytes))
    return Room(most, program.networks_at_once)


def meet(device: Device, n_networks: int, at_once: int) -> "list[Place]":
    """Return a place for each of several networks to train side by side.

    Where half of them fill the device, they have two meetings: while it trains one half, the host
    readies the other.
    """
    first = n_networks // 2 if n_networks >= 2 * at_once else n_networks
    meetings = [
        Meeting(device, size, stream)
        for size, stream in zip((first, n_networks - first), device.long_runs, strict=True)
    ]
    return [place for meeting in meetings for place in meeting.places]


@dataclass(eq=False)
class _Waiting:
    """A network that has come with its epoch, and what became of it."""

    program: Persistent
    epoch: Epoch
    stop: "StopFlag | None"
    done: bool = False
    steps_taken: int = 0
    losses: NDArray[np.float64] | None = None
    seconds: float = 0.0
    error: BaseException | None = None


class Meeting:
    """Where the epochs of networks meet that are trained side by side, each from its own thread.

    They are launched when all networks that still train have come with one, by the last to come or
    to leave. Whoever has a place must come again or leave, or the others wait for ever.

    Parameters
    ----------
    device : Device
    n_networks : int
    stream : Stream
        That of the launches.

    Attributes
    ----------
    places : list of Place
        One for each network.
    """

    def __init__(self, device: Device, n_networks: int, stream: Stream) -> None:
        self._device = device
        self._stream = stream
        self._present = n_networks
        self._waiting: list[_Waiting] = []
        # Taken before the device's lock, never after it: who launches takes both.
        self._condition = threading.Condition()
        self.places = [Place(self) for _ in range(n_networks)]

    def _meet(self, waiting: _Waiting) -> None:
        with self._condition:
            self._waiting.append(waiting)
            self._launch_if_all_wait()
            while not waiting.done:
                self._condition.wait()

    def _leave(self) -> None:
        with self._condition:
            self._present -= 1
            self._launch_if_all_wait()

    def _launch_if_all_wait(self) -> None:
        if not self._waiting or len(self._waiting) < self._present:
            return
        everyone, self._waiting = self._waiting, []
        # one program, but where a row order of another length made the minibatch shorter
        by_program: dict[int, list[_Waiting]] = {}
        for waiting in everyone:
            if waiting.stop is not None and waiting.stop.is_set():
                waiting.error = KeyboardInterrupt()
            else:
                by_program.setdefault(id(waiting.program.module), []).append(waiting)
        for group in by_program.values():
            try:
                self._train(group)
            except BaseException as error:  # nobody may be left waiting
                for waiting in group:
                    waiting.error = error
        for waiting in everyone:
            waiting.done = True
        self._condition.notify_all()

    def _train(self, group: list[_Waiting]) -> None:
        device, stream, program = self._device, self._stream, group[0].program
        epochs = [waiting.epoch for waiting in group]
        at_once = program.steps_side_by_side(len(group))
        start = time.perf_counter()
        with device.run_beside(stream):
            lookout = Lookout(device, stream, *(waiting.stop for waiting in group))
            for first, end in lookout.parts(0, max(epoch.steps for epoch in epochs), at_once):
                going = [waiting for waiting in group if waiting.epoch.steps > first]
                with device.lock:
                    for waiting in going:
                        waiting.steps_taken = min(end, waiting.epoch.steps)
                    some = [waiting.epoch for waiting in going]
                    program.run_side_by_side(some, first, end, stream)
            with device.lock:
                program.queue_losses_side_by_side(epochs, stream)
        seconds = time.perf_counter() - start
        with device.lock:
            for waiting in group:
                waiting.losses = np.empty(waiting.epoch.steps, np.float64)
                device.download(waiting.epoch.losses, waiting.losses)
                waiting.seconds = seconds


class Place:
    """A network's place in a :class:`Meeting`, to be left once.

    Attributes
    ----------
    steps_taken : int
        Of the network's last epoch, also where it was stopped.
    """

    def __init__(self, meeting: Meeting) -> None:
        self._meeting = meeting
        self.steps_taken = 0

    def train(
        self, program: Persistent, epoch: Epoch, stop: "StopFlag | None"
    ) -> tuple[NDArray[np.float64], float]:
        """Wait for the others, and return each step's loss and the seconds that the launch took.

        Must not be called with the device's lock held.

        Raises
        ------
        KeyboardInterrupt
            When ``stop``, or another's, is set before the launch or within the epoch.
        CudaError
            When the launch fails, for all who are in it.
        """
        waiting = _Waiting(program, epoch, stop)
        self.steps_taken = 0
        self._meeting._meet(waiting)
        self.steps_taken = waiting.steps_taken
        if waiting.error is not None:
            # a copy, since each thread adds its own traceback and notes
            raise copy.copy(waiting.error) from waiting.error
        assert waiting.losses is not None
        return waiting.losses, waiting.seconds

    def leave(self) -> None:
        """Have the others no longer wait for this network."""
        self._meeting._leave()
