"""Five epochs of real MNIST end where the plain NumPy backpropagation in float64 ends.

Both start from the same weights and visit the rows in the same order: those that the estimator
draws from its random_state.

How close they must be. One sum of 784 products in float32 is off by some 1e-7 of itself, and each
step adds to what the last one left. On 5,000 images (2,500 steps of sgd) the losses differed by at
most 3e-6 of themselves, over three seeds, and RTOL is some three times that. In float64 they
differed by 5e-15, so a tolerance of 1e-10 tells an error of method from rounding.

On 60,000 images training is chaotic. At learning rate 3 a difference grows up to a million times an
epoch, until the losses differ by their own scatter: 784-30-10 in float64, trained by the core and
by NumPy, which only add up in another order, agrees to 2e-11 after two epochs and to 5e-3 after
four; NumPy alone, its first weights rounded to float32, moves by 4e-3. Relu with adam scatters
less, by 1e-3 in float32. So the first epoch must agree closely, and all within CHAOS, some twice
the largest difference seen over three seeds (9e-3).
"""

from typing import Any

import numpy as np
import pytest
from sklearn.utils import shuffle

from parmlp import MLPClassifier
from parmlp.datasets import Dataset
from parmlp.estimators._weights import draw_weights
from reference import SGD, Adam, Network

EPOCHS = 5
RTOL = {"float32": 1e-5, "float64": 1e-10}
CHAOS = {"784-30-10": 2e-2, "784-100-10": 2e-2, "default": 3e-3}

FAITHFUL = {
    "activation": "logistic",
    "loss": "mse",
    "solver": "sgd",
    "learning_rate_init": 3.0,
    "batch_size": 10,
    "momentum": 0.0,
    "nesterovs_momentum": False,
    "alpha": 0.0,
    "weight_init": "glorot_uniform",
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "784-30-10": {"hidden_layer_sizes": (30,), **FAITHFUL},
    "784-100-10": {"hidden_layer_sizes": (100,), **FAITHFUL},
    "default": {},
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def losses(name: str, data: Dataset, rows: int, dtype: str) -> tuple[list[float], list[float]]:
    """Return the losses of each epoch, the estimator's and the reference's."""
    X, y = data.X[:rows].astype(dtype), data.y[:rows]
    model = MLPClassifier(
        **CONFIGURATIONS[name], max_iter=EPOCHS, n_iter_no_change=EPOCHS + 1, random_state=0
    ).fit(X, y)
    assert len(model.loss_curve_) == EPOCHS
    assert model.coefs_[0].dtype == dtype

    random_state = np.random.RandomState(0)
    start = draw_weights(
        [784, *model.hidden_layer_sizes, 10],
        model.weight_init,
        model.activation,
        np.dtype(dtype),
        random_state,
    )
    hidden, out = (
        {"logistic": "sigmoid"}.get(activation, activation)
        for activation in (model.activation, model.out_activation_)
    )
    plain = Network(start.coefs, start.intercepts, hidden, out, model.loss, model.alpha)
    solver = (
        SGD(plain.params, momentum=0.0, nesterov=False)
        if model.solver == "sgd"
        else Adam(plain.params, model.beta_1, model.beta_2, model.epsilon)
    )
    pixels, one_hot = X.astype(np.float64, copy=False), np.eye(10)[y]
    order = np.arange(rows)
    expected = []
    for _ in range(EPOCHS):
        order = shuffle(order, random_state=random_state)
        trace = plain.train_epoch(
            solver,
            pixels,
            one_hot,
            batch_size=200 if model.batch_size == "auto" else model.batch_size,
            learning_rate=model.learning_rate_init,
            order=order,
        )
        expected.append(trace.loss)
    # training went somewhere: agreeing on a standstill would prove nothing
    assert expected[-1] < expected[0] / 2
    return model.loss_curve_, expected


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_5000_images(mnist_train: Dataset, name: str, dtype: str) -> None:
    ours, expected = losses(name, mnist_train, 5_000, dtype)
    np.testing.assert_allclose(ours, expected, rtol=RTOL[dtype], atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_all_images(mnist_train: Dataset, name: str, dtype: str) -> None:
    ours, expected = losses(name, mnist_train, 60_000, dtype)
    np.testing.assert_allclose(ours[0], expected[0], rtol=RTOL[dtype], atol=0)
    np.testing.assert_allclose(ours, expected, rtol=CHAOS[name], atol=0)
