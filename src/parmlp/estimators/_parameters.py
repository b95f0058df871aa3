"""The constructor's parameters: which values are legal, and what they mean for a network."""

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from parmlp.engines import ENGINES, SCHEDULES
from parmlp.estimators._scikit_learn import Interval, Options, StrOptions

#: Hidden activations as ``activation=`` takes them; "logistic" is scikit-learn's name of "sigmoid".
ACTIVATIONS = (
    "identity",
    "logistic",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "gelu_tanh",
    "silu",
)

SOLVERS = ("sgd", "adam", "adamw")

WEIGHT_INITS = ("scikit-learn", "glorot_uniform", "he", "small_random")

#: loss -> legal output activations, the default first; names as in ``out_activation_``
OUTPUT_ACTIVATIONS = {
    "log_loss": ("softmax", "logistic"),
    "mse": ("logistic", "identity"),
    "squared_error": ("identity",),
    "poisson": ("exp",),
}

#: Constraints shared by both estimators; scikit-learn's where it has the parameter.
CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(set(ACTIVATIONS))],
    # "lbfgs" is scikit-learn's and gets an error of its own that says where to find it
    "solver": [StrOptions({"lbfgs", *SOLVERS})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "out_activation": [StrOptions({"auto", "identity", "logistic", "sigmoid", "softmax", "exp"})],
    "weight_init": [StrOptions(set(WEIGHT_INITS))],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "leaky_relu_slope": [Interval(Real, None, None, closed="neither")],
    "engine": [StrOptions({"auto", *ENGINES})],
    "n_threads": [Interval(Integral, 1, None, closed="left"), Options(Integral, {-1}), None],
    "adaptive_threads": ["boolean"],
    "schedule": [StrOptions(set(SCHEDULES))],
    "dtype": [StrOptions({"auto", "float32", "float64"})],
    "precision": [StrOptions({"full", "tf32", "bf16"})],
    "callback": [callable, None],
}


def core_activation(name: str) -> str:
    """Return the native core's name of an activation."""
    return "sigmoid" if name == "logistic" else name


def choose_out_activation(loss: str, requested: str, default: str) -> str:
    """Return the output activation, in scikit-learn's names.

    Parameters
    ----------
    loss : str
    requested : str
        The parameter ``out_activation``.
    default : str
        What "auto" means for this loss and target.

    Raises
    ------
    ValueError
        When the loss cannot be trained with the output asked for.
    """
    if requested == "auto":
        return default
    out_activation = "logistic" if requested == "sigmoid" else requested
    legal = OUTPUT_ACTIVATIONS[loss]
    if out_activation not in legal:
        pairs = "; ".join(f"{k} with {' or '.join(v)}" for k, v in OUTPUT_ACTIVATIONS.items())
        raise ValueError(
            f"loss={loss!r} cannot be trained with out_activation={requested!r}. "
            f"Legal are: {pairs}; or out_activation='auto'."
        )
    return out_activation


def hidden_units(hidden_layer_sizes: Any) -> list[int]:
    """Return ``hidden_layer_sizes`` as a list of int; empty for a network without hidden layers.

    Raises
    ------
    ValueError
        For a size that is not a positive integer.
    """
    sizes = hidden_layer_sizes if isinstance(hidden_layer_sizes, Iterable) else [hidden_layer_sizes]
    units = list(sizes)
    for size in units:
        if not isinstance(size, Integral) or isinstance(size, bool):
            raise ValueError(f"hidden_layer_sizes must be integers, got {size!r} in {units}.")
    if any(size <= 0 for size in units):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {units}.")
    return [int(size) for size in units]


def solver_takes_minibatches(estimator: Any) -> bool:
    """Whether ``partial_fit`` exists; raise AttributeError, as scikit-learn does, if not."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True
