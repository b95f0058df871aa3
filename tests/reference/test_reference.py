"""The reference is right: its gradients are those of its losses, by finite differences."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.neural_network._base import ACTIVATIONS, LOSS_FUNCTIONS

from reference import HIDDEN_ACTIVATIONS, LEGAL_PAIRS, Network
from reference.activations import Array

UNITS = [4, 5, 3, 2]
ROWS = 7


def make_network(
    rng: np.random.Generator, hidden_activation: str, loss: str, out_activation: str
) -> Network:
    pairs = list(pairwise(UNITS))
    return Network(
        [rng.normal(scale=0.6, size=pair) for pair in pairs],
        [rng.normal(size=n) for _, n in pairs],
        hidden_activation=hidden_activation,
        out_activation=out_activation,
        loss=loss,
        alpha=0.3,
        leaky_relu_slope=0.2,
    )


def make_targets(rng: np.random.Generator, loss: str, out_activation: str) -> Array:
    n_outputs = UNITS[-1]
    if out_activation == "softmax":
        return np.eye(n_outputs)[rng.integers(n_outputs, size=ROWS)]
    if loss == "log_loss":
        return rng.integers(2, size=(ROWS, n_outputs)).astype(float)
    if loss == "poisson":
        return rng.poisson(2.0, size=(ROWS, n_outputs)).astype(float)
    return rng.normal(size=(ROWS, n_outputs))


def trained_loss(network: Network, X: Array, y: Array, w: Array | None) -> float:
    """The loss that the gradients belong to: squared_error's data term counts n_outputs times."""
    loss, _, _ = network.backward(X, y, w)
    if network.loss != "squared_error":
        return loss
    S = float(len(X) if w is None else w.sum())
    penalty = 0.5 * network.alpha * sum(float((W**2).sum()) for W in network.coefs) / S
    return (loss - penalty) * network.coefs[-1].shape[1] + penalty


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "out_activation"), LEGAL_PAIRS)
@pytest.mark.parametrize("hidden_activation", HIDDEN_ACTIVATIONS)
def test_gradients_are_finite_differences(
    rng: np.random.Generator, hidden_activation: str, loss: str, out_activation: str, weighted: bool
) -> None:
    network = make_network(rng, hidden_activation, loss, out_activation)
    X = rng.normal(size=(ROWS, UNITS[0]))
    y = make_targets(rng, loss, out_activation)
    w = rng.uniform(0.1, 3.0, size=ROWS) if weighted else None
    _, coef_grads, intercept_grads = network.backward(X, y, w)

    step = 1e-6
    for param, grad in zip(network.params, coef_grads + intercept_grads, strict=True):
        numeric = np.empty_like(param)
        for place in np.ndindex(param.shape):
            kept = param[place]
            param[place] = kept + step
            above = trained_loss(network, X, y, w)
            param[place] = kept - step
            below = trained_loss(network, X, y, w)
            param[place] = kept
            numeric[place] = (above - below) / (2 * step)
        np.testing.assert_allclose(grad, numeric, rtol=1e-6, atol=1e-7)


def test_squared_error_gradient_is_not_that_of_the_reported_loss(rng: np.random.Generator) -> None:
    # scikit-learn's oddity, kept on purpose: without the factor n_outputs, differences disagree
    network = make_network(rng, "tanh", "squared_error", "identity")
    X = rng.normal(size=(ROWS, UNITS[0]))
    y = rng.normal(size=(ROWS, UNITS[-1]))
    network.alpha = 0.0
    _, coef_grads, _ = network.backward(X, y)
    W, step = network.coefs[-1], 1e-6
    W[0, 0] += step
    above, _, _ = network.backward(X, y)
    W[0, 0] -= 2 * step
    below, _, _ = network.backward(X, y)
    reported = (above - below) / (2 * step)
    assert coef_grads[-1][0, 0] == pytest.approx(UNITS[-1] * reported, rel=1e-6)


@pytest.mark.parametrize("name", ["identity", "sigmoid", "tanh", "relu"])
def test_activations_are_scikit_learns(rng: np.random.Generator, name: str) -> None:
    z = rng.normal(scale=5.0, size=(20, 3))
    theirs = z.copy()
    ACTIVATIONS["logistic" if name == "sigmoid" else name](theirs)
    ours = HIDDEN_ACTIVATIONS[name][0](z, 0.01)
    np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize(
    ("loss", "out_activation", "name"),
    [
        ("log_loss", "softmax", "log_loss"),
        ("log_loss", "sigmoid", "binary_log_loss"),
        ("squared_error", "identity", "squared_error"),
        ("poisson", "exp", "poisson"),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_are_scikit_learns(
    rng: np.random.Generator, loss: str, out_activation: str, name: str, weighted: bool
) -> None:
    network = make_network(rng, "tanh", loss, out_activation)
    network.alpha = 0.0
    X = rng.normal(size=(ROWS, UNITS[0]))
    y = make_targets(rng, loss, out_activation)
    w = rng.uniform(0.1, 3.0, size=ROWS) if weighted else None
    ours, _, _ = network.backward(X, y, w)
    theirs = LOSS_FUNCTIONS[name](y, network.predict(X), w)
    assert ours == pytest.approx(theirs, rel=1e-13)
