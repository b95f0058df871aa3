"""The native core (native/bindings/core_module.cpp)."""

from collections.abc import Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Parameters: TypeAlias = tuple[list[Array], list[Array]]

compiler: str

class OptimizerState(TypedDict):
    t: int
    moments: list[Parameters]

def simd_targets() -> list[str]: ...
def simd_target() -> str: ...
def set_simd_target(name: str) -> None: ...
def runs_bf16() -> bool: ...
def usable_cores(root: str | None = None) -> int: ...
def thread_limit() -> int: ...
def cgroup_cpu_quota(root: str = "") -> float: ...
def activate(
    activation: str, z: Array, leaky_relu_slope: float = 0.01
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def shuffle_order(key: NDArray[np.uint32], pos: int, order: NDArray[np.int64]) -> int: ...

class Team:
    def __init__(self, engine: str, n_threads: int, openmp_team: object | None = None) -> None: ...
    @property
    def engine(self) -> str: ...
    @property
    def size(self) -> int: ...
    def self_check(
        self,
        phases: int = 1,
        tiles: int = 1,
        failing_tile: int = -1,
        fresh_threads: bool = False,
        vary_workers: bool = False,
    ) -> list[int]: ...

class WorkerChoice:
    """How many workers a fit uses for its next step; here for its tests."""

    def __init__(self, most: int) -> None: ...
    @property
    def workers(self) -> int: ...
    def step_took(self, seconds: float) -> None: ...

class SparseRows:
    """Compressed sparse rows: scipy's CSR arrays, kept alive, columns ascending within a row."""

    def __init__(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        data: Array,
        n_features: int,
    ) -> None: ...
    @staticmethod
    def compress(X: Array, team: Team) -> SparseRows: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_entries(self) -> int: ...

class EpochResult:
    @property
    def loss(self) -> float: ...
    @property
    def tiles(self) -> list[int]: ...
    @property
    def workers(self) -> int: ...
    @property
    def seconds(self) -> float: ...

class Network:
    def __init__(
        self,
        layer_units: Sequence[int],
        hidden_activation: str,
        out_activation: str,
        loss: str,
        dtype: str,
        leaky_relu_slope: float = 0.01,
        precision: str = "full",
    ) -> None: ...
    @property
    def simd(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def precision(self) -> str: ...
    def set_parameters(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None: ...
    def get_parameters(self) -> Parameters: ...
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
    ) -> None: ...
    def get_optimizer_state(self) -> OptimizerState: ...
    def set_optimizer_state(self, state: OptimizerState) -> None: ...
    def remember(self, slot: str) -> None: ...
    def recall(self, slot: str) -> None: ...
    def parameters_finite(self) -> bool: ...
    def train_epoch(
        self,
        team: Team,
        X: Array | SparseRows,
        y: Array | NDArray[np.int32],
        order: NDArray[np.int64] | None,
        sample_weight: Array | None,
        batch_size: int,
        learning_rate: float,
        schedule: str,
        adaptive_workers: bool = True,
    ) -> EpochResult: ...
    def predict(self, team: Team, X: Array | SparseRows) -> Array: ...
