"""Whatever is handed to the bindings: an error that names the value, and never a crash.

Everything here runs in this process; a crash would end the test session.
"""

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from native.support import Case, Data, core_network, draw, make_team, parameter_bytes
from parmlp import _core

CASE = Case((4, 5, 3), rows=6, batch=4)


def network(units: list[Any], **changes: Any) -> _core.Network:
    arguments = {
        "hidden_activation": "relu",
        "out_activation": "softmax",
        "loss": "log_loss",
        "dtype": "float32",
    }
    return _core.Network(units, **(arguments | changes))


@pytest.mark.parametrize(
    ("units", "error", "text"),
    [
        ([], ValueError, "got 0 entries"),
        ([3], ValueError, "got 1 entries"),
        ([4, 0, 3], ValueError, "got 0"),
        ([4, -2, 3], ValueError, "got -2"),
        ([2**40, 3], ValueError, "1099511627776 units"),
        ([4, 2**70, 3], TypeError, None),
        ([4, 2.5], TypeError, None),
        ([4, None], TypeError, None),
        ("44", TypeError, None),
        (None, TypeError, None),
        (5, TypeError, None),
    ],
)
def test_layer_units(units: Any, error: type[Exception], text: str | None) -> None:
    with pytest.raises(error, match=text):
        network(units)


@pytest.mark.parametrize(
    "units", [[2**31, 2**31], [2**31] * 3, [2**31] * 5, [2**31] * 6, [2**30] * 18, [2**22, 2**24]]
)
def test_networks_too_large_for_any_machine(units: list[int]) -> None:
    """Sizes whose product or sum leaves 64 bits must not wrap around to something small."""
    with pytest.raises((MemoryError, ValueError), match=r"\d{9}"):
        network(units)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"hidden_activation": "foo"}, "'foo'.*known.*leaky_relu"),
        ({"hidden_activation": "logistic"}, "'logistic'"),
        ({"hidden_activation": "softmax"}, "softmax"),
        ({"hidden_activation": "exp"}, "exp"),
        ({"out_activation": "bar"}, "'bar'.*known.*softmax"),
        ({"out_activation": "relu"}, "legal.*log_loss with softmax or sigmoid"),
        ({"out_activation": "exp"}, "legal"),
        ({"loss": "hinge"}, "'hinge'.*known.*poisson"),
        ({"loss": "poisson"}, "legal"),
        ({"loss": "mse"}, "legal"),
        ({"loss": "squared_error", "out_activation": "sigmoid"}, "legal"),
        ({"dtype": "float16"}, "'float16'.*float32, float64"),
        ({"dtype": ""}, "''"),
        ({"leaky_relu_slope": np.nan}, "nan"),
        ({"leaky_relu_slope": -1.0}, r"-1\.0"),
        ({"leaky_relu_slope": np.inf}, "inf"),
    ],
)
def test_names_and_slopes(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        network([4, 5, 3], **changes)


def misaligned(shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    return np.zeros(count * 4 + 1, "u1")[1:].view("f4").reshape(shape)


def f4(*shape: int) -> np.ndarray:
    return np.zeros(shape, "f4")


BAD_X = [
    (f4(4), ValueError, r"X has shape \(4,\)"),
    (f4(6, 3), ValueError, r"X has shape \(6, 3\) where \(-1, 4\)"),
    (f4(6, 4, 1), ValueError, r"X has shape \(6, 4, 1\)"),
    (f4(0, 4), ValueError, "at least one row"),
    (np.zeros((6, 4)), TypeError, "X must be float32"),
    (np.zeros((6, 4), "f2"), TypeError, "X must be float32"),
    (np.zeros((6, 4), "i4"), TypeError, "X must be float32"),
    (np.zeros((6, 4), "?"), TypeError, "X must be float32"),
    (np.zeros((6, 4), "c8"), TypeError, "X must be float32"),
    (np.zeros((6, 4), ">f4"), TypeError, None),
    (np.zeros((6, 4), "O"), TypeError, None),
    (np.zeros((6, 4), "U3"), TypeError, None),
    (np.asfortranarray(f4(6, 4)), ValueError, "X must be C-contiguous"),
    (f4(12, 4)[::2], ValueError, "X must be C-contiguous"),
    (f4(6, 8)[:, :4], ValueError, "X must be C-contiguous"),
    (f4(6, 4)[::-1], ValueError, "X must be C-contiguous"),
    (np.broadcast_to(f4(4), (6, 4)), ValueError, "X must be C-contiguous"),
    (misaligned((6, 4)), ValueError, "X"),
    ([[0.0] * 4] * 6, TypeError, None),
    (None, TypeError, None),
    ("X", TypeError, None),
]
BAD_Y = [
    (np.full(6, 3, "i4"), ValueError, "y holds class 3, the network has 3 outputs"),
    (np.array([0, 0, -1, 0, 0, 0], "i4"), ValueError, "y holds class -1"),
    (np.full(6, 2**31 - 1, "i4"), ValueError, "2147483647"),
    (np.zeros(6, "i8"), TypeError, "y must be int32"),
    (np.zeros(6, "u4"), TypeError, "y must be int32"),
    (f4(6), TypeError, "y must be int32"),
    (np.zeros(5, "i4"), ValueError, r"y has shape \(5,\) where \(6,\)"),
    (np.zeros(12, "i4")[::2], ValueError, "y must be C-contiguous"),
    (f4(6, 2), ValueError, r"y has shape \(6, 2\) where \(6, 3\)"),
    (f4(5, 3), ValueError, r"y has shape \(5, 3\) where \(6, 3\)"),
    (f4(6, 3, 1), ValueError, r"y has shape \(6, 3, 1\)"),
    (f4(), ValueError, r"y has shape \(\)"),
    (np.zeros((6, 3)), TypeError, "y must be float32"),
    (np.asfortranarray(f4(6, 3)), ValueError, "y must be C-contiguous"),
    (misaligned((6, 3)), ValueError, "y"),
    (None, TypeError, None),
]
BAD_ORDER = [
    (np.array([0, 6]), ValueError, "order holds 6, X has rows 0 to 5"),
    (np.array([0, -1]), ValueError, "order holds -1"),
    (np.array([2**62]), ValueError, "4611686018427387904"),
    (np.array([], "i8"), ValueError, "at least one row"),
    (np.zeros((2, 2), "i8"), ValueError, r"order has shape \(2, 2\)"),
    (np.zeros(12, "i8")[::2], ValueError, "order must be C-contiguous"),
    (np.zeros(6, "i4"), TypeError, "order must be int64"),
    (np.zeros(6, "u8"), TypeError, "order must be int64"),
    (np.zeros(6), TypeError, "order must be int64"),
    ([0, 1], TypeError, None),
]
BAD_WEIGHT = [
    (f4(5), ValueError, r"sample_weight has shape \(5,\) where \(6,\)"),
    (f4(6, 1), ValueError, r"sample_weight has shape \(6, 1\)"),
    (np.ones(6), TypeError, "sample_weight must be float32"),
    (f4(12)[::2], ValueError, "sample_weight must be C-contiguous"),
]
BAD_BATCH_SIZE = [
    (0, ValueError, "got 0"),
    (-1, ValueError, "got -1"),
    (1.5, TypeError, None),
    (None, TypeError, None),
    (2**64, TypeError, None),
]
BAD_EPOCHS = [
    (name, *case)
    for name, cases in {
        "X": BAD_X,
        "y": BAD_Y,
        "order": BAD_ORDER,
        "sample_weight": BAD_WEIGHT,
        "batch_size": BAD_BATCH_SIZE,
        "schedule": [
            ("three-phase", ValueError, "'three-phase'.*two-phase"),
            (None, TypeError, None),
        ],
        "learning_rate": [("a", TypeError, None), (None, TypeError, None)],
        "team": [(None, TypeError, None), ("serial", TypeError, None)],
    }.items()
    for case in cases
]


def epoch_arguments(data: Data) -> dict[str, Any]:
    return {
        "team": make_team("threads", 2),
        "X": data.X,
        "y": data.y,
        "order": None,
        "sample_weight": None,
        "batch_size": 4,
        "learning_rate": 0.1,
        "schedule": "two-phase",
    }


@pytest.mark.parametrize(("name", "value", "error", "text"), BAD_EPOCHS)
def test_train_epoch(name: str, value: Any, error: type[Exception], text: str | None) -> None:
    """Nothing is trained, and the network is as usable as before."""
    data = draw(CASE)
    net = core_network(CASE, data)
    before = parameter_bytes(net)
    arguments = epoch_arguments(data)
    wrong = arguments | {name: value}
    if text == "at least one row" and name == "X":
        wrong["y"] = f4(0, 3)
    with pytest.raises(error, match=text):
        net.train_epoch(**wrong)
    assert parameter_bytes(net) == before
    net.train_epoch(**arguments)
    assert parameter_bytes(net) != before


def test_class_indices_where_targets_are_needed() -> None:
    for out, loss in (
        ("sigmoid", "log_loss"),
        ("identity", "squared_error"),
        ("exp", "poisson"),
    ):
        net = network([4, 3], out_activation=out, loss=loss)
        with pytest.raises(ValueError, match="softmax log_loss or mse"):
            net.train_epoch(
                make_team("serial", 1), f4(6, 4), np.zeros(6, "i4"), None, None, 2, 0.1, "two-phase"
            )


def test_batches_larger_than_the_data_are_the_data() -> None:
    data = draw(CASE)
    losses = set()
    for batch_size in (6, 7, 2**31, 2**62, 2**63 - 1):
        net = core_network(CASE, data)
        losses.add(net.train_epoch(**(epoch_arguments(data) | {"batch_size": batch_size})).loss)
    assert len(losses) == 1


def test_read_only_arrays_are_welcome() -> None:
    """joblib hands workers read-only memory maps."""
    data = draw(CASE)
    arguments = epoch_arguments(data) | {
        "order": np.arange(6),
        "sample_weight": np.ones(6, "f4"),
    }
    for array in [*arguments.values(), *data.coefs, *data.intercepts]:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    net = core_network(CASE, data)
    net.train_epoch(**arguments)
    net.predict(arguments["team"], data.X)


@pytest.mark.parametrize(
    ("X", "error", "text"), [case for case in BAD_X if case[2] != "at least one row"]
)
def test_predict(X: Any, error: type[Exception], text: str | None) -> None:
    net = core_network(CASE, draw(CASE))
    with pytest.raises(error, match=text):
        net.predict(make_team("serial", 1), X)


def test_predict_nothing() -> None:
    net = core_network(CASE, draw(CASE))
    predicted = net.predict(make_team("threads", 2), f4(0, 4))
    assert predicted.shape == (0, 3)
    assert predicted.dtype == np.float32


@pytest.mark.parametrize(
    ("coefs", "intercepts", "error", "text"),
    [
        ([], [], ValueError, "2 layers, got 0 coefs and 0 intercepts"),
        ([f4(4, 5)], [f4(5)], ValueError, "2 layers, got 1 coefs and 1"),
        ([f4(4, 4), f4(5, 3)], [f4(5), f4(3)], ValueError, r"coefs\[0\] has shape \(4, 4\)"),
        (
            [f4(4, 5), f4(5, 3)],
            [f4(5), f4(3, 1)],
            ValueError,
            r"intercepts\[1\] has shape \(3, 1\)",
        ),
        ([f4(4, 5), np.zeros((5, 3))], [f4(5), f4(3)], TypeError, r"coefs\[1\] must be float32"),
        ([f4(5, 4).T, f4(5, 3)], [f4(5), f4(3)], ValueError, r"coefs\[0\] must be C-contiguous"),
        ([[1], [2]], [[1], [2]], TypeError, None),
        (None, None, TypeError, None),
    ],
)
def test_set_parameters(
    coefs: Any, intercepts: Any, error: type[Exception], text: str | None
) -> None:
    net = core_network(CASE, draw(CASE))
    before = parameter_bytes(net)
    with pytest.raises(error, match=text):
        net.set_parameters(coefs, intercepts)
    assert parameter_bytes(net) == before


def moments(count: int, dtype: str = "f4") -> list[Any]:
    return [
        ([np.ones((4, 5), "f4"), np.ones((5, 3), dtype)], [np.ones(5, "f4"), np.ones(3, "f4")])
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        ({}, ValueError, "'t'"),
        ({"t": 1}, ValueError, "'moments'"),
        ({"moments": moments(2)}, ValueError, "'t'"),
        ({"t": 1, "moments": moments(1)}, ValueError, "1 moments.* keeps 2"),
        ({"t": 1, "moments": moments(3)}, ValueError, "3 moments"),
        ({"t": -1, "moments": moments(2)}, ValueError, "'t'"),
        ({"t": "a", "moments": moments(2)}, ValueError, "'t'"),
        ({"t": 2**70, "moments": moments(2)}, ValueError, "'t'"),
        ({"t": 1, "moments": "abc"}, ValueError, "'moments'"),
        ({"t": 1, "moments": [1, 2]}, ValueError, "'moments'"),
        ({"t": 1, "moments": moments(2, "f8")}, TypeError, r"coefs\[1\] must be float32"),
        ({"t": 1, "moments": moments(1) + moments(1, "f8")}, TypeError, "must be float32"),
        ([1], TypeError, None),
        (None, TypeError, None),
    ],
)
def test_set_optimizer_state(state: Any, error: type[Exception], text: str | None) -> None:
    """A refused state leaves the old one whole."""
    net = core_network(CASE, draw(CASE))
    settings = {"alpha": 0.0, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    net.set_solver("adam", **settings, beta_1=0.9, beta_2=0.999, epsilon=1e-8)
    with pytest.raises(error, match=text):
        net.set_optimizer_state(state)
    kept = net.get_optimizer_state()
    assert kept["t"] == 0
    for coefs, intercepts in kept["moments"]:
        assert all((a == 0).all() for a in [*coefs, *intercepts])


def test_set_solver() -> None:
    net = core_network(CASE, draw(CASE))
    settings = {"alpha": 0.0, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    with pytest.raises(ValueError, match=r"'lbfgs'.*sgd, adam, adamw"):
        net.set_solver("lbfgs", **settings, beta_1=0.9, beta_2=0.999, epsilon=1e-8)
    with pytest.raises(TypeError):
        net.set_solver("sgd")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("threads", 0), ValueError, "got 0"),
        (("threads", -1), ValueError, "got -1"),
        (("serial", 2), ValueError, "n_threads=2"),
        (("cuda", 1), ValueError, "'cuda'.*serial, threads, openmp"),
        (("openmp", 2), ValueError, "team_function"),
        (("openmp", 2, 3), TypeError, None),
        (("openmp", 2, datetime.datetime_CAPI), ValueError, None),  # another module's capsule
        (("threads", 2**40), TypeError, None),
        (("threads", 1.5), TypeError, None),
        ((None, 1), TypeError, None),
    ],
)
def test_team(arguments: tuple[Any, ...], error: type[Exception], text: str | None) -> None:
    with pytest.raises(error, match=text):
        _core.Team(*arguments)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: _core.activate("relu", f4(2, 2)), ValueError),
        (lambda: _core.activate("relu", f4(8)[::2]), ValueError),
        (lambda: _core.activate("relu", np.zeros(2, int)), TypeError),
        (lambda: _core.activate("relu", [1.0]), TypeError),
        (lambda: _core.activate("swish", f4(2)), ValueError),
        (lambda: make_team("serial", 1).self_check(0, 1), ValueError),
        (lambda: make_team("serial", 1).self_check(1, 0), ValueError),
        (lambda: make_team("serial", 1).self_check(-1, -1), ValueError),
        (lambda: make_team("serial", 1).self_check(1, 2**62), (MemoryError, ValueError)),
    ],
)
def test_the_rest(call: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


def test_infinite_and_nan_data_pass_through() -> None:
    """Finding them is the estimators' task; the core computes with them and hides nothing."""
    data = draw(CASE)
    for bad in (np.nan, np.inf):
        data.X[2, 1] = bad
        net = core_network(CASE, data)
        result = net.train_epoch(**(epoch_arguments(data) | {"batch_size": 6}))
        assert np.isfinite(result.loss) == np.isinf(bad)  # tanh of infinity is 1
        assert not net.parameters_finite()
