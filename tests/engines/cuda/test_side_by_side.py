"""fit_many with ``engine="cuda"``: networks side by side, on the simulated device."""

import contextlib
import copy
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_gpu import Simulator
from sklearn.datasets import load_digits

from parmlp import FitManyError, MLPClassifier, MLPRegressor, fit_many
from parmlp.engines.cuda import network as gpu_network
from parmlp.engines.cuda import side_by_side, team
from parmlp.engines.cuda.device import Device, Stream
from parmlp.engines.cuda.driver import CudaError, CudaOutOfMemoryError
from parmlp.engines.cuda.programs import Persistent
from parmlp.engines.cuda.side_by_side import Meeting

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_digits(return_X_y=True)
X, Y = (X[:80, 18:38] / 16).astype(np.float32), Y[:80]
WEIGHTS = np.linspace(0.5, 2, len(Y))


@dataclass
class Launches:
    """How many networks were in each launch of :meth:`Persistent.run_side_by_side`."""

    sizes: list[int] = field(default_factory=list)
    before: Any = None  # called before each


@pytest.fixture(autouse=True)
def here(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated device is the one that engine='cuda' finds."""
    monkeypatch.setattr(team, "find_device", lambda: device)


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Launches:
    launches = Launches()
    run = Persistent.run_side_by_side

    def noting(self: Persistent, epochs: Any, first_step: int, end_step: int, stream: Any) -> None:
        launches.sizes.append(len(epochs))
        if launches.before is not None:
            launches.before()
        run(self, epochs, first_step, end_step, stream)

    monkeypatch.setattr(Persistent, "run_side_by_side", noting)
    return launches


def net(**parameters: Any) -> MLPClassifier:
    defaults = {"hidden_layer_sizes": (6,), "max_iter": 3, "random_state": 0, "batch_size": 32}
    return MLPClassifier(engine="cuda", **{**defaults, **parameters})


def bits(model: Any) -> tuple[Any, ...]:
    arrays = [a.tobytes() for a in model.coefs_ + model.intercepts_]
    return arrays, model.loss_curve_, model.validation_scores_, model.n_iter_, model.stop_reason_


def fit_alone(models: list[Any], *data: Any) -> list[Any]:
    return [copy.deepcopy(model).fit(*data) for model in models]


def assert_same(models: list[Any], alone: list[Any]) -> None:
    for ours, theirs in zip(models, alone, strict=True):
        assert bits(ours) == bits(theirs)


# --------------------------------------------------------------------------- the same bits


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "sgd", "momentum": 0.0, "alpha": 0.0},
        {"solver": "sgd", "learning_rate": "invscaling"},
        {"solver": "adam", "hidden_layer_sizes": (9, 4), "activation": "silu"},
        {"solver": "adamw", "dtype": "float64", "weight_decay": 0.1},
    ],
)
def test_the_bits_are_those_of_fit(
    monkeypatch: pytest.MonkeyPatch, launches: Launches, blocks: int, solver: dict[str, Any]
) -> None:
    monkeypatch.setattr(Persistent, "blocks", blocks)
    models = [
        net(**{"learning_rate_init": rate, "alpha": alpha, "random_state": seed, **solver})
        for seed, (rate, alpha) in enumerate([(1e-3, 1e-4), (1e-2, 0.0), (0.1, 1e-2)])
    ]
    models[1].set_params(shuffle=False, beta_1=0.7, epsilon=1e-3)
    alone = fit_alone(models, X, Y)
    assert launches.sizes == []
    assert fit_many(models, X, Y) == models
    assert_same(models, alone)
    assert len({b"".join(bits(model)[0]) for model in models}) == 3
    assert launches.sizes == [3, 3, 3]


def test_each_ends_when_its_own_fit_would(launches: Launches) -> None:
    models = [
        net(max_iter=2),
        net(early_stopping=True, n_iter_no_change=1, tol=0.9, max_iter=9),  # fewer rows
        net(n_iter_no_change=2, tol=10.0, max_iter=9),
        net(solver="adam", max_iter=6, learning_rate_init=0.01),
        net(early_stopping=True, validation_fraction=0.4, max_iter=5),
    ]
    alone = fit_alone(models, X, Y)
    fit_many(models, X, Y)
    assert_same(models, alone)
    epochs = [model.n_iter_ for model in models]
    assert len(set(epochs)) > 3
    assert launches.sizes == [sum(n >= e for n in epochs) for e in range(1, max(epochs) + 1)]


def test_an_adaptive_learning_rate_is_each_networks_own() -> None:
    adaptive = {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "max_iter": 6}
    models = [net(tol=tol, **adaptive) for tol in (0.0, 0.5)]
    alone = fit_alone(models, X, Y)
    fit_many(models, X, Y)
    assert_same(models, alone)


def test_more_networks_than_the_device_has_multiprocessors(
    device: Device, launches: Launches
) -> None:
    count = 2 * device.multiprocessors + 1
    models = [net(random_state=seed, max_iter=2) for seed in range(count)]
    alone = fit_alone(models, X, Y)
    fit_many(models, X, Y)
    assert_same(models, alone)
    # in two halves, which take turns
    assert sorted(launches.sizes) == [count // 2] * 2 + [count - count // 2] * 2


@pytest.mark.usefixtures("simulator")  # a real GPU may well be in time
@pytest.mark.parametrize("deleted", [(Stream, "wait"), (Stream, "synchronize")])
def test_launches_wait_for_copies_and_the_host_for_launches(
    monkeypatch: pytest.MonkeyPatch, deleted: tuple[type, str]
) -> None:
    """Without either wait the simulator's random turns between streams show it."""
    models = [net(random_state=seed) for seed in range(3)]
    alone = fit_alone(models, X, Y)
    monkeypatch.setattr(*deleted, lambda *_: None)
    try:
        fit_many(models, X, Y)
    except FitManyError:
        return  # weights that are not finite, from memory not yet written
    assert [bits(model) for model in models] != [bits(model) for model in alone]


def test_all_kinds_of_estimators_in_one_list(
    monkeypatch: pytest.MonkeyPatch, launches: Launches
) -> None:
    # what a step of hidden layers of 30 takes is too much for rung 4 now
    monkeypatch.setattr(gpu_network, "_PERSISTENT_FLOPS", 32 * 100 * 30)
    models = [
        net(random_state=1),
        net(hidden_layer_sizes=(5,), random_state=2),
        MLPClassifier(hidden_layer_sizes=(6,), max_iter=3, engine="serial", random_state=3),
        MLPRegressor(hidden_layer_sizes=(6,), engine="cuda", batch_size=32, max_iter=4),
        net(hidden_layer_sizes=(30,), random_state=4),
        net(hidden_layer_sizes=(5,), random_state=5),
        MLPRegressor(hidden_layer_sizes=(6,), max_iter=2, random_state=6),
        net(random_state=7, alpha=0.1),
        net(hidden_layer_sizes=(30,), random_state=8),
        MLPRegressor(hidden_layer_sizes=(6,), engine="cuda", batch_size=32, max_iter=3),
    ]
    for seed in (3, 9):
        models[seed].set_params(random_state=seed)
    alone = fit_alone(models, X, Y)
    fit_many(models, X, Y, n_threads=1)
    assert_same(models, alone)
    assert launches.sizes == [2] * 3 + [2] * 3 + [2] * 3 + [1]
    assert [m.engine_ == "cuda" for m in models] == [m.engine == "cuda" for m in models]


def test_sample_weights_and_rows_lie_on_the_device_once(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [net(random_state=seed) for seed in range(3)]
    alone = fit_alone(models, X, Y, WEIGHTS)
    uploads = []
    upload = Device.upload

    def noting(self: Device, memory: Any, array: Any, *args: Any, **kwargs: Any) -> None:
        uploads.append(np.array(array))
        upload(self, memory, array, *args, **kwargs)

    monkeypatch.setattr(Device, "upload", noting)
    fit_many(models, X, Y, WEIGHTS)
    assert_same(models, alone)
    for array in (X, Y.astype(np.int32), WEIGHTS.astype(np.float32)):
        found = [u for u in uploads if u.dtype == array.dtype and np.array_equal(u, array)]
        assert len(found) == 1


def test_warm_start_and_partial_fit_go_on_as_after_fit() -> None:
    models = [net(warm_start=True, random_state=seed) for seed in range(2)]
    alone = fit_alone(models, X, Y)
    fit_many(models, X, Y)
    for model in alone:
        model.fit(X, Y).partial_fit(X, Y)
    for model in fit_many(models, X, Y):
        model.partial_fit(X, Y)
    assert_same(models, alone)


def test_what_a_fit_needed_on_the_device_is_free_afterwards(
    simulator: Simulator, device: Device
) -> None:
    fit_many([net(random_state=seed) for seed in range(2)], X, Y)
    before = simulator.counters().memory_used
    models = [net(random_state=seed, early_stopping=True) for seed in range(5)]
    fit_many(models, X, Y)
    assert simulator.counters().memory_used == before


# ----------------------------------------------------------------- which train side by side


def test_rows_that_stream_are_trained_on_one_after_another(
    monkeypatch: pytest.MonkeyPatch, launches: Launches
) -> None:
    models = [net(random_state=seed) for seed in range(3)]
    alone = fit_alone(models, X, Y)
    monkeypatch.setattr(gpu_network.Rows, "resident", lambda self, device: None)
    at_work: list[Any] = []
    for model in models:
        model.set_params(callback=lambda report: at_work.append(report.estimator))
    fit_many(models, X, Y)
    assert_same(models, alone)
    assert launches.sizes == []
    assert at_work == [model for model in models for _ in range(3)]


def test_rows_that_are_found_to_stream_only_in_training(
    monkeypatch: pytest.MonkeyPatch, launches: Launches
) -> None:
    models = [net(random_state=seed) for seed in range(3)]
    alone = fit_alone(models, X, Y)
    resident = gpu_network.Rows.resident

    def of_some(self: Any, device: Device) -> Any:
        alone = threading.current_thread() is streaming[0]
        return None if alone else resident(self, device)

    streaming: list[Any] = [None]
    train_epoch = gpu_network.Network.train_epoch

    def noting(self: Any, team: Any, *args: Any, **kwargs: Any) -> Any:
        if args[2] is None:  # the one that does not shuffle
            streaming[0] = threading.current_thread()
        return train_epoch(self, team, *args, **kwargs)

    models[1].set_params(shuffle=False)
    alone[1] = copy.deepcopy(models[1]).fit(X, Y)
    monkeypatch.setattr(gpu_network.Rows, "resident", of_some)
    monkeypatch.setattr(gpu_network.Network, "train_epoch", noting)
    fit_many(models, X, Y)
    assert_same(models, alone)
    assert launches.sizes == [2, 2, 2]


@pytest.mark.parametrize(("most", "sizes"), [(4, [3, 3, 2, 2]), (1, [])])
def test_more_than_can_be_at_once_come_in_equal_groups(
    monkeypatch: pytest.MonkeyPatch, launches: Launches, most: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(side_by_side, "_MOST_NETWORKS", most)
    models = [net(random_state=seed, max_iter=2) for seed in range(5)]
    alone = fit_alone(models, X, Y)
    fit_many(models, X, Y)
    assert_same(models, alone)
    assert launches.sizes == sizes


def test_memory_bounds_how_many_are_at_once(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = gpu_network.Rows(X)
    model = side_by_side.Model(
        (X.shape[1], 6, 10), "relu", "softmax", "log_loss", "float32", 0.01, "full"
    )
    kind = side_by_side.Kind(model, "Adam<false>", 32)
    assert rows.resident(device) is not None

    def most(free: int, held_out: int = 0) -> int:
        monkeypatch.setattr(device, "free_bytes", lambda: free)
        return side_by_side.room_side_by_side(device, kind, rows, held_out).most

    assert most(1 << 30) == side_by_side._MOST_NETWORKS
    assert 1 < most(1 << 18, held_out=80) < most(1 << 18) < 64
    assert most(0) == 1


# ------------------------------------------------------------------------ errors, stops


def test_one_that_diverges_leaves_the_others(launches: Launches) -> None:
    models: list[Any] = [net(random_state=seed, activation="identity") for seed in range(3)]
    for model in models:
        model.set_params(solver="sgd")
    models[1].set_params(learning_rate_init=1e20)
    alone = fit_alone([models[0], models[2]], X, Y)
    with pytest.raises(FitManyError, match=r"^1 of 3 .*: estimators\[1\]") as error:
        fit_many(models, X, Y)
    assert "non-finite parameter weights" in str(error.value.failures[1])
    assert_same([models[0], models[2]], alone)
    assert launches.sizes == [3, 2, 2]


def test_callbacks_stop_or_fail_for_one_network(launches: Launches) -> None:
    models = [net(random_state=seed) for seed in range(4)]
    models[0].set_params(callback=lambda report: report.epoch == 2)
    models[1].set_params(callback=lambda report: 1 / 0)
    alone = fit_alone([models[0], models[2]], X, Y)
    with pytest.raises(FitManyError) as error:
        fit_many(models, X, Y, callback=lambda index, report: index == 3)
    assert {i: type(e) for i, e in error.value.failures.items()} == {1: ZeroDivisionError}
    assert_same([models[0], models[2]], alone)
    assert (models[3].n_iter_, models[3].stop_reason_) == (1, "callback")
    assert launches.sizes == [4, 2, 1]


def test_callbacks_may_wait_for_each_other() -> None:
    barrier = threading.Barrier(3)
    wait = lambda report: barrier.wait(60) < 0  # noqa: E731
    fit_many([net(random_state=seed, callback=wait) for seed in range(3)], X, Y)


def test_a_launch_that_fails_is_an_error_of_all_in_it(launches: Launches) -> None:
    def fail_second() -> None:
        if len(launches.sizes) == 2:
            raise CudaError("the device is on fire")

    launches.before = fail_second
    models: list[Any] = [net(random_state=seed) for seed in range(3)]
    models.append(net(hidden_layer_sizes=(5,)))
    with pytest.raises(FitManyError, match="3 of 4") as error:
        fit_many(models, X, Y)
    for index, failure in error.value.failures.items():
        assert isinstance(failure, CudaError)
        assert failure.__notes__ == [f"This is of estimators[{index}]."]
    assert models[3].stop_reason_ == "max_iter"


def test_one_that_gets_no_memory_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, launches: Launches
) -> None:
    models = [net(random_state=seed) for seed in range(3)]
    models[1].set_params(shuffle=False)
    alone = fit_alone([models[0], models[2]], X, Y)
    prepare = gpu_network.Network._prepare_epoch

    def refusing(self: Any, X: Any, y: Any, order: Any, *args: Any, **kwargs: Any) -> Any:
        if order is None and self._steps_taken:
            raise CudaOutOfMemoryError("no memory")
        return prepare(self, X, y, order, *args, **kwargs)

    monkeypatch.setattr(gpu_network.Network, "_prepare_epoch", refusing)
    with pytest.raises(FitManyError) as error:
        fit_many(models, X, Y)
    assert {i: type(e) for i, e in error.value.failures.items()} == {1: CudaOutOfMemoryError}
    assert_same([models[0], models[2]], alone)
    assert launches.sizes == [3, 2, 2]


@pytest.mark.parametrize("refused", [2, 4])
def test_no_more_threads_to_be_had(
    monkeypatch: pytest.MonkeyPatch, launches: Launches, refused: int
) -> None:
    start, started = threading.Thread.start, []

    def refusing(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) == refused:  # the foreman's, the GPU's, those of the networks
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    models = [net(random_state=seed, max_iter=2) for seed in range(3)]
    if refused == 2:  # the foreman does it
        fit_many(models, X, Y)
        assert launches.sizes == [3, 3]
        return
    with pytest.raises(FitManyError, match=r"1 of 3 .*: estimators\[1\]"):
        fit_many(models, X, Y)
    assert launches.sizes == [2, 2]


def test_keyboard_interrupt_in_a_callback_stops_all(launches: Launches) -> None:
    def interrupt(index: int, report: Any) -> None:
        if index == 1 and report.epoch == 2:
            raise KeyboardInterrupt

    models = [net(random_state=seed, max_iter=50) for seed in range(3)]
    models.append(net(hidden_layer_sizes=(5,)))
    with pytest.warns(UserWarning, match="of 4 estimators 0 had ended, 3 were stopped and 1 not"):
        assert fit_many(models, X, Y, callback=interrupt) == models
    assert [model.stop_reason_ for model in models[:3]] == ["interrupted"] * 3
    assert models[1].n_iter_ == 2
    assert launches.sizes == [3, 3]
    assert_finite = [np.isfinite(W).all() for model in models[:3] for W in model.coefs_]
    assert all(assert_finite)


def test_ctrl_c_stops_all_soon(launches: Launches) -> None:
    seconds: list[float] = []

    def interrupt() -> None:
        if len(launches.sizes) == 3:
            seconds.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    launches.before = interrupt
    forever = {"max_iter": 100_000, "n_iter_no_change": np.inf}
    models: list[Any] = [net(random_state=seed, **forever) for seed in range(4)]
    models.append(MLPClassifier(hidden_layer_sizes=(6,), **forever))
    with pytest.warns(UserWarning, match="of 5 estimators 0 had ended, 5 were stopped and 0 not"):
        fit_many(models, X, Y)
    assert time.monotonic() - seconds[0] < 20  # some 0.1 s on an idle machine
    assert {model.stop_reason_ for model in models} == {"interrupted"}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_threads": 2}, "n_threads=2: leave n_threads at None"),
        ({"schedule": "fork-join"}, "leave it at 'two-phase'"),
    ],
)
def test_what_a_gpu_does_not_have_is_found_before_anything_is_trained(
    parameters: dict[str, Any], message: str
) -> None:
    models = [net(), net(**parameters)]
    with pytest.raises(ValueError, match=message) as error:
        fit_many(models, X, Y)
    assert error.value.__notes__ == ["This is of estimators[1]. No estimator was trained."]
    assert not any(hasattr(model, "coefs_") for model in models)


# ------------------------------------------------------------------------------ the meeting


class FakeProgram:
    """Stands in for rung 4: it notes who was in each launch, and fails where it is told to."""

    def __init__(self, launches: list[list[int]], fails: set[int]) -> None:
        self.module = self
        self._launches = launches
        self._fails = fails

    def steps_side_by_side(self, n_networks: int) -> int:
        return 1

    def queue_losses_side_by_side(self, epochs: list[Any], stream: Any) -> None:
        pass

    def run_side_by_side(
        self, epochs: list[Any], first_step: int, end_step: int, stream: Any
    ) -> None:
        assert (first_step, end_step) == (0, 1)
        self._launches.append(sorted(epoch.network for epoch in epochs))
        if len(self._launches) in self._fails:
            raise CudaError("failed")


@settings(max_examples=60, deadline=None)
@given(
    epochs=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    fails=st.sets(st.integers(1, 5), max_size=1),
    data=st.data(),
)
def test_whoever_is_present_is_in_every_launch_and_nobody_waits_for_ever(
    epochs: list[int], fails: set[int], data: st.DataObject
) -> None:
    launches: list[list[int]] = []
    program: Any = FakeProgram(launches, fails)
    device: Any = SimpleNamespace(
        lock=threading.RLock(),
        run_beside=lambda stream: contextlib.nullcontext(),
        download=lambda memory, array: None,
        driver=SimpleNamespace(call=lambda *_: None, release=lambda *_: None),
    )
    stream: Any = SimpleNamespace(handle=None)
    meeting = Meeting(device, len(epochs), stream)
    waits = [data.draw(st.sampled_from([0.0, 1e-3])) for _ in epochs]
    ended: list[int] = []

    def member(network: int) -> None:
        place = meeting.places[network]
        try:
            for _ in range(epochs[network]):
                time.sleep(waits[network])
                epoch: Any = SimpleNamespace(network=network, steps=1, losses=None)
                place.train(program, epoch, None)
            ended.append(network)
        except CudaError:
            pass
        finally:
            place.leave()

    threads = [threading.Thread(target=member, args=(i,), daemon=True) for i in range(len(epochs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    rounds = range(1, max(epochs) + 1)
    expected = [[i for i, n in enumerate(epochs) if n >= r] for r in rounds]
    failed = min(fails, default=99)
    assert launches == expected[:failed]
    assert sorted(ended) == [i for i, n in enumerate(epochs) if n < failed]
