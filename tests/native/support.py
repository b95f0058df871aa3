"""Problems, networks and teams for the tests of the native core."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parmlp import _core

if TYPE_CHECKING:
    from reference import Network as ReferenceNetwork

TARGETS = _core.simd_targets()
DTYPES = ("float32", "float64")
#: The issue's: more than the cores, none of them a divisor of the batches used here.
WORKERS = (1, 2, 3, 4, 7, 16)
#: Largest difference from the reference, absolute and relative, after a few steps. In bf16 both
#: round the operands, but numbers that differ in their last bit may be rounded apart, by 1 in 256.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10, "bf16": 4e-3}

#: name -> (the core's solver, the reference's settings)
SOLVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {"momentum": 0.0, "nesterov": False}),
    "momentum": ("sgd", {"momentum": 0.9, "nesterov": False}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "adam": ("adam", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    "adamw": ("adamw", {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3}),
}
LEARNING_RATES = {"sgd": 0.5, "momentum": 0.1, "nesterov": 0.1, "adam": 0.05, "adamw": 0.05}

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One training run. The numbers it works on follow from it alone."""

    units: tuple[int, ...] = (6, 19, 5, 3)
    hidden: str = "tanh"
    out: str = "softmax"
    loss: str = "log_loss"
    dtype: str = "float32"
    solver: str = "sgd"
    alpha: float = 0.0
    rows: int = 45
    batch: int = 16
    epochs: int = 2
    weighted: bool = False
    class_indices: bool = False
    slope: float = 0.15
    precision: str = "full"
    seed: int = 0
    caution: float = 1.0  # divides the learning rate

    @property
    def learning_rate(self) -> float:
        """Small enough that no width makes the steps grow, and rounding errors with them."""
        return LEARNING_RATES[self.solver] / self.caution / max(1.0, max(self.units) / 8)


@dataclass(frozen=True)
class Data:
    """Start and data of a run, in the case's dtype, so that all who compute start alike."""

    coefs: list[Array]
    intercepts: list[Array]
    X: Array
    y: Array  # what the core gets: class indices (n,) or (n, outputs)
    dense: Array  # the same as (n, outputs)
    weight: Array | None
    orders: list[Array]  # one an epoch


def draw(case: Case) -> Data:
    """Draw the numbers of a case."""
    rng = np.random.default_rng([case.seed, *case.units, case.rows])
    outputs = case.units[-1]
    coefs = [
        rng.normal(scale=n_in**-0.5, size=(n_in, n_out)).astype(case.dtype)
        for n_in, n_out in zip(case.units, case.units[1:], strict=False)
    ]
    intercepts = [rng.normal(scale=0.3, size=n).astype(case.dtype) for n in case.units[1:]]
    X = rng.normal(size=(case.rows, case.units[0])).astype(case.dtype)
    labels = rng.integers(outputs, size=case.rows).astype(np.int32)
    if case.class_indices or case.out == "softmax":
        dense = np.eye(outputs)[labels]
    elif case.loss == "log_loss":
        dense = rng.integers(2, size=(case.rows, outputs)).astype(float)
    elif case.loss == "poisson":
        dense = rng.poisson(1.0, size=(case.rows, outputs)).astype(float)
    else:
        dense = rng.integers(-2, 3, size=(case.rows, outputs)) / 4.0
    dense = dense.astype(case.dtype)
    weight = rng.uniform(0.2, 2.0, size=case.rows).astype(case.dtype) if case.weighted else None
    orders = [rng.permutation(case.rows).astype(np.int64) for _ in range(case.epochs)]
    return Data(
        coefs, intercepts, X, labels if case.class_indices else dense, dense, weight, orders
    )


def set_solver(network: _core.Network, solver: str, alpha: float = 0.0) -> None:
    """Give a network one of ``SOLVERS``."""
    name, settings = SOLVERS[solver]
    everything = {
        "momentum": 0.0,
        "nesterov": False,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
    }
    network.set_solver(name, alpha=alpha, **(everything | settings))


def core_network(case: Case, data: Data) -> _core.Network:
    """Return the core's network of a case, ready to train."""
    network = _core.Network(
        list(case.units),
        case.hidden,
        case.out,
        case.loss,
        case.dtype,
        case.slope,
        precision=case.precision,
    )
    network.set_parameters(data.coefs, data.intercepts)
    set_solver(network, case.solver, case.alpha)
    return network


def train(
    case: Case,
    data: Data,
    network: _core.Network,
    team: _core.Team,
    schedule: str = "two-phase",
) -> list[float]:
    """Train all epochs of a case; return their losses."""
    return [
        network.train_epoch(
            team, data.X, data.y, order, data.weight, case.batch, case.learning_rate, schedule
        ).loss
        for order in data.orders
    ]


def train_reference(case: Case, data: Data) -> tuple["ReferenceNetwork", list[float]]:
    """Train the reference's network with a case; return it with its losses."""
    import reference  # not at the top: it takes SciPy, and child processes start often

    plain = reference.Network(
        data.coefs,
        data.intercepts,
        case.hidden,
        case.out,
        case.loss,
        case.alpha,
        case.slope,
        case.precision,
    )
    name, settings = SOLVERS[case.solver]
    solver = reference.SOLVERS[name](plain.params, **settings)
    weight = None if data.weight is None else data.weight.astype(float)
    losses = [
        plain.train_epoch(
            solver,
            data.X.astype(float),
            data.dense.astype(float),
            batch_size=case.batch,
            learning_rate=case.learning_rate,
            order=order,
            sample_weight=weight,
        ).loss
        for order in data.orders
    ]
    return plain, losses


def assert_matches_reference(
    case: Case,
    team: _core.Team | None = None,
    *,
    schedule: str = "two-phase",
    data: Data | None = None,
    tolerance: float | None = None,
) -> None:
    """Train the core and the reference, and compare losses, parameters and predictions."""
    data = data or draw(case)
    team = team or make_team("serial", 1)
    network = core_network(case, data)
    losses = train(case, data, network, team, schedule)
    plain, expected_losses = train_reference(case, data)
    if tolerance is None:
        tolerance = TOLERANCE["bf16" if case.precision == "bf16" else case.dtype]
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(losses, expected_losses, **close)
    coefs, intercepts = network.get_parameters()
    for ours, expected in zip([*coefs, *intercepts], plain.params, strict=True):
        np.testing.assert_allclose(ours, expected, **close)
    np.testing.assert_allclose(network.predict(team, data.X), plain.predict(data.X), **close)
    # Training went somewhere: agreeing on a standstill would prove nothing.
    moved = max(
        np.abs(p - start).max()
        for p, start in zip(plain.params, [*data.coefs, *data.intercepts], strict=True)
    )
    assert moved > (2 if case.precision == "bf16" else 20) * tolerance


def make_team(engine: str, workers: int) -> _core.Team:
    """Return a team of any engine."""
    if engine != "openmp":
        return _core.Team(engine, workers)
    from parmlp import _openmp

    return _core.Team("openmp", workers, openmp_team=_openmp.team_function())


def engines() -> tuple[str, ...]:
    """Return the engines of this build that have several workers."""
    try:
        make_team("openmp", 1)
    except ImportError:
        return ("threads",)
    return ("threads", "openmp")


PARALLEL_ENGINES = engines()


def parameter_bytes(network: _core.Network) -> bytes:
    """Return all weights and biases as bytes, so that -0 differs from 0 and NaN equals itself."""
    coefs, intercepts = network.get_parameters()
    return b"".join(a.tobytes() for a in [*coefs, *intercepts])


@contextmanager
def simd_target(name: str) -> Iterator[None]:
    """Make networks created inside use one SIMD target."""
    before = _core.simd_target()
    _core.set_simd_target(name)
    try:
        yield
    finally:
        _core.set_simd_target(before)


def run_python(
    code: str, *args: object, env: dict[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own; ``from native.support import ...`` works in it."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        env=child_environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            out, err = child.communicate(timeout=timeout)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)  # its own forked children too
            raise
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def check_python(code: str, *args: object, **options: Any) -> str:
    """Run a script in a Python of its own, which must succeed; return what it printed."""
    done = run_python(code, *args, **options)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, with the tests on the path."""
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(p for p in (tests, os.environ.get("PYTHONPATH", "")) if p)
    return os.environ | {"PYTHONPATH": path} | (extra or {})
