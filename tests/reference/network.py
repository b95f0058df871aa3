"""A multilayer perceptron trained by minibatch backpropagation: the paper's equations, float64.

forward   z_l = a_{l-1} W_l + b_l,  a_l = f(z_l),  a_0 = x                    (rows are examples)
backward  delta_L from the loss;  delta_{l-1} = (delta_l W_l^T) * f'(z_{l-1})
gradient  dL/dW_l = (a_{l-1}^T delta_l + alpha W_l) / S,   dL/db_l = sum_i delta_l / S

S is the sum of the minibatch's row weights (its number of rows where no weights are given). The
reported loss of a minibatch has the L2 term alpha / (2 S) * sum_l ||W_l||^2, with the weights as
they were before the step; biases are not penalized. An epoch's loss is the mean of its minibatch
losses weighted by their numbers of rows (not by their row weights), as in scikit-learn.

With precision "bf16" the operands of every product (a, delta and W) are first rounded to bfloat16,
also delta in dL/db_l, its product with ones; sums and all else stay exact. Predictions stay so too.
"""

from dataclasses import dataclass, field

import numpy as np

from .activations import HIDDEN_ACTIVATIONS, OUTPUT_ACTIVATIONS, Array
from .bf16 import round_to_bf16
from .losses import LOSSES
from .solvers import SGD, Adam


@dataclass
class EpochTrace:
    """What an epoch did: its loss, and the loss of each minibatch in order."""

    loss: float
    batch_losses: list[float]


@dataclass
class Network:
    """Parameters ``coefs[l]`` of shape (n_in, n_out) and ``intercepts[l]`` of shape (n_out,)."""

    coefs: list[Array]
    intercepts: list[Array]
    hidden_activation: str = "relu"
    out_activation: str = "identity"
    loss: str = "squared_error"
    alpha: float = 0.0
    leaky_relu_slope: float = 0.01
    precision: str = "full"
    params: list[Array] = field(init=False)

    def __post_init__(self) -> None:
        self.coefs = [np.array(w, dtype=np.float64) for w in self.coefs]
        self.intercepts = [np.array(b, dtype=np.float64) for b in self.intercepts]
        self.params = self.coefs + self.intercepts

    def _operand(self, values: Array) -> Array:
        return round_to_bf16(values) if self.precision == "bf16" else values

    def forward(self, X: Array, *, training: bool = True) -> tuple[list[Array], list[Array]]:
        """Return all pre-activations [z_1, ..., z_L] and activations [a_0, ..., a_L]."""
        f, _ = HIDDEN_ACTIVATIONS[self.hidden_activation]
        f_out = OUTPUT_ACTIVATIONS[self.out_activation]
        zs: list[Array] = []
        activations = [np.asarray(X, dtype=np.float64)]
        last = len(self.coefs) - 1
        for layer, (W, b) in enumerate(zip(self.coefs, self.intercepts, strict=True)):
            a = activations[-1]
            z = (self._operand(a) @ self._operand(W) if training else a @ W) + b
            zs.append(z)
            activations.append((f_out if layer == last else f)(z, self.leaky_relu_slope))
        return zs, activations

    def predict(self, X: Array) -> Array:
        """Output activations of shape (n_rows, n_outputs)."""
        return self.forward(X, training=False)[1][-1]

    def backward(
        self, X: Array, y: Array, sample_weight: Array | None = None
    ) -> tuple[float, list[Array], list[Array]]:
        """Return a minibatch's loss with its L2 term, and gradients of coefs and intercepts."""
        _, derivative = HIDDEN_ACTIVATIONS[self.hidden_activation]
        zs, activations = self.forward(X)
        y = np.asarray(y, dtype=np.float64).reshape(activations[-1].shape)
        w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        S = w.sum()

        loss, delta = LOSSES[self.loss, self.out_activation](zs[-1], activations[-1], y, w)
        loss += 0.5 * self.alpha * sum(float((W**2).sum()) for W in self.coefs) / S

        coef_grads: list[Array] = []
        intercept_grads: list[Array] = []
        for layer in reversed(range(len(self.coefs))):
            W = self.coefs[layer]
            delta = self._operand(delta)
            product = self._operand(activations[layer]).T @ delta
            coef_grads.insert(0, (product + self.alpha * W) / S)
            intercept_grads.insert(0, delta.sum(axis=0) / S)
            if layer > 0:
                below = delta @ self._operand(W).T
                delta = below * derivative(zs[layer - 1], self.leaky_relu_slope)
        return loss, coef_grads, intercept_grads

    def train_epoch(
        self,
        solver: SGD | Adam,
        X: Array,
        y: Array,
        *,
        batch_size: int,
        learning_rate: float,
        order: np.ndarray | None = None,
        sample_weight: Array | None = None,
    ) -> EpochTrace:
        """One pass over the rows ``order`` (all of them, in order, where None)."""
        rows = np.arange(len(X)) if order is None else np.asarray(order)
        batch_losses: list[float] = []
        total = 0.0
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            w = None if sample_weight is None else sample_weight[batch]
            loss, coef_grads, intercept_grads = self.backward(X[batch], y[batch], w)
            solver.step(self.params, coef_grads + intercept_grads, learning_rate)
            batch_losses.append(loss)
            total += loss * len(batch)
        return EpochTrace(total / len(rows), batch_losses)
