"""The ladder: how the kernels of each rung make up a training step. Numbers as in ``kernels/``."""

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import ClassVar

import numpy as np

from parmlp.engines.cuda.device import Device, Kernel, Memory, Module, Stream

_HIDDEN = {
    "identity": "Identity",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "relu": "Relu",
    "leaky_relu": "LeakyRelu",
    "elu": "Elu",
    "gelu": "Gelu",
    "gelu_tanh": "GeluTanh",
    "silu": "Silu",
}
_OUTPUT = {"identity": "Identity", "sigmoid": "Sigmoid", "softmax": "Softmax", "exp": "Exp"}
_LOSS = {
    "log_loss": "LogLoss",
    "mse": "Mse",
    "squared_error": "SquaredError",
    "poisson": "Poisson",
}

_PRECISION = {"full": "Full", "tf32": "Tf32", "bf16": "Bf16"}

_REAL = {"float32": ctypes.c_float, "float64": ctypes.c_double}

SUM_THREADS = 256  # kSumThreads

# Every device with clusters runs 8 blocks in one; Hopper runs 16 where a kernel allows it.
PORTABLE_CLUSTER = 8
WIDEST_CLUSTER = 16

# Not measured. A multiprocessor of an H100 does about 0.5 TFLOP/s in float32, so this is some 5 us:
# with less to do in a step, one more block saves less than a barrier of the cluster costs.
_FLOPS_PER_BLOCK = 2.5e6


# What a step is guessed to take, so that a stop is heard soon; nothing else depends on it, bits
# least of all. Not measured: a tenth of what a multiprocessor of an H100 does in float32, some
# more on tensor cores, the slow float64 of most GPUs, and what a launch or rung 4's barriers cost.
_LOOK_SECONDS = 0.05
_FLOPS_PER_SECOND = {"full": 5e10, "tf32": 2e11, "bf16": 4e11}
_FLOAT64_SHARE = 1 / 32
_LAUNCH_SECONDS = 4e-6


def solver_functor(solver: str, momentum: float, nesterov: bool) -> str:
    """Return the functor of solvers.cuh for a solver by name, as ``_core.Network`` takes it."""
    functors = {
        "sgd": f"SgdMomentum<{str(nesterov).lower()}>" if momentum else "Sgd",
        "adam": "Adam<false>",
        "adamw": "Adam<true>",
    }
    if solver not in functors:
        raise ValueError(f"unknown solver '{solver}'; known: {', '.join(functors)}")
    return functors[solver]


def moments_of(solver: str) -> int:
    """Return how many moments a functor of solvers.cuh keeps of each weight."""
    return {"Sgd": 0, "SgdMomentum": 1, "Adam": 2}[solver.partition("<")[0]]


@dataclass(frozen=True)
class Model:
    """What a network computes: all that is constant in its compiled kernels but the solver."""

    layer_units: tuple[int, ...]
    hidden_activation: str
    out_activation: str
    loss: str
    dtype: str
    leaky_relu_slope: float
    precision: str

    @property
    def layers(self) -> int:
        """How many layers have weights."""
        return len(self.layer_units) - 1

    def shape(self, layer: int) -> tuple[int, int]:
        """Units into and out of a layer."""
        return self.layer_units[layer], self.layer_units[layer + 1]

    def size(self, layer: int) -> int:
        """Parameters of a layer: its weights and then its biases."""
        n_in, n_out = self.shape(layer)
        return (n_in + 1) * n_out

    def offset(self, layer: int) -> int:
        """Where a layer begins among all parameters."""
        return sum(self.size(below) for below in range(layer))

    @property
    def parameters(self) -> int:
        """How many parameters there are."""
        return self.offset(self.layers)

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return np.dtype(self.dtype).itemsize

    def to_predict(self) -> "Model":
        """Return the same network for predictions, which have one program whatever it learned."""
        loss = {"identity": "squared_error", "exp": "poisson"}.get(self.out_activation, "log_loss")
        return replace(self, loss=loss, precision="full")

    @property
    def keeps_z(self) -> bool:
        """Whether the hidden activation's derivative needs the sum before it."""
        return self.hidden_activation in ("gelu", "gelu_tanh", "silu")

    @property
    def flops_per_row(self) -> float:
        """Multiplications and additions that training takes for one row."""
        products = [float(n) * m for n, m in pairwise(self.layer_units)]
        return 4.0 * products[0] + 6.0 * sum(products[1:])

    def source(
        self, file: str, solver: str, constants: dict[str, object], told: Sequence[str]
    ) -> str:
        """Return the :func:`program_text` of these constants and the network's own."""
        values: dict[str, object] = {
            "LAYER_UNITS": ", ".join(map(str, self.layer_units)),
            "REAL": {"float32": "float", "float64": "double"}[self.dtype],
            "HIDDEN_ACTIVATION": _HIDDEN[self.hidden_activation],
            "OUT_ACTIVATION": _OUTPUT[self.out_activation],
            "LOSS": _LOSS[self.loss],
            "LEAKY_RELU_SLOPE": f"real({self.leaky_relu_slope!r})",
            "SOLVER": solver,
            **constants,
        }
        return program_text(values, file, told)


def program_text(constants: dict[str, object], file: str, told: Sequence[str]) -> str:
    """Return the text of a program: constants, by name without PARMLP_, and a file of ``kernels/``.

    Its kernel ``host_constants`` tells the values of the names ``told``. It is a kernel and no
    variable because compilers keep a program's variables to themselves.
    """
    defines = [f"#define PARMLP_{name} {value}" for name, value in constants.items()]
    tell = [f"  values[{i}] = {name};" for i, name in enumerate(told)]
    kernel = ['extern "C" __global__ void host_constants(int* values) {', *tell, "}"]
    return "\n".join([*defines, f'#include "{file}"', *kernel, ""])


class Samples(ctypes.Structure):
    """``Samples`` of losses.cuh: addresses on the device."""

    _fields_ = tuple(
        (name, ctypes.c_ulonglong) for name in ("x", "row_ids", "y", "labels", "weights")
    )


class Parameters(ctypes.Structure):
    """``Parameters`` of solvers.cuh: addresses on the device."""

    _fields_ = tuple((name, ctypes.c_ulonglong) for name in ("values", "moment_0", "moment_1"))


@cache
def settings_type(dtype: str) -> type[ctypes.Structure]:
    """Return ``SolverSettings`` of solvers.cuh for a dtype."""
    names = (
        *("momentum", "beta_1", "one_minus_beta_1", "beta_2", "one_minus_beta_2"),
        *("epsilon", "alpha"),
    )
    fields = [(name, _REAL[dtype]) for name in names]
    return type("SolverSettings", (ctypes.Structure,), {"_fields_": fields})


@cache
def _network_steps(dtype: str) -> type[ctypes.Structure]:
    """Return ``NetworkSteps`` of 4_persistent.cuh for a dtype."""
    addresses = ("steps", "row_losses", "penalties", "losses")
    numbers = ("first_step", "end_step", "batch_size", "total_rows")
    fields = [
        ("samples", Samples),
        ("parameters", Parameters),
        *((name, ctypes.c_ulonglong) for name in addresses),
        *((name, ctypes.c_int) for name in numbers),
        ("settings", settings_type(dtype)),
    ]
    return type("NetworkSteps", (ctypes.Structure,), {"_fields_": fields})


@dataclass(frozen=True)
class Epoch:
    """What the steps of an epoch, or of a part of it, work on.

    Attributes
    ----------
    samples : Samples
    parameters : Parameters
    settings : ctypes.Structure
        ``SolverSettings`` of solvers.cuh.
    has_penalty : bool
        Whether the loss has an L2 term.
    constants, row_losses, penalties, losses : Memory
        StepConstants a step; a double a row; ``penalty_shares`` doubles a step; a double a step.
    batch_size, rows : int
        Rows of a minibatch, and of the epoch.
    """

    samples: Samples
    parameters: Parameters
    settings: ctypes.Structure
    has_penalty: bool
    constants: Memory
    row_losses: Memory
    penalties: Memory
    losses: Memory
    batch_size: int
    rows: int

    @property
    def steps(self) -> int:
        """How many steps the epoch has."""
        return -(-self.rows // self.batch_size)

    def span(self, step: int) -> tuple[int, int]:
        """Return the position of a step's first row in the epoch, and its number of rows."""
        first = step * self.batch_size
        return first, min(self.batch_size, self.rows - first)


class DoesNotFitError(ValueError):
    """A model that a rung cannot train; another one can."""


class Program(ABC):
    """A rung: kernels compiled for a model and a solver, and the buffers they work in.

    Parameters
    ----------
    device : Device
    model : Model
    solver : str
        A functor of solvers.cuh.
    max_rows : int
        The most rows of a minibatch.
    """

    file: ClassVar[str]
    kernels: ClassVar[tuple[str, ...]]
    #: constants of the program that the host asks for, besides its kernels' shared memory
    told: ClassVar[tuple[str, ...]] = ()
    #: whether an epoch is many launches, which a graph makes cheap
    many_launches: ClassVar[bool] = True
    #: whether operands can be rounded for tensor cores
    rounds: ClassVar[bool] = False

    def __init__(self, device: Device, model: Model, solver: str, max_rows: int) -> None:
        if model.precision != "full" and not self.rounds:
            raise DoesNotFitError(f"{type(self).__name__} has no precision '{model.precision}'")
        self.device = device
        self.model = model
        self.solver = solver
        self.max_rows = max_rows
        names = ("square_sums", "step_losses", "find_nonfinite", *self.kernels)
        told = (*(f"{name}_shared" for name in names), *self.told)
        source = model.source(self.file, solver, self.constants(), told)
        self.module: Module = device.load(source, names, told)
        self._kernels: dict[str, Kernel] = {}

    def constants(self) -> dict[str, object]:
        """Return further constants of the program's text."""
        return {}

    def kernel(self, name: str) -> Kernel:
        """Return a kernel of the program."""
        if name not in self._kernels:
            self._kernels[name] = self.module.kernel(name)
        return self._kernels[name]

    @property
    def launches_per_step(self) -> int:
        """How many kernels a step launches, at most."""
        return 3 * self.model.layers + 2

    @property
    def multiprocessors(self) -> int:
        """How many of the device's multiprocessors work on a step."""
        return self.device.multiprocessors

    @property
    def steps_at_once(self) -> int:
        """How many steps to queue between two looks at whether to stop: some 50 ms of work."""
        model = self.model
        speed = self.multiprocessors * _FLOPS_PER_SECOND[model.precision]
        if model.dtype == "float64":
            speed *= _FLOAT64_SHARE
        seconds = self.max_rows * model.flops_per_row / speed
        seconds += self.launches_per_step * _LAUNCH_SECONDS
        return max(1, int(_LOOK_SECONDS / seconds))

    @property
    def penalty_shares(self) -> int:
        """Blocks that each sum a share of the squares of the weights."""
        return min(64, -(-self.model.parameters // (8 * SUM_THREADS)))

    @abstractmethod
    def run(self, epoch: Epoch, first_step: int, end_step: int) -> None:
        """Queue the steps from ``first_step`` to before ``end_step``.

        An epoch may be queued in parts, at any step: its bits are the same.
        """

    def queue_losses(self, epoch: Epoch) -> None:
        """Queue the sums that make each step's loss."""
        self.device.launch(
            self.kernel("step_losses"),
            (epoch.steps, 1),
            SUM_THREADS,
            [
                epoch.row_losses,
                epoch.penalties,
                self.penalty_shares if epoch.has_penalty else 0,
                epoch.constants,
                _REAL[self.model.dtype](epoch.settings.alpha),
                epoch.losses,
                epoch.batch_size,
                epoch.rows,
            ],
        )


class LayerwiseProgram(Program):
    """One kernel an operation and layer, each over the whole minibatch."""

    kernels = ("forward", "output_rows", "activate_rows", "backward", "update")
    #: rows and columns of its result that a block computes, and its threads
    tile: tuple[int, int]
    threads: ClassVar[int]
    #: rows that the bias adds to those of W in update's result
    bias_rows: ClassVar[int] = 1
    #: threads that share a row in output_rows and activate_rows
    lanes: ClassVar[int] = 32
    row_threads: ClassVar[int] = 128

    def __init__(self, device: Device, model: Model, solver: str, max_rows: int) -> None:
        super().__init__(device, model, solver, max_rows)
        bytes_of = [max_rows * units * model.itemsize for units in model.layer_units[1:]]
        self._z = [device.allocate(nbytes) for nbytes in bytes_of]
        self._a = [device.allocate(nbytes) for nbytes in bytes_of[:-1]]
        self._delta = [device.allocate(nbytes) for nbytes in bytes_of]

    def _grid(self, rows: int, columns: int) -> tuple[int, int]:
        return -(-rows // self.tile[0]), -(-columns // self.tile[1])

    def _forward(self, samples: Samples, first: int, rows: int, parameters: int) -> None:
        last = self.model.layers - 1
        for layer in range(self.model.layers):
            n_in, n_out = self.model.shape(layer)
            self.device.launch(
                self.kernel("forward"),
                self._grid(rows, n_out),
                self.threads,
                [
                    samples,
                    ctypes.c_longlong(first),
                    self._a[layer - 1] if layer else None,
                    self._weights(parameters, layer),
                    self._z[layer],
                    self._a[layer] if layer < last else None,
                    rows,
                    n_in,
                    n_out,
                ],
            )

    def _weights(self, parameters: int, layer: int) -> ctypes.c_ulonglong:
        return ctypes.c_ulonglong(parameters + self.model.offset(layer) * self.model.itemsize)

    def _row_grid(self, rows: int) -> tuple[int, int]:
        return -(-rows * self.lanes // self.row_threads), 1

    def predict(self, samples: Samples, first: int, rows: int, parameters: int) -> Memory:
        """Queue the output activations of rows from position ``first`` on; return where they go."""
        self._forward(samples, first, rows, parameters)
        self.device.launch(
            self.kernel("activate_rows"),
            self._row_grid(rows),
            self.row_threads,
            [self._z[-1], rows],
        )
        return self._z[-1]

    def run(self, epoch: Epoch, first_step: int, end_step: int) -> None:
        for step in range(first_step, end_step):
            self._step(epoch, step)

    def _step(self, epoch: Epoch, step: int) -> None:
        launch, model = self.device.launch, self.model
        first, rows = epoch.span(step)
        position = ctypes.c_longlong(first)
        values = int(epoch.parameters.values)
        if epoch.has_penalty:
            launch(
                self.kernel("square_sums"),
                (self.penalty_shares, 1),
                SUM_THREADS,
                [ctypes.c_ulonglong(values), epoch.penalties, step],
            )
        self._forward(epoch.samples, first, rows, values)
        launch(
            self.kernel("output_rows"),
            self._row_grid(rows),
            self.row_threads,
            [epoch.samples, position, self._z[-1], self._delta[-1], epoch.row_losses, rows],
        )
        for layer in range(model.layers - 1, 0, -1):
            n_in, n_out = model.shape(layer)
            launch(
                self.kernel("backward"),
                self._grid(rows, n_in),
                self.threads,
                [
                    self._delta[layer],
                    self._weights(values, layer),
                    self._z[layer - 1],
                    self._a[layer - 1],
                    self._delta[layer - 1],
                    rows,
                    n_in,
                    n_out,
                ],
            )
        for layer in range(model.layers):
            n_in, n_out = model.shape(layer)
            launch(
                self.kernel("update"),
                self._grid(n_in + self.bias_rows, n_out),
                self.threads,
                [
                    epoch.samples,
                    position,
                    self._a[layer - 1] if layer else None,
                    self._delta[layer],
                    epoch.parameters,
                    ctypes.c_longlong(model.offset(layer)),
                    epoch.settings,
                    epoch.constants,
                    step,
                    rows,
                    n_in,
                    n_out,
                ],
            )


class Naive(LayerwiseProgram):
    """Rung 1: one thread an output."""

    file = "1_naive.cuh"
    tile = (1, 128)
    threads = 128
    lanes = 1


class Tiled(LayerwiseProgram):
    """Rung 2a: tiles in shared memory."""

    file = "2_tiled.cuh"
    tile = (32, 32)
    threads = 1024
    padding: ClassVar[int] = 0

    def constants(self) -> dict[str, object]:
        return {"TILE_PADDING": self.padding}


class TiledWithoutConflicts(Tiled):
    """Rung 2b: the same without bank conflicts."""

    padding = 1


class Fused(Program):
    """Rung 3: all layers of some rows in one launch, all weights in another."""

    file = "3_fused.cuh"
    kernels = ("train_rows", "update_weights")
    told = ("update_tiles",)
    threads: ClassVar[int] = 256

    def __init__(self, device: Device, model: Model, solver: str, max_rows: int) -> None:
        super().__init__(device, model, solver, max_rows)
        units = sum(model.layer_units[1:])
        hidden = max(1, units - model.layer_units[-1])
        self._activations = device.allocate(hidden * max_rows * model.itemsize)
        self._deltas = device.allocate(units * max_rows * model.itemsize)
        self._tiles = self.module.constants["update_tiles"]

    @staticmethod
    def row_tile(device: Device, model: Model) -> int:
        """Return how many rows a block can take through all layers; 0 if not even one."""
        units = model.layer_units
        hidden = sum(units[1:-1])
        per_row = units[0] + hidden + units[-1] + 2 * max(units[1:])
        if model.keeps_z:
            per_row += hidden
        fitting = (device.shared_bytes - 64) // (per_row * model.itemsize)
        return max((rows for rows in (1, 2, 4, 8, 16) if rows <= fitting), default=0)

    def constants(self) -> dict[str, object]:
        rows = self.row_tile(self.device, self.model)
        if rows == 0:
            raise DoesNotFitError(f"layers of {self.model.layer_units} units do not fit rung 3")
        return {"ROW_TILE": rows}

    @property
    def penalty_shares(self) -> int:
        """One a block of ``update_weights``."""
        return self._tiles

    @property
    def launches_per_step(self) -> int:
        """Forward and backward are one, the updates another."""
        return 2

    def run(self, epoch: Epoch, first_step: int, end_step: int) -> None:
        row_tile = self.row_tile(self.device, self.model)
        for step in range(first_step, end_step):
            first, rows = epoch.span(step)
            position = ctypes.c_longlong(first)
            self.device.launch(
                self.kernel("train_rows"),
                (-(-rows // row_tile), 1),
                self.threads,
                [
                    epoch.samples,
                    position,
                    ctypes.c_ulonglong(int(epoch.parameters.values)),
                    self._activations,
                    self._deltas,
                    epoch.row_losses,
                    rows,
                    self.max_rows,
                ],
            )
            self.device.launch(
                self.kernel("update_weights"),
                (self._tiles, 1),
                self.threads,
                [
                    epoch.samples,
                    position,
                    self._activations,
                    self._deltas,
                    epoch.parameters,
                    epoch.settings,
                    epoch.constants,
                    epoch.penalties,
                    step,
                    rows,
                    self.max_rows,
                ],
            )


class Persistent(Program):
    """Rung 4: many steps a launch, weights in the shared memory of a block or a cluster.

    Rounded operands go to tensor cores. A launch can train several networks side by side, those of
    programs with the same text.

    Attributes
    ----------
    networks_at_once : int
        How many clusters run at a time; further ones wait for their turn on the device.
    """

    file = "4_persistent.cuh"
    kernels = ("train_steps", "network_losses")
    many_launches = False
    rounds = True
    threads: ClassVar[int] = 256
    #: blocks of the cluster; None: :meth:`cluster_sizes` chooses
    blocks: ClassVar[int | None] = None

    def __init__(self, device: Device, model: Model, solver: str, max_rows: int) -> None:
        sizes = (
            [self.blocks] if self.blocks else self.cluster_sizes(device, model, solver, max_rows)
        )
        self._networks: Memory | None = None  # NetworkSteps
        for blocks in sizes:
            self._blocks = blocks
            super().__init__(device, model, solver, max_rows)
            kernel = self.kernel("train_steps")
            if blocks > PORTABLE_CLUSTER:
                kernel.allow_wide_clusters(device.driver)
            # a GPU may have fewer multiprocessors side by side than its generation's clusters take
            self.networks_at_once = (
                device.multiprocessors
                if blocks == 1
                else device.clusters_at_once(kernel, self.threads, blocks)
            )
            if self.networks_at_once:
                return
            self._kernels.clear()
        raise DoesNotFitError(f"layers of {model.layer_units} units do not fit rung 4")

    @staticmethod
    def shared_bytes(model: Model, solver: str, max_rows: int, blocks: int) -> int:
        """Return the size of ``ClusterStorage`` of 4_persistent.cuh."""
        units = model.layer_units
        slices = [-(-n // blocks) for n in units[:-1]]
        parameters = sum((s + 1) * (n | 1) for s, n in zip(slices, units[1:], strict=True))
        activations = sum(max_rows * (s | 1) for s in slices[1:])
        widest = max(units[1:])
        numbers = (
            (1 + moments_of(solver)) * parameters
            + 2 * max_rows * (slices[0] | 1)
            + (activations + 1)
            + (activations + 1 if model.keeps_z else 1)
            + max_rows * (widest | 1)
            + 2 * max_rows * widest
        )
        return numbers * model.itemsize

    @classmethod
    def cluster_sizes(cls, device: Device, model: Model, solver: str, max_rows: int) -> list[int]:
        """Return into how many blocks a step can be split, the best number first.

        That is the fewest with enough room and no more than ``_FLOPS_PER_BLOCK`` each, else the
        most. Empty where nothing fits.
        """
        most = WIDEST_CLUSTER if device.capability >= (9, 0) else 1
        sizes = [
            blocks
            for blocks in (16, 8, 4, 2, 1)
            if blocks <= most
            and cls.shared_bytes(model, solver, max_rows, blocks) <= device.shared_bytes
        ]
        flops = max_rows * model.flops_per_row
        light = [blocks for blocks in sizes if flops <= blocks * _FLOPS_PER_BLOCK]
        best = min(light) if light else max(sizes, default=0)
        return sorted(sizes, key=lambda blocks: blocks != best)

    def constants(self) -> dict[str, object]:
        return {
            "PRECISION": _PRECISION[self.model.precision],
            "CLUSTER_BLOCKS": self._blocks,
            "BATCH_ROWS": self.max_rows,
            "BLOCK_THREADS": self.threads,
        }

    @property
    def cluster_blocks(self) -> int:
        """Blocks of the cluster that trains."""
        return self._blocks

    @property
    def penalty_shares(self) -> int:
        """One a warp."""
        return self._blocks * self.threads // 32

    @property
    def launches_per_step(self) -> int:
        """The one launch is of all steps."""
        return 1

    @property
    def network_bytes(self) -> int:
        """Size of what says what one network is to do."""
        return ctypes.sizeof(_network_steps(self.model.dtype))

    @property
    def multiprocessors(self) -> int:
        """One a block."""
        return self._blocks

    def run(self, epoch: Epoch, first_step: int, end_step: int) -> None:
        self._launch_training(self._put_networks([epoch], [(first_step, end_step)]), 1)

    def queue_losses(self, epoch: Epoch) -> None:
        self._launch_losses(self._put_networks([epoch], [(0, epoch.steps)]), [epoch])

    def steps_side_by_side(self, n_networks: int) -> int:
        """:attr:`steps_at_once` of several networks: those that find no room wait for others."""
        rounds = -(-n_networks * self._blocks // self.device.multiprocessors)
        return max(1, self.steps_at_once // rounds)

    def run_side_by_side(
        self, epochs: Sequence[Epoch], first_step: int, end_step: int, stream: Stream
    ) -> None:
        """Queue some steps of the epochs of several networks, a cluster each.

        Each must have ``first_step``, and ends with its epoch. They must be those of programs that
        share :attr:`module` with this one, which must always get the same stream.
        """
        spans = [(first_step, min(end_step, epoch.steps)) for epoch in epochs]
        networks = self._put_networks(epochs, spans, stream)
        self._launch_training(networks, len(epochs), stream)

    def queue_losses_side_by_side(self, epochs: Sequence[Epoch], stream: Stream) -> None:
        """Queue the sums that make the loss of each step of several networks."""
        spans = [(0, epoch.steps) for epoch in epochs]
        self._launch_losses(self._put_networks(epochs, spans, stream), epochs, stream)

    def _launch_training(
        self, networks: Memory, n_networks: int, stream: Stream | None = None
    ) -> None:
        self.device.launch(
            self.kernel("train_steps"),
            (n_networks * self._blocks, 1),
            self.threads,
            [networks],
            cluster=self._blocks,
            stream=stream,
        )

    def _launch_losses(
        self, networks: Memory, epochs: Sequence[Epoch], stream: Stream | None = None
    ) -> None:
        kernel = self.kernel("network_losses")
        grid = max(epoch.steps for epoch in epochs), len(epochs)
        self.device.launch(kernel, grid, SUM_THREADS, [networks], stream=stream)

    def _put_networks(
        self,
        epochs: Sequence[Epoch],
        spans: Sequence[tuple[int, int]],
        stream: Stream | None = None,
    ) -> Memory:
        """Copy what each network is to do to the device, after what launches queued before read."""
        dtype = self.model.dtype
        structure = _network_steps(dtype)
        networks = (structure * len(epochs))()
        for network, epoch, (first_step, end_step) in zip(networks, epochs, spans, strict=True):
            network.samples = epoch.samples
            network.parameters = epoch.parameters
            network.steps = epoch.constants.address
            network.row_losses = epoch.row_losses.address
            network.penalties = epoch.penalties.address
            network.losses = epoch.losses.address
            network.first_step, network.end_step = first_step, end_step
            network.batch_size, network.total_rows = epoch.batch_size, epoch.rows
            network.settings = epoch.settings
        values = np.frombuffer(bytes(networks), np.uint8)
        if self._networks is None or self._networks.nbytes < values.nbytes:
            self._networks = self.device.allocate(values.nbytes)
        self.device.upload(self._networks, values, stream=stream)
        return self._networks


class TensorCores(LayerwiseProgram):
    """Rung 5: large tiles on tensor cores, or in plain float32 where the precision is full."""

    file = "5_tensor_cores.cuh"
    threads = 256
    bias_rows = 0
    rounds = True

    def __init__(self, device: Device, model: Model, solver: str, max_rows: int) -> None:
        if model.dtype != "float32":
            raise DoesNotFitError(f"rung 5 computes in float32, got {model.dtype}")
        # Not measured. A large tile does more with what it loads, as long as there are enough of
        # them to keep every multiprocessor busy.
        large_tiles = -(-max_rows // 128) * -(-max(model.layer_units[1:]) // 128)
        side = 128 if large_tiles >= device.multiprocessors else 64
        self.tile = (side, side)
        super().__init__(device, model, solver, max_rows)

    def constants(self) -> dict[str, object]:
        return {"PRECISION": _PRECISION[self.model.precision], "TILE": self.tile[0]}


#: Rungs by name, from plain to fast.
LADDER: dict[str, type[Program]] = {
    "naive": Naive,
    "tiled": Tiled,
    "tiled-without-conflicts": TiledWithoutConflicts,
    "fused": Fused,
    "persistent": Persistent,
    "tensor-cores": TensorCores,
}
