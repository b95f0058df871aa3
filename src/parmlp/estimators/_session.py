"""A network with its solver: what ``partial_fit`` continues and pickling keeps."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from parmlp.engines import Network, Team, make_network
from parmlp.estimators._parameters import core_activation
from parmlp.estimators._weights import Weights

if TYPE_CHECKING:
    from parmlp._core import OptimizerState


@dataclass(frozen=True)
class NetworkKind:
    """All that an engine's network is made of, except its weights."""

    layer_units: tuple[int, ...]
    activation: str
    out_activation: str
    loss: str
    dtype: str
    leaky_relu_slope: float
    precision: str = "full"

    def build(self, team: Team) -> Network:
        """Return a team's network of this kind; its weights are still to be set."""
        return make_network(team, **self.described())

    def described(self) -> dict[str, Any]:
        """Return this kind as :func:`parmlp.engines.make_network` takes it."""
        return {
            "layer_units": self.layer_units,
            "hidden_activation": core_activation(self.activation),
            "out_activation": core_activation(self.out_activation),
            "loss": self.loss,
            "dtype": self.dtype,
            "leaky_relu_slope": self.leaky_relu_slope,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class SolverSettings:
    """The solver's parameters as they were when it was created, as scikit-learn keeps them."""

    solver: str
    learning_rate_init: float
    learning_rate: str
    power_t: float
    momentum: float
    nesterovs_momentum: bool
    beta_1: float
    beta_2: float
    epsilon: float
    weight_decay: float


class LearningRate:
    """The learning rate from epoch to epoch; ``current`` is the one to use.

    For sgd, "invscaling" divides the initial rate by ``(t + 1) ** power_t`` after each epoch, t
    being the rows seen so far, and "adaptive" divides the rate by 5 where training would have
    stopped. Other solvers keep the initial rate.
    """

    def __init__(self, settings: SolverSettings) -> None:
        self._mode = settings.learning_rate if settings.solver == "sgd" else "constant"
        self._initial = settings.learning_rate_init
        self._power_t = settings.power_t
        self.current = settings.learning_rate_init

    def epoch_ends(self, t: int) -> None:
        """Take note that ``t`` rows have been seen in all."""
        if self._mode == "invscaling":
            self.current = self._initial / (t + 1) ** self._power_t

    def stops(self, message: str, verbose: bool | int) -> bool:
        """Whether training ends now that it improves no more; otherwise the rate was lowered."""
        if self._mode == "adaptive" and self.current > 1e-6:
            self.current /= 5.0
            if verbose:
                print(f"{message} Setting learning rate to {self.current:f}")
            return False
        if verbose:
            too_small = " Learning rate too small." if self._mode == "adaptive" else ""
            print(f"{message}{too_small} Stopping.")
        return True


class Session:
    """A solver at work on a network, from ``fit`` on through any number of ``partial_fit``.

    Pickled and copied with the optimizer's moments and step count, so that a sequence of
    ``partial_fit`` interrupted by a pickle goes on with the same bits.
    """

    def __init__(self, settings: SolverSettings) -> None:
        self._settings = settings
        self.learning_rate = LearningRate(settings)
        self._network: Network | None = None
        self._on_gpu = False
        self._kind: NetworkKind | None = None
        self._alpha = 0.0
        # of a network not yet built: unpickled, or of another kind than the last one
        self._state: OptimizerState | None = None

    def open(self, team: Team, kind: NetworkKind, weights: Weights, alpha: float) -> Network:
        """Return the network of this kind, with these weights and the solver where it was."""
        on_gpu = team.engine == "cuda"
        if (
            self._network is None
            or kind != self._kind
            or alpha != self._alpha
            or on_gpu != self._on_gpu
        ):
            state = self._optimizer_state()
            if self._kind is not None and kind.layer_units != self._kind.layer_units:
                state = None  # moments of weights that are no longer there
            self._network = kind.build(team)
            self._kind, self._alpha, self._state = kind, alpha, None
            self._on_gpu = on_gpu
            self._start_solver(self._network, alpha)
            if state is not None:
                self._network.set_optimizer_state(_cast(state, kind.dtype))
        self._network.set_parameters(weights.coefs, weights.intercepts)
        return self._network

    def set_aside(self) -> None:
        """Let go of the network and its memory; the solver can go on from where it is."""
        self._state, self._network = self._optimizer_state(), None

    def _start_solver(self, network: Network, alpha: float) -> None:
        s = self._settings
        network.set_solver(
            s.solver,
            alpha=alpha,
            momentum=s.momentum,
            nesterov=s.nesterovs_momentum,
            beta_1=s.beta_1,
            beta_2=s.beta_2,
            epsilon=s.epsilon,
            weight_decay=s.weight_decay,
        )

    def _optimizer_state(self) -> "OptimizerState | None":
        return self._state if self._network is None else self._network.get_optimizer_state()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None, "_state": self._optimizer_state()}


def _cast(state: "OptimizerState", dtype: str) -> "OptimizerState":
    """Return an optimizer state with moments of ``dtype``."""
    moments = [
        (
            [np.asarray(W, dtype=dtype) for W in coefs],
            [np.asarray(b, dtype=dtype) for b in intercepts],
        )
        for coefs, intercepts in state["moments"]
    ]
    return {"t": state["t"], "moments": moments}
