"""Bad input: a clear error that names the value, for data as for parameters."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import DataConversionWarning, NotFittedError

from parmlp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 3
KINDS = [MLPClassifier, MLPRegressor]


def spoiled(array: Any, value: float) -> Any:
    copy = np.array(array, dtype=float)
    copy.flat[4] = value
    return copy


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_not_finite(kind: Any, value: float) -> None:
    fitted = kind(max_iter=2).fit(X, Y)
    for fit in (kind(max_iter=2).fit, fitted.partial_fit):
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            fit(spoiled(X, value), Y)
        with pytest.raises(ValueError, match=r"Input y contains (NaN|infinity)"):
            fit(X, spoiled(Y, value))
        with pytest.raises(ValueError, match=r"Input sample_weight contains (NaN|infinity)"):
            fit(X, Y, sample_weight=spoiled(np.ones(40), value))
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        fitted.predict(spoiled(X, value))
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        fitted.fit(sparse.csr_matrix(spoiled(X, value)), Y)


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_for_float32(kind: Any) -> None:
    model = kind(max_iter=2, dtype="float32")
    with pytest.raises(ValueError, match="too large for dtype"):
        model.fit(spoiled(X, 1e300), Y)
    with pytest.raises(ValueError, match="too large for float32"):
        model.fit(X, Y, sample_weight=spoiled(np.ones(40), 1e300))
    model.fit(X, Y)
    with pytest.raises(ValueError, match="too large for dtype"):
        model.predict(spoiled(X, 1e300))


def test_targets_too_large_for_float32() -> None:
    with pytest.raises(ValueError, match="y contains values too large for float32"):
        MLPRegressor(dtype="float32").fit(X, spoiled(Y, 1e300))


@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind: Any) -> None:
    model = kind(max_iter=2)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, Y[:-1])
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.fit(X[:, 0], Y)
    with pytest.raises(ValueError, match="dim 3"):
        model.fit(X[None], Y)
    with pytest.raises(ValueError, match="0 sample"):
        model.fit(X[:0], Y[:0])
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        model.fit(X[:, :0], Y)
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(39,\), expected \(40,\)"):
        model.fit(X, Y, sample_weight=np.ones(39))
    with pytest.raises(ValueError, match="must be 1D"):
        model.fit(X, Y, sample_weight=np.ones((40, 2)))
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model.fit(X, Y[:, None])
    assert model.predict(X).shape == (40,)


@pytest.mark.parametrize("kind", KINDS)
def test_feature_count_changed(kind: Any) -> None:
    model = kind(max_iter=2).fit(X, Y)
    message = "X has 2 features, but .* is expecting 3 features"
    with pytest.raises(ValueError, match=message):
        model.predict(X[:, :2])
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X[:, :2], Y)
    with pytest.raises(ValueError, match=message):
        model.set_params(warm_start=True).fit(X[:, :2], Y)


@pytest.mark.parametrize("kind", KINDS)
def test_not_numbers(kind: Any) -> None:
    with pytest.raises(ValueError, match="could not convert string to float"):
        kind().fit(np.full((40, 3), "a"), Y)
    with pytest.raises(ValueError, match="Complex data not supported"):
        kind().fit(X + 1j, Y)
    with pytest.raises(ValueError, match="requires y to be passed"):
        kind().fit(X, None)
    with pytest.raises(ValueError, match="could not convert string to float"):
        MLPRegressor().fit(X, np.full(40, "a"))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_not_fitted(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(MLPClassifier(), method)(X)


PARAMETERS: list[tuple[str, Any, str]] = [
    ("hidden_layer_sizes", 0, "hidden_layer_sizes"),
    ("hidden_layer_sizes", (5, 0), r"must be > 0, got \[5, 0\]"),
    ("hidden_layer_sizes", (5, -1), r"must be > 0, got \[5, -1\]"),
    ("hidden_layer_sizes", (5, 2.5), r"must be integers, got 2\.5"),
    ("hidden_layer_sizes", (True,), "must be integers, got True"),
    ("activation", "swish", "'activation' parameter .*'silu'.*Got 'swish'"),
    ("solver", "rmsprop", "'solver' parameter .*Got 'rmsprop'"),
    ("solver", "lbfgs", "solver='lbfgs' is not available in parmlp: use 'adam', 'adamw' or 'sgd'"),
    ("alpha", -1.0, "'alpha'"),
    ("batch_size", 0, "'batch_size'"),
    ("batch_size", -5, "'batch_size'"),
    ("learning_rate", "cosine", "'learning_rate'"),
    ("learning_rate_init", 0, "'learning_rate_init'"),
    ("max_iter", 0, "'max_iter'"),
    ("momentum", 1.5, "'momentum'"),
    ("validation_fraction", 1.0, "'validation_fraction'"),
    ("weight_init", "xavier", "'weight_init' parameter .*'glorot_uniform'.*Got 'xavier'"),
    ("weight_decay", -0.1, "'weight_decay'"),
    ("leaky_relu_slope", "steep", "'leaky_relu_slope'"),
    ("engine", "gpu", "'engine' parameter (?=.*'openmp')(?=.*'cuda').*Got 'gpu'"),
    ("n_threads", 0, "'n_threads' parameter .*Got 0"),
    ("n_threads", -2, "'n_threads' parameter .*Got -2"),
    ("n_threads", 1.5, "'n_threads' parameter .*Got 1.5"),
    ("adaptive_threads", "some", "'adaptive_threads' parameter .*Got 'some'"),
    ("schedule", "random", "'schedule' parameter (?=.*'fork-join')(?=.*'two-phase').*Got 'random'"),
    ("dtype", "float16", "'dtype' parameter .*'float32'.*Got 'float16'"),
    ("callback", "print", "'callback'"),
    ("out_activation", "tanh", "'out_activation'"),
    ("loss", "hinge", "'loss'"),
    ("random_state", "seed", "'random_state'"),
]


@pytest.mark.parametrize(("name", "value", "message"), PARAMETERS)
@pytest.mark.parametrize("kind", KINDS)
def test_parameters(kind: Any, name: str, value: Any, message: str) -> None:
    model = kind(**{name: value})  # the constructor only stores
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")


def test_every_parameter_has_a_constraint() -> None:
    for kind in KINDS:
        assert set(kind._parameter_constraints) == set(kind().get_params())


@pytest.mark.parametrize("kind", KINDS)
def test_lbfgs_has_no_partial_fit(kind: Any) -> None:
    assert not hasattr(kind(solver="lbfgs"), "partial_fit")
    assert hasattr(kind(solver="sgd"), "partial_fit")


@pytest.mark.parametrize("kind", KINDS)
def test_early_stopping_is_not_for_partial_fit(kind: Any) -> None:
    first = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        kind(early_stopping=True).partial_fit(X, Y, **first)


def test_validation_sets_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="The validation set is too small"):
        MLPClassifier(early_stopping=True).fit(X[:5], Y[:5])
    with pytest.raises(ValueError, match=r"least populated class.*only 1 member"):
        MLPClassifier(early_stopping=True).fit(X, ["rare", *["common"] * 39])


def test_weights_without_weight() -> None:
    with pytest.raises(ValueError, match=r"is 0 for every row|must contain at least one non-zero"):
        MLPRegressor().fit(X, Y, np.zeros(40))
    w = np.ones(40)
    w[20:30] = 0
    message = r"sums to 0 over the rows of minibatch 3 of epoch 1.*larger batch_size than 10"
    with pytest.raises(ValueError, match=message):
        MLPRegressor(batch_size=10, shuffle=False).fit(X, Y, w)
    # zeros among others are fine
    model = MLPRegressor(batch_size=20, shuffle=False, max_iter=5).fit(X, Y, w)
    assert len(model.loss_curve_) == 5


def test_classifier_targets() -> None:
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        MLPClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="several columns of more than two values"):
        MLPClassifier().fit(X, np.column_stack([Y, Y + 1]))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(X, Y)
    model = MLPClassifier(max_iter=2, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="same classes as in the previous call to fit"):
        model.fit(X, Y % 2)
    with pytest.raises(ValueError, match="fitted with multiclass targets"):
        model.partial_fit(X, np.eye(3, dtype=int)[Y])
    with pytest.raises(ValueError, match="is not the same as on last call"):
        model.partial_fit(X, Y, classes=[0, 1])
    multilabel = MLPClassifier(max_iter=2).fit(X, np.eye(3, dtype=int)[Y])
    with pytest.raises(ValueError, match="y has 2 labels, but this estimator was fitted with 3"):
        multilabel.partial_fit(X, np.eye(2, dtype=int)[Y % 2])
    with pytest.raises(ValueError, match="fitted with multilabel-indicator targets"):
        multilabel.partial_fit(X, Y)


def test_regressor_targets() -> None:
    with pytest.raises(ValueError, match=r"loss='poisson' needs y >= 0, but y has the value -1"):
        MLPRegressor("poisson").fit(X, Y - 1)
    model = MLPRegressor(max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match="y needs 2 outputs, but this estimator was fitted with 1"):
        model.partial_fit(X, np.column_stack([Y, Y]))


def test_read_only_and_strided_arrays() -> None:
    # joblib hands large arrays to its workers read-only
    frozen = X.copy()
    frozen.flags.writeable = False
    weights = np.ones(40)
    weights.flags.writeable = False
    model = MLPClassifier(max_iter=3, random_state=0).fit(frozen, Y, weights)
    wide = np.repeat(X, 2, axis=1)
    other = MLPClassifier(max_iter=3, random_state=0).fit(wide[:, ::2], Y[::1], np.ones(80)[::2])
    third = MLPClassifier(max_iter=3, random_state=0).fit(np.asfortranarray(X), Y)
    for W in (other.coefs_[0], third.coefs_[0]):
        np.testing.assert_array_equal(W, model.coefs_[0])
    np.testing.assert_array_equal(model.predict(frozen), other.predict(wide[:, ::2]))
