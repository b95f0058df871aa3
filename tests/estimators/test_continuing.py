"""Going on from what there is: assigned weights, warm_start, partial_fit, copies and pickles."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from parmlp import MLPClassifier, MLPRegressor
from reference import Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)


def assert_same_bits(a: Any, b: Any) -> None:
    for ours, theirs in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def expected_proba(model: Any) -> Any:
    return Network(model.coefs_, model.intercepts_, "relu", "softmax", "log_loss").predict(X)


def test_predict_honors_edits_in_place() -> None:
    model = MLPClassifier(max_iter=5, random_state=0).fit(X, Y)
    before = model.predict_proba(X)
    model.coefs_[0] *= -2.0
    model.intercepts_[1][0] += 1.0
    after = model.predict_proba(X)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, expected_proba(model), rtol=1e-10)


def test_predict_honors_assignments() -> None:
    model = MLPClassifier(max_iter=5, random_state=0).fit(X, Y)
    # another network altogether, of lists and Fortran-ordered arrays
    rng = np.random.default_rng(0)
    model.coefs_ = [rng.normal(size=(4, 2)).tolist(), np.asfortranarray(rng.normal(size=(2, 3)))]
    model.intercepts_ = [[0.5, -0.5], np.zeros(3)]
    arrays = [np.array(W) for W in model.coefs_], [np.array(b) for b in model.intercepts_]
    expected = Network(*arrays, "relu", "softmax", "log_loss").predict(X)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-10)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("method", ["partial_fit", "warm_start"])
def test_training_honors_edits(method: str, assign: bool) -> None:
    """Training goes on from the edited weights: one epoch of plain sgd shows it exactly."""
    model = MLPClassifier(
        (6,),
        solver="sgd",
        momentum=0.0,
        learning_rate_init=0.1,
        max_iter=1,
        random_state=0,
        warm_start=True,
        shuffle=False,
        batch_size=50,
    ).fit(X, Y)
    if assign:
        model.coefs_ = [W + 0.25 for W in model.coefs_]
        model.intercepts_ = [b - 0.5 for b in model.intercepts_]
    else:
        model.coefs_[0] += 0.25
        model.intercepts_[0][2] = 3.0
    plain = Network(model.coefs_, model.intercepts_, "relu", "softmax", "log_loss", model.alpha)
    for start in (0, 50, 100):
        rows = slice(start, start + 50)
        _, coef_grads, intercept_grads = plain.backward(X[rows], np.eye(3)[Y[rows]])
        for p, g in zip(plain.params, coef_grads + intercept_grads, strict=True):
            p[...] = p - 0.1 * g
    if method == "partial_fit":
        model.partial_fit(X, Y)
    else:
        model.fit(X, Y)
    for ours, theirs in zip(model.coefs_ + model.intercepts_, plain.params, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_fit_without_warm_start_forgets() -> None:
    model = MLPClassifier(max_iter=5, random_state=0).fit(X, Y)
    first = copy.deepcopy(model)
    model.coefs_[0][:] = 7
    model.fit(X, Y)
    assert_same_bits(model, first)
    assert len(model.loss_curve_) == 5


def test_weights_are_canonical_arrays() -> None:
    model = MLPClassifier((9, 5), max_iter=2).fit(X, Y)
    assert [W.shape for W in model.coefs_] == [(4, 9), (9, 5), (5, 3)]
    assert [b.shape for b in model.intercepts_] == [(9,), (5,), (3,)]
    for array in model.coefs_ + model.intercepts_:
        assert array.flags.c_contiguous
        assert array.flags.writeable


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.coefs_.pop(), "coefs_ holds 1 arrays and intercepts_ 2"),
        (lambda m: m.coefs_.__setitem__(0, np.ones((5, 100))), r"coefs_\[0\] has shape \(5, 100\)"),
        (lambda m: m.coefs_.__setitem__(1, np.ones((99, 3))), r"coefs_\[1\] has shape \(99, 3\)"),
        (lambda m: m.coefs_.__setitem__(1, np.ones((100, 2))), r"intercepts_\[1\] has shape"),
        (lambda m: m.coefs_.__setitem__(0, np.ones(4)), r"coefs_\[0\] has shape \(4,\)"),
        (lambda m: m.intercepts_.__setitem__(0, np.ones(3)), r"intercepts_\[0\] has shape \(3,\)"),
        (lambda m: m.coefs_[1].__setitem__((0, 0), np.nan), r"coefs_\[1\] contains NaN"),
        (lambda m: m.intercepts_[0].__setitem__(0, np.inf), r"intercepts_\[0\] contains NaN"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "partial_fit", "fit"])
def test_impossible_weights(edit: Any, message: str, method: str) -> None:
    model = MLPClassifier(max_iter=2, random_state=0, warm_start=True).fit(X, Y)
    edit(model)
    with pytest.raises(ValueError, match=message):
        model.predict(X) if method == "predict" else getattr(model, method)(X, Y)


def test_outputs_that_do_not_fit_the_targets() -> None:
    model = MLPClassifier(max_iter=2, random_state=0).fit(X, Y)
    model.coefs_[1], model.intercepts_[1] = np.ones((100, 2)), np.ones(2)
    with pytest.raises(ValueError, match=r"has 3 outputs: the shape must be \(100, 3\)"):
        model.predict(X)


def test_warm_start_with_other_hidden_layers() -> None:
    model = MLPClassifier((5,), max_iter=2, warm_start=True).fit(X, Y)
    model.set_params(hidden_layer_sizes=(6,))
    with pytest.raises(ValueError, match=r"hidden_layer_sizes is \[6\].*hidden layers of \[5\]"):
        model.fit(X, Y)


def test_warm_start_with_early_stopping_switched_on_and_off() -> None:
    # scikit-learn raises TypeError here
    model = MLPClassifier(max_iter=3, random_state=0, warm_start=True).fit(X, Y)
    model.set_params(early_stopping=True).fit(X, Y)
    assert len(model.validation_scores_) == 3
    assert model.best_loss_ is None
    model.set_params(early_stopping=False).fit(X, Y)
    assert model.validation_scores_ is None
    assert model.best_loss_ == min(model.loss_curve_[-3:])
    assert len(model.loss_curve_) == 9


PARTIAL = {
    "adam": {"solver": "adam"},
    "adamw": {"solver": "adamw"},
    "momentum": {"solver": "sgd", "learning_rate_init": 0.05},
    "plain": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", PARTIAL)
@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_partial_fit_goes_on_after_a_copy(copied: Any, case: str, dtype: str) -> None:
    """Interrupted or not, a sequence of partial_fit gives the same bits."""
    whole = MLPClassifier((8,), random_state=np.random.RandomState(0), dtype=dtype, **PARTIAL[case])
    parts = copied(whole)
    for epoch in range(6):
        classes = np.unique(Y) if epoch == 0 else None
        whole.partial_fit(X, Y, classes=classes)
        parts.partial_fit(X, Y, classes=classes)
        parts = copied(parts)
    assert_same_bits(whole, parts)
    assert whole.loss_curve_ == parts.loss_curve_
    np.testing.assert_array_equal(whole.predict_proba(X), parts.predict_proba(X))


def test_copies_do_not_share() -> None:
    model = MLPClassifier((8,), random_state=0).partial_fit(X, Y, classes=np.unique(Y))
    other = copy.deepcopy(model)
    before = copy.deepcopy(other)
    model.partial_fit(X, Y)
    assert_same_bits(other, before)
    other.partial_fit(X, Y)
    assert_same_bits(other, model)


def test_alpha_may_change_between_calls_of_partial_fit() -> None:
    # scikit-learn reads alpha in every step, while the solver keeps its own parameters and moments
    from sklearn.neural_network import MLPClassifier as Original

    models = [C((8,), random_state=0, solver="sgd") for C in (MLPClassifier, Original)]
    for model in models:
        model.partial_fit(X, Y, classes=np.unique(Y))
        model.set_params(alpha=5.0, learning_rate_init=100.0).partial_fit(X, Y)
    for ours, theirs in zip(models[0].coefs_, models[1].coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_partial_fit_with_more_classes_to_come() -> None:
    model = MLPClassifier(random_state=0).partial_fit(X[:50], Y[:50], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (150, 3)
    model.partial_fit(X[50:], Y[50:])
    with pytest.raises(ValueError, match="classes not in"):
        model.partial_fit(X, Y + 1)


def test_clone_is_unfitted() -> None:
    model = MLPClassifier((4,), engine="serial", loss="mse", callback=None, max_iter=2).fit(X, Y)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not hasattr(twin, "coefs_")


def test_grid_search_in_processes() -> None:
    search = GridSearchCV(
        MLPClassifier((8,), learning_rate_init=0.05, random_state=0, max_iter=20),
        {"alpha": [1e-4, 1.0], "activation": ["relu", "gelu"]},
        cv=2,
        n_jobs=2,
    ).fit(X, Y)
    assert search.best_score_ > 0.8
    alone = clone(search.best_estimator_).fit(X, Y)
    assert_same_bits(search.best_estimator_, alone)


def test_restored_estimators_predict_and_train() -> None:
    model = MLPClassifier(max_iter=30, random_state=0).fit(X, Y)
    twin = MLPClassifier(random_state=0)
    twin._restore_fitted(
        coefs=model.coefs_,
        intercepts=model.intercepts_,
        classes=model.classes_,
        multilabel=False,
        n_iter=model.n_iter_,
        feature_names=None,
    )
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    assert twin.score(X, Y) == model.score(X, Y)
    twin.partial_fit(X, Y)
    assert len(twin.loss_curve_) == 1

    regressor = MLPRegressor(max_iter=5, random_state=0).fit(X, X[:, :2])
    other = MLPRegressor()
    other._restore_fitted(
        coefs=regressor.coefs_,
        intercepts=regressor.intercepts_,
        classes=None,
        multilabel=False,
        n_iter=5,
        feature_names=np.array(["a", "b", "c", "d"]),
    )
    with pytest.warns(UserWarning, match="feature names"):
        np.testing.assert_array_equal(other.predict(X), regressor.predict(X))
    with pytest.raises(ValueError, match="3 outputs"):
        twin._restore_fitted(
            coefs=regressor.coefs_,
            intercepts=regressor.intercepts_,
            classes=np.arange(3),
            multilabel=False,
            n_iter=5,
            feature_names=None,
        )
