"""Many small networks side by side: parmlp.fit_many, and what its rivals make of the same work.

Every network has weights and orders of its own, and all share the rows. fit_many is called as a
user calls it, so an epoch's time is the difference between fits of many epochs and of one:
checking, initial weights and copies are in both. Rivals train from given weights through their own
epochs. Some of the networks are compared: ours with the CPU engine's fits, rivals' with float64.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.gpu.checks import LIMITS
from benchmarks.gpu.records import Record
from parmlp.study.measure import reference
from parmlp.study.measure.problem import Problem, make_problem
from parmlp.study.measure.rivals.base import Array, Result, Work
from parmlp.study.measure.rivals.jax_gpu import Jax
from parmlp.study.measure.rivals.jax_scan import _make_epoch
from parmlp.study.measure.rivals.torch_compile import adam
from parmlp.study.measure.rivals.torch_gpu import Torch
from parmlp.study.measure.workload import DEFAULT, Workload

GOAL_SHARE = 0.5  # of the float32 peak

ROUNDS = 5
MORE_EPOCHS = 20  # of fit_many's longer fits
CHECK_STEPS = 4


@dataclass(frozen=True)
class Many:
    """So many networks of one kind, on so many rows."""

    networks: int = 128
    layers: tuple[int, ...] = (784, 100, 10)
    batch: int = 64
    rows: int = 16384

    @property
    def name(self) -> str:
        """Number, network and batch."""
        return f"{self.networks} x {'-'.join(map(str, self.layers))}/b{self.batch}"

    @property
    def workload(self) -> Workload:
        """What each network trains."""
        configuration = replace(DEFAULT, name="default-float32", precision="float32")
        return Workload(self.layers, self.batch, "random", configuration, self.rows)


def weights_of(many: Many, network: int) -> tuple[list[Array], list[Array]]:
    """Initial weights of one network."""
    rng = np.random.default_rng([7, network])
    coefs = []
    for n_in, n_out in pairwise(many.layers):
        bound = np.sqrt(6.0 / (n_in + n_out))
        coefs.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(np.float32))
    return coefs, [np.zeros(n, np.float32) for n in many.layers[1:]]


def orders_of(many: Many, epoch: int, rows: int | None = None) -> Array:
    """(networks, rows) int64: in which order each network visits its rows."""
    rng = np.random.default_rng([11, epoch])
    orders = [rng.permutation(many.rows)[:rows] for _ in range(many.networks)]
    return np.stack(orders)


# ------------------------------------------------------------------------------------------- rivals


class TorchMany(Torch):
    """Hand-written steps of all networks at once by batched products."""

    def __init__(self, mode: str, many: Many, device: str = "cuda") -> None:
        super().__init__(mode, device)
        self._many = many

    def setup(self, work: Work) -> None:
        """As of one network, with weights of shape (networks, n_in, n_out)."""
        super().setup(work)
        torch, many = self.torch, self._many
        weights = [weights_of(many, network) for network in range(many.networks)]

        def put(arrays: tuple[Array, ...]) -> Any:
            return torch.from_numpy(np.stack(arrays)).to(self._device)

        self.W = [put(layer) for layer in zip(*(coefs for coefs, _ in weights), strict=True)]
        self.b = [put(layer) for layer in zip(*(biases for _, biases in weights), strict=True)]
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.W + self.b]

    def _make_step(self) -> Any:
        c = self.work.configuration
        return self._compiled(functools.partial(many_step, self.torch, c.learning_rate, c.alpha))

    def _batches(self, orders: Any) -> Any:
        return orders.split(self.work.batch, dim=1)


def many_step(  # noqa: PLR0917 (called by position, once a minibatch)
    torch: Any,
    learning_rate: float,
    alpha: float,
    X: Any,
    Y: Any,
    rows: Any,
    W: list[Any],
    b: list[Any],
    moments: list[tuple[Any, Any]],
    total: Any,
    t: Any,
) -> None:
    """Train a minibatch of every network, ``rows`` (networks, batch): relu, softmax, adam."""
    n = rows.shape[1]
    y = Y[rows]
    a = [X[rows]]
    last = len(W) - 1
    for layer in range(len(W)):
        z = torch.baddbmm(b[layer].unsqueeze(1), a[layer], W[layer])
        a.append(torch.relu(z) if layer < last else z)
    log_p = torch.log_softmax(a[-1], 2)
    total.sub_((log_p * y).sum())
    delta = log_p.exp() - y
    for w in W:
        total.add_(0.5 * alpha * (w * w).sum())
    dW, db = [], []
    for layer in range(last, -1, -1):
        dW.append(torch.bmm(a[layer].transpose(1, 2), delta))
        db.append(delta.sum(1))
        if layer:
            delta = torch.bmm(delta, W[layer].transpose(1, 2))
            delta = torch.where(a[layer] > 0, delta, 0.0)
    grads = [(g + alpha * w) / n for g, w in zip(dW[::-1], W, strict=True)]
    grads += [g / n for g in db[::-1]]
    adam(torch, learning_rate, W + b, grads, moments, t)


class JaxMany(Jax):
    """``jax.vmap`` over the networks of the scanned epoch."""

    def __init__(self, many: Many, platform: str = "gpu") -> None:
        super().__init__(platform)
        self._many = many

    def setup(self, work: Work) -> None:
        """As of one network, with weights of shape (networks, n_in, n_out)."""
        super().setup(work)
        jax, many = self.jax, self._many
        jnp = jax.numpy
        weights = [weights_of(many, network) for network in range(many.networks)]
        stacked = jax.tree.map(lambda *arrays: jnp.asarray(np.stack(arrays)), *weights)
        params = list(zip(*stacked, strict=True))
        zeros = jax.tree.map(jnp.zeros_like, params)
        t = jnp.zeros(many.networks, jnp.float32)
        self.state = (params, (zeros, jax.tree.map(jnp.copy, zeros)), t)
        epoch = _make_epoch(jax, work, True, self.matmul)
        self.epoch = jax.jit(jax.vmap(epoch, in_axes=(0, None, None, 0)), donate_argnums=0)

    def run_epoch(self, order: Array) -> None:
        """One pass of every network over its row of ``order``."""
        steps = order.shape[1] // self.work.batch
        with self._in_precision():
            batches = order.astype(np.int32).reshape(len(order), steps, self.work.batch)
            self.state, losses = self.epoch(self.state, self.X, self.y, batches)
            self.jax.block_until_ready(self.state)
        self.loss = float(losses.sum()) / order.size


def check_rival(many: Many, rival: Any, problem: Problem) -> tuple[float, float]:
    """Train some steps; return the errors of loss (of all networks) and of two networks' change."""
    orders = orders_of(many, 1000, CHECK_STEPS * many.batch)
    rival.run_epoch(orders)
    found: Result = rival.result()
    losses = []
    worst = 0.0
    for network in range(many.networks):
        first_or_last = network in (0, many.networks - 1)
        coefs, intercepts = weights_of(many, network)
        own = replace(problem, coefs=coefs, intercepts=intercepts)
        expected = reference.train(many.workload, own, orders[network])
        losses.append(expected.loss)
        if first_or_last:
            mine = Result(
                0.0,
                [W[network] for W in found.coefs],
                [b[network] for b in found.intercepts],
            )
            worst = max(worst, change_error(mine, expected, coefs, intercepts))
    return abs(found.loss / float(np.mean(losses)) - 1), worst


def change_error(
    found: Result, expected: Result, coefs: list[Array], intercepts: list[Array]
) -> float:
    """Error of the parameters' change, relative to the change; NaN where there is one."""
    error = change = 0.0
    for got, wanted, start in zip(
        found.coefs + found.intercepts,
        expected.coefs + expected.intercepts,
        coefs + intercepts,
        strict=True,
    ):
        error += float(np.sum((np.asarray(got, np.float64) - wanted) ** 2))
        change += float(np.sum((np.asarray(wanted, np.float64) - start) ** 2))
    return float(np.sqrt(error / change))


# --------------------------------------------------------------------------------------------- ours


class FitMany:
    """parmlp.fit_many over estimators with seeds 0, 1, 2, ..."""

    def __init__(self, many: Many, engine: str = "cuda") -> None:
        self._many, self._engine = many, engine

    def models(self, epochs: int, engine: str | None = None) -> list[Any]:
        """The estimators, to be trained for so many epochs."""
        from parmlp import MLPClassifier

        c = self._many.workload.configuration
        return [
            MLPClassifier(
                self._many.layers[1:-1],
                alpha=c.alpha,
                batch_size=self._many.batch,
                learning_rate_init=c.learning_rate,
                max_iter=epochs,
                tol=0.0,
                n_iter_no_change=10**9,
                random_state=seed,
                dtype="float32",
                engine=engine or self._engine,
            )
            for seed in range(self._many.networks)
        ]

    def fit(self, epochs: int, X: Array, y: Array, networks: int | None = None) -> list[Any]:
        """Train them all, or the first few."""
        from parmlp import fit_many

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few epochs do not converge
            return fit_many(self.models(epochs)[:networks], X, y)

    def check(self, X: Array, y: Array) -> tuple[float, float]:
        """Errors of loss and change of three networks, against the serial CPU engine's own fits."""
        few = slice(0, max(CHECK_STEPS * self._many.batch, 2 * self._many.layers[-1]))
        found = self.fit(2, X[few], y[few])
        worst_loss = worst_change = 0.0
        for index in sorted({0, len(found) // 2, len(found) - 1}):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected, start = (
                    self.models(epochs, "serial")[index].set_params(learning_rate_init=rate)
                    for epochs, rate in ((2, 1e-3), (1, 1e-30))  # the second stays where it began
                )
                expected.fit(X[few], y[few])
                start.fit(X[few], y[few])
            mine = Result(0.0, found[index].coefs_, found[index].intercepts_)
            wanted = Result(0.0, expected.coefs_, expected.intercepts_)
            change = change_error(mine, wanted, start.coefs_, start.intercepts_)
            loss = abs(found[index].loss_ / expected.loss_ - 1)
            worst_loss, worst_change = max(worst_loss, loss), max(worst_change, change)
        return worst_loss, worst_change


# --------------------------------------------------------------------------------------- the record

Makers = dict[str, Callable[[], Any]]


def rivals_of(many: Many, device: str = "cuda") -> Makers:
    """Rivals by name."""
    if device == "cpu":
        return {
            "torch-bmm-eager": lambda: TorchMany("eager", many, "cpu"),
            "torch-bmm-compile": lambda: TorchMany("compile", many, "cpu"),
            "jax-vmap": lambda: JaxMany(many, "cpu"),
        }
    return {
        "jax-vmap": lambda: JaxMany(many),
        "torch-bmm-graph": lambda: TorchMany("graph", many),
        "torch-bmm-compiled-graph": lambda: TorchMany("compiled-graph", many),
    }


def measure(
    many: Many, rivals: Makers, until: float, engine: str = "cuda", rounds: int = ROUNDS
) -> Record:
    """Return the record: seconds of an epoch of all networks, round by round."""
    problem = make_problem(many.workload)
    labels = problem.labels
    ours = FitMany(many, engine)
    found: dict[str, Record] = {}
    limits = LIMITS["float32"]

    def judge(name: str, errors: tuple[float, float]) -> bool:
        loss, change = errors
        passed = loss <= limits[0] and change <= limits[1]  # NaN fails
        found[name] |= {"check": {"passed": passed, "loss_error": loss, "change_error": change}}
        if not passed:
            found[name]["left_out"] = f"wrong: loss off by {loss:.2g}, change by {change:.2g}"
        return passed

    name = "parmlp-fit_many"
    ready: dict[str, Any] = {}
    found[name] = {"seconds": []}
    start = time.monotonic()
    try:
        if judge(name, ours.check(problem.X, labels)):
            ready[name] = ours
    except Exception as error:
        found[name]["left_out"] = f"{type(error).__name__}: {error}"
    found[name]["setup_seconds"] = time.monotonic() - start
    for name, make in rivals.items():
        record: Record = found.setdefault(name, {"seconds": []})
        if time.time() > until:
            record["left_out"] = "no time left"
            continue
        rival = make()
        record["left_out"] = rival.available(many.workload)
        if record["left_out"]:
            continue
        coefs, intercepts = weights_of(many, 0)
        work = Work(many.workload, 1, problem.X, labels, coefs, intercepts)
        start = time.monotonic()
        try:
            rival.setup(work)
            if judge(name, check_rival(many, rival, problem)):
                ready[name] = rival
        except Exception as error:
            record["left_out"] = f"{type(error).__name__}: {error}"
        record["setup_seconds"] = time.monotonic() - start
    fits: list[list[float]] = []
    for number in range(rounds + 1):
        orders = orders_of(many, number)
        for name, competitor in ready.items():
            if competitor is ours:
                times = []
                for epochs in (1, 1 + MORE_EPOCHS):
                    start = time.perf_counter()
                    ours.fit(epochs, problem.X, labels)
                    times.append(time.perf_counter() - start)
                seconds = (times[1] - times[0]) / MORE_EPOCHS
                fits.append(times)
            else:
                start = time.perf_counter()
                competitor.run_epoch(orders)
                seconds = time.perf_counter() - start
            if number >= 1:  # the first captures graphs
                found[name]["seconds"].append(seconds)
    steps = many.networks * -(-many.rows // many.batch)
    return {
        "task": "many",
        "name": many.name,
        "networks": many.networks,
        "net_steps": steps,
        "flops_per_net_step": many.workload.flops_per_sample * many.batch,
        "goal_share": GOAL_SHARE,
        "fit_seconds": {"epochs": [1, 1 + MORE_EPOCHS], "of_rounds": fits},
        "competitors": found,
    }
