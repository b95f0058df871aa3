"""What every engine offers to the estimators: ``_core``'s Team and Network are the models of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

if TYPE_CHECKING:
    from parmlp._core import OptimizerState, StepProfile, StopFlag

Array = NDArray[Any]


class Team(Protocol):
    """Who does the work.

    Attributes
    ----------
    engine : str
    size : int
        Threads; 1 for a GPU.
    """

    @property
    def engine(self) -> str: ...
    @property
    def size(self) -> int: ...


class EpochResult(Protocol):
    """What an epoch did."""

    @property
    def loss(self) -> float: ...
    @property
    def tiles(self) -> list[int]: ...
    @property
    def workers(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class Network(Protocol):
    """A network with its solver. X is what the team's engine makes of it (``estimators._rows``)."""

    @property
    def simd(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def precision(self) -> str: ...
    def set_parameters(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None: ...
    def get_parameters(self) -> tuple[list[Array], list[Array]]: ...
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
    def get_optimizer_state(self) -> "OptimizerState": ...
    def set_optimizer_state(self, state: "OptimizerState") -> None: ...
    def remember(self, slot: str) -> None: ...
    def recall(self, slot: str) -> None: ...
    def parameters_finite(self) -> bool: ...
    def train_epoch(  # noqa: PLR0917 (as _core.Network has it)
        self,
        team: Any,
        X: Any,
        y: Array,
        order: NDArray[Any] | None,
        sample_weight: Array | None,
        batch_size: int,
        learning_rate: float,
        schedule: str,
        *,
        adaptive_workers: bool = True,
        stop: "StopFlag | None" = None,
        profile: "StepProfile | None" = None,
    ) -> EpochResult: ...
    def predict(self, team: Any, X: Any) -> Array: ...
