"""exp, sigmoid, tanh and what is built on them: how far from the truth, on every SIMD target.

The truth is computed in numpy's long double where that is wider than float64 (it is on x86), so
the last bit of float64 results can be judged too. The normal distribution function of gelu has no
long double; SciPy's float64 one stands in.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr

from native.support import DTYPES, Array, simd_target
from parmlp import _core

Wide = np.longdouble

pytestmark = pytest.mark.skipif(
    np.finfo(Wide).eps > 1e-18, reason="needs a long double wider than float64"
)


def sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def elu(z: Array) -> Array:
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


def cdf(z: Array) -> Array:
    return ndtr(z.astype(float)).astype(Wide)


ROOT_2_OVER_PI = np.sqrt(Wide(2) / (4 * np.arctan(Wide(1))))


def gelu_tanh(z: Array) -> Array:
    return z * sigmoid(2 * ROOT_2_OVER_PI * (z + Wide(0.044715) * z**3))


def gelu_tanh_derivative(z: Array) -> Array:
    s = sigmoid(2 * ROOT_2_OVER_PI * (z + Wide(0.044715) * z**3))
    return s + z * s * (1 - s) * 2 * ROOT_2_OVER_PI * (1 + 3 * Wide(0.044715) * z * z)


def silu_derivative(z: Array) -> Array:
    return sigmoid(z) * (1 + z * sigmoid(-z))


def gelu_derivative(z: Array) -> Array:
    return cdf(z) + z * np.exp(-z * z / 2) * ROOT_2_OVER_PI / 2


VALUES: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "elu": elu,
    "silu": lambda z: z * sigmoid(z),
    "gelu": lambda z: z * cdf(z),
    "gelu_tanh": gelu_tanh,
}
DERIVATIVES: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda z: sigmoid(z) * sigmoid(-z),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "elu": lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))),
    "silu": silu_derivative,
    "gelu": gelu_derivative,
    "gelu_tanh": gelu_tanh_derivative,
}

#: Largest relative error of a value, wherever the result is a normal number. What was measured on
#: 900,000 points with each target stands behind it.
RELATIVE = {
    "float32": {
        "exp": 1.0e-7,  # 9.1e-8
        "sigmoid": 1.6e-7,  # 1.5e-7
        "tanh": 2.8e-7,  # 2.7e-7, where 1 - 2 / (exp(2z) + 1) takes over from the polynomial
        "elu": 2.1e-7,  # 1.9e-7
        "silu": 2.0e-7,  # 1.5e-7
    },
    "float64": {
        "exp": 3.0e-16,  # 2.5e-16
        "sigmoid": 3.2e-16,  # 2.9e-16
        "tanh": 5.2e-16,  # 4.8e-16
        "elu": 4.2e-16,  # 3.7e-16
        "silu": 4.2e-16,  # 3.6e-16
    },
}
#: Largest error over 1 + |result| of those whose left tail is a difference or a rounded exponent:
#: where they are nearly zero their relative accuracy is not claimed.
WEAK = {
    "float32": {"gelu": 1.2e-7, "gelu_tanh": 4.0e-7},
    "float64": {"gelu": 3.0e-16, "gelu_tanh": 1.0e-15},
}
#: Largest absolute error of a derivative.
DERIVATIVE = {
    "float32": {
        "sigmoid": 1.0e-7,
        "tanh": 4.0e-7,
        "elu": 2.5e-7,
        "silu": 1.2e-6,  # 1 - s, rounded, times z up to 17
        "gelu": 3.0e-7,
        "gelu_tanh": 2.5e-6,
    },
    "float64": {
        "sigmoid": 2.0e-16,
        "tanh": 8.0e-16,
        "elu": 4.0e-16,
        "silu": 5.0e-15,
        "gelu": 6.0e-16,
        "gelu_tanh": 1.2e-14,
    },
}


def points(name: str, dtype: str) -> Array:
    """Return arguments all over the range, dense where the formulas change."""
    rng = np.random.default_rng(7)
    low, high = (-87.3, 88.7) if dtype == "float32" else (-708.0, 709.7)
    size = 100_000
    magnitudes = 10.0 ** rng.uniform(-37, 2, size) * rng.choice([-1, 1], size)
    z = [
        rng.uniform(low, high, size),
        rng.uniform(-3, 3, size),
        rng.choice([-1, 1], size) * rng.uniform(0.6, 0.7, size),  # tanh's two formulas
        rng.choice([-1, 1], size) * rng.uniform(1.3, 1.5, size),  # gelu's, at sqrt 2
        magnitudes,
    ]
    if name == "exp":
        pass
    elif dtype == "float32":  # where sigmoid stops, see below
        low, high = -87.0, 1e3
    else:
        low, high = -700.0, 1e3
    return np.clip(np.concatenate(z), low, high).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RELATIVE["float32"])
def test_relative_error(simd: str, name: str, dtype: str) -> None:
    z = points(name, dtype)
    values, _ = _core.activate(name, z)
    exact = VALUES[name](z.astype(Wide))
    normal = np.abs(exact) >= np.finfo(dtype).tiny
    error = np.abs(values.astype(Wide) - exact)
    relative = error[normal] / np.abs(exact[normal])
    worst = relative.argmax()
    assert relative[worst] <= RELATIVE[dtype][name], f"at {z[normal][worst]!r}"
    # Below the normal numbers, within two steps of the last place that there is.
    assert (error[~normal] <= 2 * np.finfo(dtype).smallest_subnormal).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WEAK["float32"])
def test_error_where_the_left_tail_cancels(simd: str, name: str, dtype: str) -> None:
    z = points(name, dtype)
    values, _ = _core.activate(name, z)
    exact = VALUES[name](z.astype(Wide))
    error = np.abs(values.astype(Wide) - exact) / (1 + np.abs(exact))
    worst = error.argmax()
    assert error[worst] <= WEAK[dtype][name], f"at {z[worst]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivative_error(simd: str, name: str, dtype: str) -> None:
    z = points(name, dtype)
    _, derivatives = _core.activate(name, z)
    error = np.abs(derivatives.astype(Wide) - DERIVATIVES[name](z.astype(Wide)))
    worst = error.argmax()
    assert error[worst] <= DERIVATIVE[dtype][name], f"at {z[worst]!r}"


def test_float32_sigmoid_stops_at_the_smallest_normal_numbers(simd: str) -> None:
    z = np.linspace(-150, -87, 1000, dtype="float32")
    values, derivatives = _core.activate("sigmoid", z)
    assert (np.abs(values - np.exp(z.astype(float))) < 2e-38).all()
    assert (np.abs(derivatives) < 2e-38).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_over_and_underflows_where_it_must(simd: str, dtype: str) -> None:
    largest = np.log(np.finfo(dtype).max.astype(Wide))
    smallest = np.log(np.finfo(dtype).smallest_subnormal.astype(Wide))
    step = 1e-4 if dtype == "float32" else 1e-10
    z = np.array(
        [largest - step, largest + step, smallest + step, smallest - 1, -1e30, 1e30], dtype
    )
    values, _ = _core.activate("exp", z)
    assert np.isfinite(values[0])
    assert values[1] == np.inf
    assert values[2] == np.finfo(dtype).smallest_subnormal
    assert (values[3:] == [0, 0, np.inf]).all()


@pytest.mark.skipif("avx512" not in _core.simd_targets(), reason="this CPU lacks AVX-512")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_avx2_and_avx512_give_the_same_bits(name: str, dtype: str) -> None:
    z = points(name, dtype)
    with simd_target("avx2"):
        narrow = _core.activate(name, z)
    with simd_target("avx512"):
        wide = _core.activate(name, z)
    assert narrow[0].tobytes() == wide[0].tobytes()
    assert narrow[1].tobytes() == wide[1].tobytes()


@pytest.mark.parametrize("target", _core.simd_targets())
def test_log_of_the_loss(target: str) -> None:
    """log_loss of one row is -log of the probability of its label."""
    rng = np.random.default_rng(3)
    with simd_target(target):
        network = _core.Network([1, 2], "identity", "softmax", "log_loss", "float64")
        # z = (x, 0), so the first class has probability sigmoid(x): near 0, near 1 and between
        network.set_parameters([np.array([[1.0, 0.0]])], [np.zeros(2)])
        network.set_solver(
            "sgd",
            alpha=0.0,
            momentum=0.0,
            nesterov=False,
            beta_1=0.9,
            beta_2=0.999,
            epsilon=1e-8,
            weight_decay=0.0,
        )
        team = _core.Team("serial", 1)
        x = np.concatenate([rng.uniform(-35, 35, 2000), rng.normal(0, 1, 2000)])[:, None]
        p = network.predict(team, x)[:, 0].astype(Wide)
        label = np.zeros(1, np.int32)
        for one, probability in zip(x, p, strict=True):
            result = network.train_epoch(team, one[None], label, None, None, 1, 0.0, "two-phase")
            truth = -np.log(np.clip(probability, 2.0**-52, 1 - 2.0**-52))
            assert abs(result.loss - truth) <= 2.3e-16 * truth
