"""Activation functions a = f(z) and their derivatives f'(z), both written in z.

z and the results are float64 arrays of shape (n_rows, n_units). ``slope`` is leaky_relu's and is
ignored by the others, so that every function has the same signature. Where a function has a kink
at 0, the derivative there is the one of the negative side, as in scikit-learn's relu.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Array = NDArray[np.float64]
Function = Callable[[Array, float], Array]

_SQRT_2_OVER_PI = np.sqrt(2.0 / np.pi)
_GELU_CUBIC = 0.044715  # Hendrycks & Gimpel (2016), the tanh form


def identity(z: Array, slope: float) -> Array:
    return z


def identity_derivative(z: Array, slope: float) -> Array:
    return np.ones_like(z)


def sigmoid(z: Array, slope: float) -> Array:
    # 1 / (1 + exp(-z)), with the exponent never positive so that nothing overflows
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


def sigmoid_derivative(z: Array, slope: float) -> Array:
    a = sigmoid(z, slope)
    return a * (1.0 - a)


def tanh(z: Array, slope: float) -> Array:
    return np.tanh(z)


def tanh_derivative(z: Array, slope: float) -> Array:
    return 1.0 - np.tanh(z) ** 2


def relu(z: Array, slope: float) -> Array:
    return np.maximum(z, 0.0)


def relu_derivative(z: Array, slope: float) -> Array:
    return np.where(z > 0, 1.0, 0.0)


def leaky_relu(z: Array, slope: float) -> Array:
    return np.where(z > 0, z, slope * z)


def leaky_relu_derivative(z: Array, slope: float) -> Array:
    return np.where(z > 0, 1.0, slope)


def elu(z: Array, slope: float) -> Array:
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0.0)))


def elu_derivative(z: Array, slope: float) -> Array:
    return np.where(z > 0, 1.0, np.exp(np.minimum(z, 0.0)))


def _normal_cdf(z: Array) -> Array:
    cdf: Array = 0.5 * (1.0 + erf(z / np.sqrt(2.0)))
    return cdf


def gelu(z: Array, slope: float) -> Array:
    return z * _normal_cdf(z)


def gelu_derivative(z: Array, slope: float) -> Array:
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return _normal_cdf(z) + z * density


def gelu_tanh(z: Array, slope: float) -> Array:
    return 0.5 * z * (1.0 + np.tanh(_SQRT_2_OVER_PI * (z + _GELU_CUBIC * z**3)))


def gelu_tanh_derivative(z: Array, slope: float) -> Array:
    t = np.tanh(_SQRT_2_OVER_PI * (z + _GELU_CUBIC * z**3))
    inner = _SQRT_2_OVER_PI * (1.0 + 3.0 * _GELU_CUBIC * z**2)
    return 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t**2) * inner


def silu(z: Array, slope: float) -> Array:
    return z * sigmoid(z, slope)


def silu_derivative(z: Array, slope: float) -> Array:
    s = sigmoid(z, slope)
    return s + z * s * (1.0 - s)


def softmax(z: Array, slope: float) -> Array:
    # subtracting the row's maximum changes nothing but keeps exp from overflowing
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def exp(z: Array, slope: float) -> Array:
    return np.exp(z)


#: name -> (f, f')
HIDDEN_ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "identity": (identity, identity_derivative),
    "sigmoid": (sigmoid, sigmoid_derivative),
    "tanh": (tanh, tanh_derivative),
    "relu": (relu, relu_derivative),
    "leaky_relu": (leaky_relu, leaky_relu_derivative),
    "elu": (elu, elu_derivative),
    "gelu": (gelu, gelu_derivative),
    "gelu_tanh": (gelu_tanh, gelu_tanh_derivative),
    "silu": (silu, silu_derivative),
}

#: name -> f; their derivatives stand with the losses, where most of them cancel
OUTPUT_ACTIVATIONS: dict[str, Function] = {
    "identity": identity,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "exp": exp,
}
