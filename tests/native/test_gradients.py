"""The gradient is the slope of the reported loss: finite differences, by the core alone.

One plain sgd step with learning rate 1 moves the parameters by the gradient, and an epoch with
learning rate 0 reports the loss without moving them.
"""

import numpy as np
import pytest

from native.support import Case, core_network, draw, make_team, parameter_bytes, simd_target
from reference import HIDDEN_ACTIVATIONS, LEGAL_PAIRS

STEP = 1e-6
PROBES = 12  # parameters checked in each array
WIDE = (61, 300, 290, 5)


def check_gradient(case: Case) -> None:
    data = draw(case)
    team = make_team("serial", 1)
    network = core_network(case, data)
    start = [*data.coefs, *data.intercepts]
    layers = len(data.coefs)

    def run(learning_rate: float) -> float:
        return network.train_epoch(
            team, data.X, data.y, None, data.weight, case.rows, learning_rate, "two-phase"
        ).loss

    def loss_at(parameters: list[np.ndarray]) -> float:
        network.set_parameters(parameters[:layers], parameters[layers:])
        return run(0.0)

    before = parameter_bytes(network)
    run(0.0)
    assert parameter_bytes(network) == before
    run(1.0)
    coefs, intercepts = network.get_parameters()
    gradients = [w0 - w1 for w0, w1 in zip(start, [*coefs, *intercepts], strict=True)]

    # scikit-learn's squared_error reports the mean over outputs of what it descends on
    scale = case.units[-1] if case.loss == "squared_error" else 1
    if case.loss == "squared_error" and case.alpha:
        pytest.fail("its L2 term is not scaled like its data term: check them apart")
    rng = np.random.default_rng(0)
    for i, gradient in enumerate(gradients):
        assert np.abs(gradient).max() > 1e-6
        for flat in rng.choice(gradient.size, min(PROBES, gradient.size), replace=False):
            at = np.unravel_index(flat, gradient.shape)
            slope = 0.0
            for sign in (1, -1):
                moved = [p.copy() for p in start]
                moved[i][at] += sign * STEP
                slope += sign * loss_at(moved) / (2 * STEP)
            assert gradient[at] == pytest.approx(scale * slope, rel=2e-6, abs=4e-9)


@pytest.mark.parametrize("hidden", HIDDEN_ACTIVATIONS)
def test_hidden_activations(hidden: str) -> None:
    check_gradient(Case((6, 9, 7, 3), hidden, dtype="float64", alpha=0.4, rows=11))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("loss", "out"), LEGAL_PAIRS)
def test_losses(loss: str, out: str, weighted: bool) -> None:
    alpha = 0.0 if loss == "squared_error" else 0.4
    check_gradient(
        Case(loss=loss, out=out, weighted=weighted, dtype="float64", alpha=alpha, rows=11)
    )


@pytest.mark.parametrize("hidden", ["sigmoid", "silu"])
def test_wide_network(hidden: str) -> None:
    check_gradient(Case(WIDE, hidden, dtype="float64", alpha=0.01, rows=11))


def test_without_fused_multiply_add() -> None:
    with simd_target("baseline"):
        check_gradient(Case((6, 9, 7, 3), "gelu_tanh", dtype="float64", alpha=0.4, rows=11))
