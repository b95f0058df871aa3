"""Solvers: how a gradient g changes a parameter p. One object a parameter list, as scikit-learn.

``step(params, grads, learning_rate)`` changes the arrays of ``params`` in place. The gradients
already hold the L2 term ``alpha * W / S`` for weight matrices and nothing for biases.
"""

import numpy as np

from .activations import Array


class SGD:
    """v <- momentum * v - lr * g; then p <- p + v, or with Nesterov p <- p + momentum * v - lr * g.

    With momentum 0 both are p <- p - lr * g.
    """

    def __init__(self, params: list[Array], momentum: float = 0.9, nesterov: bool = True) -> None:
        self.momentum = momentum
        self.nesterov = nesterov
        self.velocities = [np.zeros_like(p) for p in params]

    def step(self, params: list[Array], grads: list[Array], learning_rate: float) -> None:
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            v = self.momentum * self.velocities[i] - learning_rate * g
            self.velocities[i] = v
            p[...] = p + (self.momentum * v - learning_rate * g if self.nesterov else v)


class Adam:
    """Kingma & Ba (2014), with epsilon where scikit-learn puts it: outside both corrections.

    m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;
    p <- p - lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon)
    """

    weight_decay = 0.0

    def __init__(
        self,
        params: list[Array],
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.t = 0
        self.ms = [np.zeros_like(p) for p in params]
        self.vs = [np.zeros_like(p) for p in params]

    def step(self, params: list[Array], grads: list[Array], learning_rate: float) -> None:
        self.t += 1
        corrected = learning_rate * np.sqrt(1.0 - self.beta_2**self.t) / (1.0 - self.beta_1**self.t)
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            self.ms[i] = self.beta_1 * self.ms[i] + (1.0 - self.beta_1) * g
            self.vs[i] = self.beta_2 * self.vs[i] + (1.0 - self.beta_2) * g**2
            decay = self.weight_decay if p.ndim == 2 else 0.0  # biases are not decayed
            change = corrected * self.ms[i] / (np.sqrt(self.vs[i]) + self.epsilon)
            p[...] = p * (1.0 - learning_rate * decay) - change


class AdamW(Adam):
    """Loshchilov & Hutter (2017): Adam, and weights (not biases) shrink by 1 - lr * weight_decay.

    The decay is decoupled: it goes through no moment and no bias correction, and it is taken of
    the weight as it was before the step.
    """

    def __init__(
        self,
        params: list[Array],
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, beta_1, beta_2, epsilon)
        self.weight_decay = weight_decay


SOLVERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW}
