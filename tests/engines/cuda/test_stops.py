"""A stop within an epoch: soon, between two steps, and with the weights and moments reached."""

import signal
import time
from typing import Any

import numpy as np
import pytest
from simulated_gpu import Simulator
from sklearn.datasets import load_digits

from parmlp import MLPClassifier, _core, fit_many
from parmlp.engines.cuda import network as gpu_network
from parmlp.engines.cuda import programs, team
from parmlp.engines.cuda.device import Device, Graph
from parmlp.engines.cuda.network import Network, Rows
from parmlp.engines.cuda.programs import LADDER, Model, Persistent, Program
from parmlp.estimators._samples import Samples

X, Y = load_digits(return_X_y=True)
X, Y = (X[:120] / 16).astype(np.float32), Y[:120].astype(np.int32)
MODEL = Model((64, 9, 10), "tanh", "softmax", "log_loss", "float32", 0.01, "full")
BATCH_SIZE = 10
STEPS = len(Y) // BATCH_SIZE
ORDER = np.random.default_rng(4).permutation(len(Y)).astype(np.int64)
W = np.linspace(0.5, 1.5, len(Y)).astype(np.float32)


@pytest.fixture(autouse=True)
def two_steps_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Program, "steps_at_once", 2)


class StopFlag:
    """As ``_core.StopFlag``, set when it is asked the n-th time; calls ``seen`` whenever asked."""

    def __init__(self, n: int, seen: Any = None) -> None:
        self.asked, self._n, self._seen = 0, n, seen

    def is_set(self) -> bool:
        self.asked += 1
        if self._seen is not None:
            self._seen()
        return self.asked >= self._n


def start(device: Device, rung: str) -> Network:
    rng = np.random.default_rng(3)
    network = Network(device, MODEL, rung)
    shapes = [MODEL.shape(layer) for layer in range(MODEL.layers)]
    network.set_parameters(
        [rng.normal(scale=0.2, size=shape).astype(np.float32) for shape in shapes],
        [rng.normal(scale=0.2, size=shape[1]).astype(np.float32) for shape in shapes],
    )
    network.set_solver(
        "adam",
        alpha=0.1,
        momentum=0.0,
        nesterov=False,
        beta_1=0.9,
        beta_2=0.99,
        epsilon=1e-8,
        weight_decay=0.0,
    )
    return network


def epoch(network: Network, order: Any = ORDER, stop: Any = None, rows: Rows | None = None) -> Any:
    rows = rows or Rows(X)
    return network.train_epoch(
        None, rows, Y, order, W, BATCH_SIZE, 0.01, "two-phase", stop=stop
    ).loss


def state(network: Network) -> bytes:
    """Return weights, moments and the count of steps."""
    kept = network.get_optimizer_state()
    groups = [network.get_parameters(), *kept["moments"]]
    arrays = [array for coefs, intercepts in groups for array in (*coefs, *intercepts)]
    return repr(kept["t"]).encode() + b"".join(array.tobytes() for array in arrays)


@pytest.mark.parametrize("rung", LADDER)
def test_an_epoch_in_parts_has_the_bits_of_the_whole(
    device: Device, monkeypatch: pytest.MonkeyPatch, rung: str
) -> None:
    outcomes = []
    for steps in (1, 5, STEPS):
        monkeypatch.setattr(Program, "steps_at_once", steps)
        network = start(device, rung)
        losses = [epoch(network) for _ in range(3)]  # the third replays a graph
        outcomes.append((losses, state(network)))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("blocks", [1, 4])
def test_clusters_in_parts(device: Device, monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    monkeypatch.setattr(Persistent, "blocks", blocks)
    whole, parts = start(device, "persistent"), start(device, "persistent")
    loss = epoch(parts)
    monkeypatch.setattr(Program, "steps_at_once", STEPS)
    assert epoch(whole) == loss
    assert state(parts) == state(whole)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("rung", LADDER)
def test_a_stop_leaves_the_weights_of_the_steps_taken(
    device: Device, monkeypatch: pytest.MonkeyPatch, rung: str, streaming: bool
) -> None:
    if streaming:
        monkeypatch.setattr(Rows, "resident", lambda self, device: None)
        monkeypatch.setattr(gpu_network, "_STREAM_BYTES", 3 * BATCH_SIZE * X.shape[1] * 4)
    stopped, plain = start(device, rung), start(device, rung)
    rows = Rows(X)
    # asked once as the epoch begins and then before each part; streaming in threes: 2, 1, 2, 1
    taken = 6
    asked = 6 if streaming else 5
    for before in range(3):  # in the first epoch, in the second, and where a graph is replayed
        with pytest.raises(KeyboardInterrupt):
            epoch(stopped, stop=StopFlag(asked), rows=rows)
        epoch(plain, ORDER[: taken * BATCH_SIZE])
        assert state(stopped) == state(plain)
        assert stopped.get_optimizer_state()["t"] == (before + 1) * taken + before * STEPS
        # and it goes on
        assert epoch(stopped, rows=rows) == epoch(plain)
        assert state(stopped) == state(plain)


@pytest.mark.parametrize("rung", ["tiled", "persistent"])
def test_at_most_two_parts_are_queued(simulator: Simulator, device: Device, rung: str) -> None:
    network = start(device, rung)
    waiting: list[int] = []

    def seen() -> None:
        counters = simulator.counters()
        waiting.append(counters.launches - counters.kernels_run)

    epoch(network, stop=StopFlag(1000, seen))
    per_part = 1 if rung == "persistent" else 2 * network._trainer.launches_per_step
    assert len(waiting) == 1 + STEPS // 2
    # the part before the next one waits; the one before that is done
    assert 0 < max(waiting[2:]) <= per_part


def test_graphs_are_in_parts_too(simulator: Simulator, device: Device) -> None:
    network, rows = start(device, "tiled"), Rows(X)
    for _ in range(2):
        epoch(network, rows=rows)
    assert simulator.counters().graph_launches == STEPS // 2
    with pytest.raises(KeyboardInterrupt):
        epoch(network, rows=rows, stop=StopFlag(3))
    assert simulator.counters().graph_launches == STEPS // 2 + 1


def test_nothing_is_queued_any_more_when_an_epoch_was_stopped(
    simulator: Simulator, device: Device
) -> None:
    network, rows = start(device, "tiled"), Rows(X)  # memory that is freed waits for all, too
    with pytest.raises(KeyboardInterrupt):
        epoch(network, stop=StopFlag(5), rows=rows)
    counters = simulator.counters()
    assert counters.kernels_run == counters.launches


def test_a_part_is_some_work(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def steps(rung: str, units: tuple[int, ...], rows: int, dtype: str = "float32") -> int:
        model = Model(units, "relu", "softmax", "log_loss", dtype, 0.01, "full")
        program = object.__new__(LADDER[rung])
        program.device, program.model, program.max_rows = device, model, rows
        program._blocks = 2
        return program.steps_at_once

    small, wide = steps("persistent", (41, 64, 23), 64), steps("tensor-cores", (784, 1024, 10), 128)
    assert small > wide > 1
    assert steps("persistent", (41, 64, 23), 64, "float64") < small / 4
    assert steps("tensor-cores", (784, 2048, 2048, 10), 8192) == 1
    assert steps("tensor-cores", (5, 2), 1) * 4e-6 < programs._LOOK_SECONDS


# ------------------------------------------------------------------------------ whole fits

PARAMETERS: dict[str, Any] = {
    "hidden_layer_sizes": (9,),
    "batch_size": BATCH_SIZE,
    "max_iter": 5,
    "random_state": 7,
    "shuffle": False,
}


@pytest.fixture
def here(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "find_device", lambda: device)


def interrupt_launch(monkeypatch: pytest.MonkeyPatch, number: int, how: Any) -> None:
    """Have ``how()`` called right after the n-th launch of rung 4 or of a graph."""
    launch, replay, count = Device.launch, Graph.launch, [0]

    def counted() -> None:
        count[0] += 1
        if count[0] == number:
            how()

    def launch_and_count(self: Device, kernel: Any, *arguments: Any, **options: Any) -> None:
        launch(self, kernel, *arguments, **options)
        if kernel.name == "train_steps":
            counted()

    def replay_and_count(self: Graph, stream: Any) -> None:
        replay(self, stream)
        counted()

    monkeypatch.setattr(Device, "launch", launch_and_count)
    monkeypatch.setattr(Graph, "launch", replay_and_count)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("by_graph", [False, True])
def test_ctrl_c_within_an_epoch(monkeypatch: pytest.MonkeyPatch, by_graph: bool) -> None:
    """As the CPU engines have it: the weights reached, a warning, and an epoch that does not count.

    Rung 4 is in the second epoch then, graphs are in the third.
    """
    parts, whole_epochs = STEPS // 2, 1
    number = parts + 2
    if by_graph:
        monkeypatch.setattr(gpu_network, "_PERSISTENT_FLOPS", 0)
        whole_epochs = 2
    before = MLPClassifier(engine="cuda", **{**PARAMETERS, "max_iter": whole_epochs})
    with pytest.warns(UserWarning, match="Maximum iterations"):
        before.fit(X, Y)
    interrupt_launch(monkeypatch, number, lambda: signal.raise_signal(signal.SIGINT))
    model = MLPClassifier(engine="cuda", **PARAMETERS)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, Y)
    assert model.stop_reason_ == "interrupted"
    assert model.n_iter_ == len(model.loss_curve_) == whole_epochs
    assert model.loss_curve_ == before.loss_curve_
    steps = whole_epochs * STEPS + 2 * 2
    assert model._session._network.get_optimizer_state()["t"] == steps
    # the same number of steps by calls of partial_fit
    reached = MLPClassifier(engine="cuda", **PARAMETERS)
    for _ in range(whole_epochs):
        reached.partial_fit(X, Y, classes=np.arange(10))
    reached.partial_fit(X[: 4 * BATCH_SIZE], Y[: 4 * BATCH_SIZE])
    for a, b in zip(model.coefs_, reached.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(model.coefs_, before.coefs_, strict=True))
    assert model.predict(X).shape == Y.shape


@pytest.mark.usefixtures("here")
def test_a_flag_that_another_thread_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As fit_many does: whoever sets it warns."""
    flag = _core.StopFlag()
    interrupt_launch(monkeypatch, STEPS // 2 + 3, flag.set)
    model = MLPClassifier(engine="cuda", **PARAMETERS)
    fit = model._check_fit(Samples(X, Y, None), incremental=False)
    model._train(fit, None, np.random.RandomState(7), stop=flag)
    assert model.stop_reason_ == "interrupted"
    assert model.n_iter_ == 1
    # set when three parts were queued; noticed before the next
    assert model._session._network.get_optimizer_state()["t"] == STEPS + 3 * 2


@pytest.mark.usefixtures("here")
def test_side_by_side(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that share launches: the same bits in parts, and all stop after the same steps."""
    settings = [{"random_state": seed, "early_stopping": seed == 2} for seed in range(3)]

    def train() -> list[MLPClassifier]:
        kind = {**PARAMETERS, "max_iter": 2, "validation_fraction": 0.2, "tol": 0.0}
        models = [MLPClassifier(engine="cuda", **{**kind, **own}) for own in settings]
        return fit_many(models, X, Y)

    def bits(model: Any) -> bytes:
        return b"".join(array.tobytes() for array in model.coefs_ + model.intercepts_)

    in_parts = [bits(model) for model in train()]
    with monkeypatch.context() as patch:
        patch.setattr(Program, "steps_at_once", STEPS)
        assert [bits(model) for model in train()] == in_parts

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.5)  # the main thread hears of it within 0.05 s, and sets the flag

    interrupt_launch(monkeypatch, STEPS // 2 + 3, interrupt)
    with pytest.warns(UserWarning, match="of 3 estimators 0 had ended, 3 were stopped"):
        stopped = train()
    assert {model.stop_reason_ for model in stopped} == {"interrupted"}
    assert {model.n_iter_ for model in stopped} == {1}
    # three parts of the second epoch; the first one of the third network was shorter
    taken = [model._session._optimizer_state()["t"] for model in stopped]
    assert taken == [STEPS + 6, STEPS + 6, 10 + 6]


def test_networks_that_find_no_room_wait_for_others(device: Device) -> None:
    program = object.__new__(Persistent)
    program.device, program._blocks = device, device.multiprocessors
    assert program.steps_side_by_side(1) == 2
    assert program.steps_side_by_side(2) == 1
    assert program.steps_side_by_side(9) == 1
