"""The proof of drop-in: in float64 everything equals scikit-learn's, to 1e-8, after 10 epochs.

Both estimators get a RandomState of the same seed; it must also end in the same state, so that
whatever a program draws next is the same too.
"""

import inspect
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn import neural_network
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression

import parmlp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Data = tuple[NDArray[np.float64], NDArray[Any]]
TOLERANCE = 1e-8


def binary() -> Data:
    X, y = make_classification(150, 8, random_state=3)
    # not strings: scikit-learn 1.7 cannot score them for early stopping
    return X, np.array([-3, 5])[y]


def multiclass() -> Data:
    X, y = make_classification(150, 8, n_informative=5, n_classes=4, random_state=3)
    return X, y * 10


def multilabel() -> Data:
    X, y = make_multilabel_classification(150, 8, n_classes=3, random_state=3)
    return X / 10, y


def regression() -> Data:
    X, y = make_regression(150, 8, random_state=3)
    return X, y / 50


def multioutput() -> Data:
    X, y = make_regression(150, 8, n_targets=3, random_state=3)
    return X, y / 50


def counts() -> Data:
    X, y = make_regression(150, 8, random_state=3)
    return X, np.random.RandomState(3).poisson(np.exp(y / 200)).astype(float)


TARGETS = {f.__name__: f for f in (binary, multiclass, multilabel, regression)}

SOLVERS: dict[str, dict[str, Any]] = {
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
    "sgd-constant": {"solver": "sgd", "learning_rate_init": 0.01},
    # rates that change within ten epochs
    "sgd-invscaling": {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": 0.05,
        "power_t": 0.3,
    },
    "sgd-adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.01,
        "tol": 10.0,
        "n_iter_no_change": 1,
    },
}


def pair_of(target: str, seed: int = 7, **parameters: Any) -> tuple[Any, Any]:
    """Return our estimator and scikit-learn's, with the same parameters and random stream."""
    kind = "MLPClassifier" if target in ("binary", "multiclass", "multilabel") else "MLPRegressor"
    settings = {"hidden_layer_sizes": (11, 6), "batch_size": 32, "max_iter": 10, **parameters}
    ours = getattr(parmlp, kind)(random_state=np.random.RandomState(seed), **settings)
    theirs = getattr(neural_network, kind)(random_state=np.random.RandomState(seed), **settings)
    return ours, theirs


def assert_same_random_state(ours: Any, theirs: Any) -> None:
    a = ours.random_state.get_state(legacy=False)
    b = theirs.random_state.get_state(legacy=False)
    np.testing.assert_array_equal(a["state"]["key"], b["state"]["key"])
    assert a["state"]["pos"] == b["state"]["pos"]
    assert a["has_gauss"] == b["has_gauss"]


def assert_same_fit(ours: Any, theirs: Any, X: Any) -> None:
    """Compare every fitted attribute, and predictions."""
    for a, b in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_", "loss_curve_", "best_loss_"):
        close(getattr(ours, name), getattr(theirs, name), name)
    for name in ("validation_scores_", "best_validation_score_"):
        close(getattr(ours, name), getattr(theirs, name), name)
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        a, b = ours.predict_proba(X), theirs.predict_proba(X)
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
    else:
        np.testing.assert_allclose(
            ours.predict(X), theirs.predict(X), rtol=TOLERANCE, atol=TOLERANCE
        )
    assert_same_random_state(ours, theirs)


def close(a: Any, b: Any, name: str) -> None:
    if a is None or b is None:
        assert a is b, name
    else:
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_fit(activation: str, solver: str, target: str, early_stopping: bool) -> None:
    X, y = TARGETS[target]()
    ours, theirs = pair_of(
        target, activation=activation, early_stopping=early_stopping, **SOLVERS[solver]
    )
    assert ours.fit(X, y) is ours
    theirs.fit(X, y)
    assert len(ours.loss_curve_) >= 2
    assert_same_fit(ours, theirs, X)


@pytest.mark.parametrize("solver", ["sgd-adaptive", "sgd-invscaling"])
def test_learning_rates_change_within_the_epochs_compared(solver: str) -> None:
    # or the grid above would not test them
    X, y = regression()
    ours, theirs = pair_of("regression", **SOLVERS[solver])
    ours.fit(X, y)
    theirs.fit(X, y)
    rate = ours._session.learning_rate.current
    assert rate == theirs._optimizer.learning_rate
    assert rate < ours.learning_rate_init / 4


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("target", [*TARGETS, "multioutput"])
def test_weights_and_order(
    target: str, shuffle: bool, weighted: bool, early_stopping: bool
) -> None:
    X, y = {**TARGETS, "multioutput": multioutput}[target]()
    w = np.random.RandomState(1).uniform(0.1, 2.0, len(X)) if weighted else None
    ours, theirs = pair_of(target, shuffle=shuffle, early_stopping=early_stopping, alpha=0.1)
    ours.fit(X, y, sample_weight=w)
    theirs.fit(X, y, sample_weight=w)
    assert_same_fit(ours, theirs, X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_poisson(solver: str, weighted: bool) -> None:
    X, y = counts()
    w = np.random.RandomState(1).uniform(0.1, 2.0, len(X)) if weighted else None
    settings = {**SOLVERS[solver], "learning_rate_init": 0.01}
    ours, theirs = pair_of("counts", loss="poisson", **settings)
    ours.fit(X, y, w)
    theirs.fit(X, y, w)
    assert_same_fit(ours, theirs, X)


@pytest.mark.parametrize(
    "parameters",
    [
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": 5},
        {"hidden_layer_sizes": (7, 5, 3, 4)},
        {"batch_size": 1},
        {"batch_size": 150},
        {"batch_size": "auto"},
        {"momentum": 0.0, "solver": "sgd"},
        {"nesterovs_momentum": False, "solver": "sgd"},
        {"beta_1": 0.5, "beta_2": 0.7, "epsilon": 1e-2},
        {"early_stopping": True, "validation_fraction": 0.33},
        {"n_iter_no_change": 2, "tol": 1.0},
        {"max_iter": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_other_parameters(target: str, parameters: dict[str, Any]) -> None:
    X, y = TARGETS[target]()
    ours, theirs = pair_of(target, **parameters)
    ours.fit(X, y)
    theirs.fit(X, y)
    assert_same_fit(ours, theirs, X)


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
def test_batch_size_beyond_the_rows() -> None:
    X, y = multiclass()
    ours, theirs = pair_of("multiclass", batch_size=1000)
    ours.fit(X, y)
    theirs.fit(X, y)
    assert_same_fit(ours, theirs, X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("target", TARGETS)
def test_partial_fit(target: str, solver: str, weighted: bool) -> None:
    X, y = TARGETS[target]()
    w = np.random.RandomState(1).uniform(0.1, 2.0, len(X))
    ours, theirs = pair_of(target, **SOLVERS[solver])
    first: dict[str, Any] = {"classes": np.unique(y)} if hasattr(ours, "predict_proba") else {}
    if target == "multilabel":
        first = {"classes": np.arange(3)}
    for epoch in range(10):
        rows = slice(0, 70) if epoch % 3 else slice(50, 150)
        some = w[rows] if weighted else None
        ours.partial_fit(X[rows], y[rows], sample_weight=some, **first)
        theirs.partial_fit(X[rows], y[rows], sample_weight=some, **first)
        first = {}
    assert_same_fit(ours, theirs, X)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_warm_start(target: str, early_stopping: bool, solver: str) -> None:
    X, y = TARGETS[target]()
    ours, theirs = pair_of(
        target, **SOLVERS[solver], early_stopping=early_stopping, warm_start=True
    )
    for max_iter in (4, 1, 5):
        for estimator in (ours, theirs):
            estimator.set_params(max_iter=max_iter).fit(X, y)
    assert_same_fit(ours, theirs, X)


def test_partial_fit_after_fit() -> None:
    X, y = multiclass()
    ours, theirs = pair_of("multiclass", max_iter=5)
    for estimator in (ours, theirs):
        estimator.fit(X, y)
        for _ in range(5):
            estimator.partial_fit(X, y)
    assert_same_fit(ours, theirs, X)


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_input(layout: Any) -> None:
    X, y = multiclass()
    X[X < 0.3] = 0
    ours, theirs = pair_of("multiclass")
    ours.fit(layout(X), y)
    theirs.fit(layout(X), y)
    assert_same_fit(ours, theirs, layout(X))


def test_sparse_multilabel_targets() -> None:
    X, y = multilabel()
    ours, theirs = pair_of("multilabel")
    ours.fit(X, sparse.csr_matrix(y))
    theirs.fit(X, sparse.csr_matrix(y))
    prediction = ours.predict(X)
    assert sparse.issparse(prediction)
    np.testing.assert_array_equal(prediction.toarray(), theirs.predict(X).toarray())
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)


def test_one_class() -> None:
    X, _ = binary()
    y = np.full(len(X), "only")
    ours, theirs = pair_of("binary")
    ours.fit(X, y)
    theirs.fit(X, y)
    assert_same_fit(ours, theirs, X)
    assert ours.predict_proba(X).shape == (len(X), 2)


@pytest.mark.parametrize("target", ["binary", "multiclass", "regression"])
def test_float32_follows_x(target: str) -> None:
    X, y = TARGETS[target]()
    ours, theirs = pair_of(target)
    ours.fit(X.astype(np.float32), y)
    theirs.fit(X.astype(np.float32), y)
    for a, b in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert a.dtype == b.dtype == np.float32
        # adam turns rounding into changes of the order of its steps; ten epochs are 50 of 1e-3
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-3)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_constructor_begins_as_scikit_learns(kind: str) -> None:
    ours = inspect.signature(getattr(parmlp, kind)).parameters
    theirs = inspect.signature(getattr(neural_network, kind)).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name
    for name in list(ours)[len(theirs) :]:
        assert ours[name].kind == inspect.Parameter.KEYWORD_ONLY, name


@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_methods_take_what_scikit_learns_take(kind: str, method: str) -> None:
    ours = inspect.signature(getattr(getattr(parmlp, kind)(), method)).parameters
    theirs = inspect.signature(getattr(getattr(neural_network, kind)(), method)).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"early_stopping": True, "n_iter_no_change": 1, "tol": 0.1},
        {"tol": 1.0, "n_iter_no_change": 2},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
    ],
    ids=["to the end", "early stopping", "no improvement", "adaptive"],
)
def test_verbose_prints_scikit_learns_lines(
    parameters: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    X, y = multiclass()
    ours, theirs = pair_of("multiclass", verbose=True, **{"max_iter": 40, **parameters})
    ours.fit(X, y)
    our_lines = capsys.readouterr().out
    theirs.fit(X, y)
    assert our_lines == capsys.readouterr().out
    assert our_lines.startswith("Iteration 1, loss = ")
