"""A network on a GPU: ``_core.Network``'s surface over the programs of the ladder."""

import ctypes
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from parmlp.engines.cuda.arrays import DeviceArray, PickedRows
from parmlp.engines.cuda.device import Device, Event, Graph, Memory, Readable, Stream
from parmlp.engines.cuda.programs import (
    LADDER,
    DoesNotFitError,
    Epoch,
    LayerwiseProgram,
    Model,
    Parameters,
    Persistent,
    Program,
    Samples,
    TiledWithoutConflicts,
    moments_of,
    settings_type,
    solver_functor,
)

if TYPE_CHECKING:
    from parmlp._core import OptimizerState, StepProfile, StopFlag
    from parmlp.engines.cuda.side_by_side import Place

Array = NDArray[Any]

# A graph's nodes take host memory and time to make: beyond this, launches are queued one by one.
_MOST_GRAPH_LAUNCHES = 50_000

# Rows that a prediction takes at a time; bounds the memory for activations.
_PREDICTION_ROWS = 8192

# Share of the free memory that the rows of a fit may take and stay on the device. The rest is for
# activations, moments and snapshots.
_RESIDENT_SHARE = 0.7

# Bytes of rows in each of the two buffers that rows stream through.
_STREAM_BYTES = 64 << 20

# Not measured. A step of this much takes one cluster of 16 multiprocessors some 10 us, about what
# the launches of a step by layers take.
_PERSISTENT_FLOPS = 80e6

_LOSSES_OF_LABELS = {("log_loss", "softmax"), ("mse", "identity"), ("mse", "sigmoid")}


@dataclass(frozen=True)
class EpochResult:
    """As ``_core.EpochResult``; there are no tiles to count."""

    loss: float
    seconds: float
    workers: int = 1
    tiles: list[int] = field(default_factory=list)


class Rows:
    """Rows of X for a device: they are copied there once, if they fit, by the first who asks.

    Several networks may share them; whoever uses the device's part holds its lock.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), C-contiguous, or CSR matrix, or DeviceArray
        Not changed and not to be changed while this lives. A sparse matrix is dense on the device.
        A DeviceArray is there already, and so are PickedRows, which are for predictions alone.
    """

    def __init__(self, X: Any) -> None:
        self._X = X
        self._memory: Readable | None = None
        self._ids: Memory | None = None
        # targets and weights of these rows, by id: the array, which so lives on, and its memory
        self._kept: dict[int, tuple[Array, Memory]] = {}
        self.shape: tuple[int, int] = X.shape
        self.dtype: np.dtype[Any] = X.dtype
        self.picked = isinstance(X, PickedRows)
        if self.picked:
            self._memory = X.array
        elif isinstance(X, DeviceArray):
            self._memory = X

    def take(self, ids: "slice | NDArray[np.int64]", out: Array) -> None:
        """Write rows, dense, to ``out``."""
        if sparse.issparse(self._X):
            out[...] = self._X[ids].toarray()
        elif isinstance(ids, slice):
            out[...] = self._X[ids]
        else:
            np.take(self._X, ids, axis=0, out=out, mode="clip")

    def place(self, memory: Readable, first: int, device: Device) -> Samples:
        """Return where rows from ``first`` on are in the memory that :meth:`resident` returned."""
        if not self.picked:
            return Samples(x=memory.address + first * self.shape[1] * self.dtype.itemsize)
        if self._ids is None:
            ids = self._X.ids.astype(np.int32)
            self._ids = device.allocate(ids.nbytes)
            device.upload(self._ids, ids)
        return Samples(x=memory.address, row_ids=self._ids.address + first * 4)

    def resident(self, device: Device) -> Readable | None:
        """Return all rows on the device, or None where they take too much of its memory."""
        n_rows, n_features = self.shape
        nbytes = n_rows * n_features * self.dtype.itemsize
        if self._memory is None and nbytes <= _RESIDENT_SHARE * device.free_bytes():
            memory = device.allocate(nbytes)
            at_once = n_rows
            if sparse.issparse(self._X):
                at_once = max(1, _STREAM_BYTES // (n_features * self.dtype.itemsize))
            for first in range(0, n_rows, at_once):
                chunk = slice(first, min(n_rows, first + at_once))
                dense = self._X[chunk]
                if sparse.issparse(dense):
                    dense = dense.toarray()
                device.upload(memory, dense, first * n_features * self.dtype.itemsize)
            self._memory = memory
        return self._memory

    def keep(self, device: Device, array: Array) -> Memory:
        """Return targets or weights of these rows on the device, where they stay while this lives.

        They are not to be changed either. Equal arrays, such as the targets of several networks,
        lie there once.
        """
        if id(array) not in self._kept:
            equals = (
                memory
                for other, memory in self._kept.values()
                if other.dtype == array.dtype and np.array_equal(other, array)
            )
            memory = next(equals, None)
            if memory is None:
                memory = device.allocate(array.nbytes)
                device.upload(memory, array)
            self._kept[id(array)] = array, memory
        return self._kept[id(array)][1]


class _Scratch:
    """Memory by name that grows when more is asked for."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._memory: dict[str, Memory] = {}

    def get(self, name: str, nbytes: int) -> Memory:
        memory = self._memory.get(name)
        if memory is None or memory.nbytes < nbytes:
            self._memory.pop(name, None)
            memory = self._memory[name] = self._device.allocate(nbytes)
        return memory

    def put(self, name: str, array: Array) -> Memory:
        memory = self.get(name, array.nbytes)
        self._device.upload(memory, array)
        return memory


class Network:
    """A multilayer perceptron and its solver on a GPU.

    Parameters
    ----------
    device : Device
    model : Model
    rung : str, optional
        A name of ``LADDER``; default: the first that fits of those of :func:`choose_rungs`.

    Notes
    -----
    Methods are those of ``_core.Network``. They may be called from several threads, one at a time.
    """

    def __init__(self, device: Device, model: Model, rung: str | None = None) -> None:
        self._device = device
        self._model = model
        self._rung = rung
        self._lock = device.lock
        nbytes = model.parameters * model.itemsize
        device.make_current()
        self._values = device.allocate(nbytes)
        self._moments: list[Memory] = []
        self._snapshots: dict[str, Memory] = {}
        self._scratch = _Scratch(device)
        self._solver: dict[str, Any] = {}
        self._steps_taken = 0
        self._trainer: Program | None = None
        self._predictor: LayerwiseProgram | None = None
        self._graphs: tuple[bytes, list[Graph] | None] | None = None
        self._slots: tuple[str, list[_StreamSlot]] | None = None

    @property
    def dtype(self) -> str:
        """float32 or float64."""
        return self._model.dtype

    @property
    def precision(self) -> str:
        """full, tf32 or bf16."""
        return self._model.precision

    @property
    def simd(self) -> str:
        """The instruction set: the GPU's compute capability."""
        return "sm_{}{}".format(*self._device.capability)

    @property
    def trainer(self) -> Program | None:
        """The rung that trains, which the first epoch chooses."""
        return self._trainer

    # -------------------------------------------------------------------------------- parameters

    def set_parameters(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None:
        """Set all weights."""
        with self._lock:
            self._device.make_current()
            self._device.upload(self._values, self._packed(coefs, intercepts))

    def get_parameters(self) -> tuple[list[Array], list[Array]]:
        """Return copies of all weights."""
        with self._lock:
            self._device.make_current()
            return self._unpacked(self._values)

    def _packed(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> Array:
        model = self._model
        if len(coefs) != model.layers or len(intercepts) != model.layers:
            raise ValueError(
                f"the network has {model.layers} layers, got {len(coefs)} coefs and "
                f"{len(intercepts)} intercepts"
            )
        for layer, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
            shape = model.shape(layer)
            if W.shape != shape or b.shape != shape[1:]:
                raise ValueError(
                    f"layer {layer} needs coefs of shape {shape} and intercepts of shape "
                    f"{shape[1:]}, got {W.shape} and {b.shape}"
                )
            if str(W.dtype) != model.dtype or str(b.dtype) != model.dtype:
                raise TypeError(f"coefs and intercepts must be {model.dtype}")
        parts = [part.ravel() for pair in zip(coefs, intercepts, strict=True) for part in pair]
        return np.concatenate(parts)

    def _unpacked(self, memory: Memory) -> tuple[list[Array], list[Array]]:
        model = self._model
        flat = np.empty(model.parameters, model.dtype)
        self._device.download(memory, flat)
        coefs, intercepts = [], []
        for layer in range(model.layers):
            n_in, n_out = model.shape(layer)
            start = model.offset(layer)
            bias = start + n_in * n_out
            coefs.append(flat[start:bias].reshape(n_in, n_out).copy())
            intercepts.append(flat[bias : bias + n_out].copy())
        return coefs, intercepts

    def remember(self, slot: str) -> None:
        """Keep the weights under a name."""
        with self._lock:
            self._device.make_current()
            if slot not in self._snapshots:
                self._snapshots[slot] = self._device.allocate(self._values.nbytes)
            self._device.copy(self._snapshots[slot], self._values)

    def recall(self, slot: str) -> None:
        """Return to the weights kept under a name."""
        with self._lock:
            self._device.make_current()
            if slot not in self._snapshots:
                raise ValueError(f"nothing was remembered as '{slot}'")
            self._device.copy(self._values, self._snapshots[slot])

    def parameters_finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        with self._lock:
            self._device.make_current()
            found = self._scratch.put("found", np.zeros(1, np.int32))
            program = self._trainer or self._predicting(1)
            self._device.launch(
                program.kernel("find_nonfinite"), (32, 1), 256, [self._values, found]
            )
            answer = np.empty(1, np.int32)
            self._device.download(found, answer)
            return not answer[0]

    # ------------------------------------------------------------------------------------ solver

    def set_solver(
        self,
        solver: str,
        *,
        alpha: float,
        momentum: float,
        nesterov: bool,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None:
        """Start a solver: its moments are 0 and no step has been taken."""
        functor = solver_functor(solver, momentum, nesterov)
        with self._lock:
            self._device.make_current()
            if self._solver.get("functor") != functor:
                self._solver, self._moments = {}, []  # their memory first
                self._trainer = self._graphs = None
                self._moments = [
                    self._device.allocate(self._values.nbytes) for _ in range(moments_of(functor))
                ]
            self._solver = {
                "name": solver,
                "functor": functor,
                "alpha": alpha,
                "momentum": momentum,
                "beta_1": beta_1,
                "beta_2": beta_2,
                "epsilon": epsilon,
                "weight_decay": weight_decay,
            }
            for moment in self._moments:
                self._device.zero(moment)
            self._steps_taken = 0

    def get_optimizer_state(self) -> "OptimizerState":
        """Return the count of steps and copies of the moments."""
        with self._lock:
            self._device.make_current()
            moments = [self._unpacked(moment) for moment in self._moments]
            return {"t": self._steps_taken, "moments": moments}

    def set_optimizer_state(self, state: "OptimizerState") -> None:
        """Set the count of steps and the moments."""
        with self._lock:
            self._device.make_current()
            if len(state["moments"]) != len(self._moments):
                raise ValueError(
                    f"the state has {len(state['moments'])} moments, this solver keeps "
                    f"{len(self._moments)}"
                )
            packed = [self._packed(*moment) for moment in state["moments"]]
            for memory, values in zip(self._moments, packed, strict=True):
                self._device.upload(memory, values)
            self._steps_taken = int(state["t"])

    def _settings(self) -> ctypes.Structure:
        s = self._solver
        return settings_type(self._model.dtype)(
            momentum=s["momentum"],
            beta_1=s["beta_1"],
            one_minus_beta_1=1 - s["beta_1"],
            beta_2=s["beta_2"],
            one_minus_beta_2=1 - s["beta_2"],
            epsilon=max(s["epsilon"], float(np.finfo(self._model.dtype).tiny)),
            alpha=s["alpha"],
        )

    def _step_constants(self, weights: NDArray[np.float64], learning_rate: float) -> Array:
        """Return StepConstants for steps whose minibatches have these sums of sample weights."""
        s, dtype = self._solver, self._model.dtype
        rate = np.full(len(weights), learning_rate)
        if s["name"] != "sgd":
            t = self._steps_taken + 1.0 + np.arange(len(weights))
            rate *= np.sqrt(1 - s["beta_2"] ** t) / (1 - s["beta_1"] ** t)
        decay = np.full(len(weights), 1 - learning_rate * s["weight_decay"])
        return np.stack([rate, 1 / weights, decay], axis=1).astype(dtype)

    # ---------------------------------------------------------------------------------- training

    def train_epoch(  # noqa: PLR0917 (as _core.Network has it)
        self,
        team: Any,
        X: Rows,
        y: Array,
        order: NDArray[np.int64] | None,
        sample_weight: Array | None,
        batch_size: int,
        learning_rate: float,
        schedule: str,
        *,
        adaptive_workers: bool = True,
        stop: "StopFlag | None" = None,
        profile: "StepProfile | None" = None,
    ) -> EpochResult:
        """Take a step for each minibatch of the rows ``order``; all of them, in order, if None.

        Where the team has a place among networks that are trained side by side, and this one can
        be, the epoch is part of their next launch.

        Raises
        ------
        KeyboardInterrupt
            When ``stop`` is set, or on Ctrl-C in Python's main thread. At most some 0.1 s of steps
            are queued beyond that; they are taken, and the weights are those after them. Ctrl-C may
            leave the last step applied in part, as with the CPU engines; ``stop`` does not.
        """
        del adaptive_workers  # there are no threads to choose from
        if profile is not None:
            raise ValueError("profile_steps times the phases of the CPU engines; a GPU has none")
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt
        self._check(X, y, order, sample_weight, batch_size=batch_size, schedule=schedule)
        place: Place | None = None if team is None else team.place
        with self._lock, self._device.settled():
            self._device.make_current()
            start = time.perf_counter()
            program, epoch = self._prepare_epoch(
                X, y, order, sample_weight, batch_size=batch_size, learning_rate=learning_rate
            )
            resident = bool(epoch.samples.x)
            if not resident or not isinstance(program, Persistent):
                place = None
            if place is None:
                lookout = Lookout(self._device, self._device.stream, stop)
                if resident:
                    self._run_resident(program, epoch, lookout)
                else:
                    self._run_streaming(
                        program,
                        epoch,
                        X,
                        y,
                        order=order,
                        sample_weight=sample_weight,
                        lookout=lookout,
                    )
                program.queue_losses(epoch)
                losses = np.empty(epoch.steps, np.float64)
                self._device.download(epoch.losses, losses)
            seconds = time.perf_counter() - start
        # without the lock, which the others need to get their epochs ready
        if place is not None:
            assert isinstance(program, Persistent)
            try:
                losses, launch_seconds = place.train(program, epoch, stop)
            finally:
                self._steps_taken += place.steps_taken
            seconds += launch_seconds
        elif team is not None:
            team.leave()  # its place, if it was not known before that this one trains alone
        sizes = np.full(epoch.steps, epoch.batch_size)
        sizes[-1] = epoch.rows - (epoch.steps - 1) * epoch.batch_size
        return EpochResult(loss=float(losses @ sizes) / epoch.rows, seconds=seconds)

    def _check(
        self,
        X: Rows,
        y: Array,
        order: NDArray[np.int64] | None,
        sample_weight: Array | None,
        *,
        batch_size: int,
        schedule: str,
    ) -> None:
        model = self._model
        n_rows, n_features = X.shape
        check_schedule(schedule)
        if n_features != model.layer_units[0] or str(X.dtype) != model.dtype:
            raise ValueError(
                f"X has {n_features} features of {X.dtype} where {model.layer_units[0]} of "
                f"{model.dtype} are needed"
            )
        if X.picked:
            raise ValueError("an epoch picks its rows by order, and takes no PickedRows")
        if n_rows >= 1 << 31:
            raise ValueError(f"engine='cuda' takes fewer than 2^31 rows, got {n_rows}")
        if y.ndim == 1:
            if (model.loss, model.out_activation) not in _LOSSES_OF_LABELS:
                raise ValueError(
                    "class indices need softmax log_loss or mse; give y of shape (n, outputs)"
                )
            if y.shape != (n_rows,) or y.dtype != np.int32:
                raise ValueError(f"y must be {n_rows} class indices of int32")
            if n_rows and not 0 <= y.min() <= y.max() < model.layer_units[-1]:
                raise ValueError(f"y must hold classes 0 to {model.layer_units[-1] - 1}")
        elif y.shape != (n_rows, model.layer_units[-1]) or str(y.dtype) != model.dtype:
            raise ValueError(
                f"y has shape {y.shape} and dtype {y.dtype} where "
                f"{(n_rows, model.layer_units[-1])} and {model.dtype} are needed"
            )
        if sample_weight is not None and (
            sample_weight.shape != (n_rows,) or str(sample_weight.dtype) != model.dtype
        ):
            raise ValueError(f"sample_weight must be {n_rows} numbers of {model.dtype}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        visited = n_rows if order is None else len(order)
        if visited < 1:
            raise ValueError("an epoch needs at least one row, got none")
        if order is not None and not 0 <= order.min() <= order.max() < n_rows:
            raise ValueError(f"order must hold rows 0 to {n_rows - 1}")

    def _prepare_epoch(
        self,
        X: Rows,
        y: Array,
        order: NDArray[np.int64] | None,
        sample_weight: Array | None,
        *,
        batch_size: int,
        learning_rate: float,
    ) -> tuple[Program, Epoch]:
        """Return who trains, and what; without samples where the rows have to stream."""
        rows = X.shape[0] if order is None else len(order)
        batch_size = min(batch_size, rows)
        steps = -(-rows // batch_size)
        program = self._training(batch_size)
        weights = _batch_weights(sample_weight, order, rows, batch_size)
        has_penalty = self._solver["alpha"] != 0
        shares = program.penalty_shares if has_penalty else 0
        epoch = Epoch(
            samples=Samples(),
            parameters=Parameters(
                self._values.address, *(moment.address for moment in self._moments)
            ),
            settings=self._settings(),
            has_penalty=has_penalty,
            constants=self._scratch.put("constants", self._step_constants(weights, learning_rate)),
            row_losses=self._scratch.get("row_losses", 8 * rows),
            penalties=self._scratch.get("penalties", 8 * max(1, steps * shares)),
            losses=self._scratch.get("losses", 8 * steps),
            batch_size=batch_size,
            rows=rows,
        )
        x = X.resident(self._device)
        if x is not None:
            samples = epoch.samples
            samples.x = x.address
            if order is not None:
                samples.row_ids = self._scratch.put("order", order.astype(np.int32)).address
            on_device = X.keep(self._device, y).address
            samples.labels, samples.y = (on_device, 0) if y.ndim == 1 else (0, on_device)
            if sample_weight is not None:
                samples.weights = X.keep(self._device, sample_weight).address
        return program, epoch

    def _run_resident(self, program: Program, epoch: Epoch, lookout: "Lookout") -> None:
        if (
            not program.many_launches
            or program.launches_per_step * epoch.steps > _MOST_GRAPH_LAUNCHES
        ):
            self._queue(program, epoch, 0, epoch.steps, lookout)
            return
        # All that a launch holds is in this key. The first such epoch is launched kernel by kernel,
        # since it may be the only one; the second is captured.
        buffers = (epoch.constants, epoch.row_losses, epoch.penalties)
        key = (
            b"".join(map(bytes, (epoch.samples, epoch.parameters, epoch.settings)))
            + repr(([memory.address for memory in buffers], epoch.batch_size, epoch.rows)).encode()
        )
        graphs = None
        if self._graphs is not None and self._graphs[0] == key:
            graphs = self._graphs[1]
            if graphs is None:
                graphs = self._captured(program, epoch)
        self._graphs = key, graphs
        if graphs is None:
            self._queue(program, epoch, 0, epoch.steps, lookout)
            return
        parts = lookout.parts(0, epoch.steps, program.steps_at_once)
        for graph, (first, end) in zip(graphs, parts, strict=True):
            self._steps_taken += end - first
            graph.launch(self._device.stream)

    def _captured(self, program: Program, epoch: Epoch) -> list[Graph]:
        """Return an epoch's launches as graphs, one for each part between looks."""
        graphs = []
        for first, end in _parts(0, epoch.steps, program.steps_at_once):
            with self._device.capture() as captured:
                program.run(epoch, first, end)
            graphs += captured
        return graphs

    def _queue(
        self, program: Program, epoch: Epoch, first_step: int, end_step: int, lookout: "Lookout"
    ) -> None:
        """Queue steps launch by launch; those begun count as taken."""
        for first, end in lookout.parts(first_step, end_step, program.steps_at_once):
            if not program.many_launches:
                self._steps_taken += end - first
                program.run(epoch, first, end)
                continue
            for step in range(first, end):
                self._steps_taken += 1
                program.run(epoch, step, step + 1)

    def _run_streaming(
        self,
        program: Program,
        epoch: Epoch,
        X: Rows,
        y: Array,
        *,
        order: NDArray[np.int64] | None,
        sample_weight: Array | None,
        lookout: "Lookout",
    ) -> None:
        """Gather rows on the host and copy them while earlier ones are trained on: two buffers."""
        device = self._device
        row_bytes = X.shape[1] * X.dtype.itemsize
        share = int(_RESIDENT_SHARE * device.free_bytes()) // 3
        steps_at_once = max(1, min(_STREAM_BYTES, share) // (epoch.batch_size * row_bytes))
        slots = self._stream_slots(steps_at_once * epoch.batch_size, X, y, sample_weight)
        for number, first_step in enumerate(range(0, epoch.steps, steps_at_once)):
            end_step = min(epoch.steps, first_step + steps_at_once)
            first = first_step * epoch.batch_size
            end = min(epoch.rows, end_step * epoch.batch_size)
            ids = np.arange(first, end) if order is None else order[first:end]
            slot = slots[number % 2]
            slot.fill(ids, X, y, sample_weight)
            device.stream.wait(slot.copied)
            slot.point(epoch.samples, first)
            self._queue(program, epoch, first_step, end_step, lookout)
            slot.used.record(device.stream)

    def _stream_slots(
        self, rows: int, X: Rows, y: Array, sample_weight: Array | None
    ) -> list["_StreamSlot"]:
        """Return two slots, those of the last epoch where they have the right size."""
        arrays: list[Any] = [X, y] if sample_weight is None else [X, y, sample_weight]
        key = repr((rows, [(array.shape[1:], str(array.dtype)) for array in arrays]))
        if self._slots is None or self._slots[0] != key:
            self._slots = None  # their memory first
            slots = [_StreamSlot(self._device, rows, X, y, sample_weight) for _ in range(2)]
            self._slots = key, slots
        return self._slots[1]

    def _training(self, max_rows: int) -> Program:
        if self._trainer is None or self._trainer.max_rows < max_rows:
            rungs = [self._rung] if self._rung else choose_rungs(self._model, max_rows)
            self._trainer = self._graphs = None  # its memory first
            for rung in rungs:
                try:
                    self._trainer = LADDER[rung](
                        self._device, self._model, self._solver["functor"], max_rows
                    )
                    break
                except DoesNotFitError:
                    if rung == rungs[-1]:
                        raise
        assert self._trainer is not None
        return self._trainer

    # -------------------------------------------------------------------------------- prediction

    def predict(self, team: Any, X: Rows) -> Array:
        """Return output activations of shape (n_rows, n_outputs)."""
        del team
        model = self._model
        n_rows = X.shape[0]
        out = np.empty((n_rows, model.layer_units[-1]), model.dtype)
        with self._lock, self._device.settled():
            self._device.make_current()
            program = self._predicting(min(n_rows, _PREDICTION_ROWS))
            x = X.resident(self._device)
            for first in range(0, n_rows, program.max_rows):
                end = min(n_rows, first + program.max_rows)
                if x is None:
                    chunk = np.empty((end - first, X.shape[1]), model.dtype)
                    X.take(slice(first, end), chunk)
                    samples = Samples(x=self._scratch.put("rows", chunk).address)
                else:
                    samples = X.place(x, first, self._device)
                result = program.predict(samples, 0, end - first, self._values.address)
                self._device.download(result, out[first:end])
        return out

    def _predicting(self, max_rows: int) -> LayerwiseProgram:
        max_rows = max(max_rows, 1)
        if self._predictor is None or self._predictor.max_rows < max_rows:
            self._predictor = None
            model = self._model.to_predict()
            self._predictor = TiledWithoutConflicts(self._device, model, "Sgd", max_rows)
        return self._predictor


class Lookout:
    """Looks between parts of an epoch whether to stop, with at most two parts queued.

    While the host waits for a part to end the next one is queued behind it, so that the GPU does
    not wait for the host.

    Parameters
    ----------
    device : Device
    stream : Stream
        What the parts are queued in.
    *stops : StopFlag or None
        Any of them stops. Ctrl-C needs none: Python hears of it when a wait for the GPU is over.
    """

    def __init__(self, device: Device, stream: Stream, *stops: "StopFlag | None") -> None:
        self._stream = stream
        self._stops = [stop for stop in stops if stop is not None]
        self._ends = [Event(device.driver), Event(device.driver)]

    def parts(self, first: int, end: int, at_once: int) -> Iterator[tuple[int, int]]:
        """Yield spans of at most ``at_once`` steps, each when it may be queued.

        Raises
        ------
        KeyboardInterrupt
            When one of the flags is set.
        """
        for part in _parts(first, end, at_once):
            self._ends[0].synchronize()
            if any(stop.is_set() for stop in self._stops):
                raise KeyboardInterrupt
            yield part
            self._ends[0].record(self._stream)
            self._ends.reverse()


def _parts(first: int, end: int, at_once: int) -> Iterator[tuple[int, int]]:
    for start in range(first, end, at_once):
        yield start, min(end, start + at_once)


class _StreamSlot:
    """Room for some rows with targets and weights, in pinned memory and on the device."""

    def __init__(
        self, device: Device, rows: int, X: Rows, y: Array, sample_weight: Array | None
    ) -> None:
        self._device = device
        shapes = {"x": ((rows, X.shape[1]), X.dtype), "y": ((rows, *y.shape[1:]), y.dtype)}
        if sample_weight is not None:
            shapes["weights"] = ((rows,), sample_weight.dtype)
        self._host = {name: device.pinned(*shape) for name, shape in shapes.items()}
        self._memory = {name: device.allocate(a.nbytes) for name, a in self._host.items()}
        self.copied, self.used = Event(device.driver), Event(device.driver)

    def fill(
        self,
        ids: NDArray[np.int64],
        X: Rows,
        y: Array,
        sample_weight: Array | None,
    ) -> None:
        """Gather rows and queue their copy, after the steps that still read the last ones."""
        self.copied.synchronize()
        X.take(ids, self._host["x"][: len(ids)])
        self._host["y"][: len(ids)] = y[ids]
        if sample_weight is not None:
            self._host["weights"][: len(ids)] = sample_weight[ids]
        copies = self._device.copies
        copies.wait(self.used)
        for name, array in self._host.items():
            self._device.upload(self._memory[name], array[: len(ids)], stream=copies)
        self.copied.record(copies)

    def point(self, samples: Samples, first: int) -> None:
        """Make position ``first`` of the epoch this slot's first row."""
        addresses = {
            name: self._memory[name].address - first * array.strides[0]
            for name, array in self._host.items()
        }
        samples.x = addresses["x"]
        is_labels = self._host["y"].ndim == 1
        samples.labels, samples.y = (addresses["y"], 0) if is_labels else (0, addresses["y"])
        samples.weights = addresses.get("weights", 0)


def check_schedule(schedule: str) -> None:
    """Raise ValueError for a schedule that a GPU does not have."""
    if schedule != "two-phase":
        raise ValueError(
            f"schedule='{schedule}' is one of the CPU engines': leave it at 'two-phase' with "
            "engine='cuda'."
        )


def choose_rungs(model: Model, max_rows: int) -> list[str]:
    """Return the names of the rungs to train a model with, the best first; the last one fits.

    Networks with small steps stay on chip for a whole epoch, if they fit. The others take large
    tiles, in float64 small ones.
    """
    by_layers = "tensor-cores" if model.dtype == "float32" else "tiled-without-conflicts"
    small = max_rows * model.flops_per_row <= _PERSISTENT_FLOPS
    return ["persistent", by_layers] if small else [by_layers]


def _batch_weights(
    sample_weight: Array | None, order: NDArray[np.int64] | None, rows: int, batch_size: int
) -> NDArray[np.float64]:
    """Return the sum of sample weights of each minibatch, its number of rows without any."""
    starts = np.arange(0, rows, batch_size)
    if sample_weight is None:
        return np.diff(starts, append=rows).astype(np.float64)
    visited = sample_weight if order is None else sample_weight[order]
    return np.add.reduceat(visited.astype(np.float64), starts)
