"""Losses, outputs and targets beyond scikit-learn's: mse, chosen outputs, probabilities."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_iris, make_multilabel_classification

from parmlp import MLPClassifier, MLPRegressor
from reference import LEGAL_PAIRS, SGD, Network

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
BINARY = Y > 0
X_MULTI, Y_MULTI = make_multilabel_classification(120, 6, n_classes=3, random_state=0)

ARRAYS = {"binary": (X, BINARY), "multiclass": (X, Y), "multilabel": (X_MULTI / 10, Y_MULTI)}


def one_hot(y: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(y)[:, None] == np.unique(y) if y.ndim == 1 else y  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("target", "parameters", "n_outputs", "out_activation"),
    [
        ("binary", {}, 1, "logistic"),
        ("binary", {"out_activation": "sigmoid"}, 1, "logistic"),
        ("binary", {"out_activation": "softmax"}, 2, "softmax"),
        ("binary", {"loss": "mse"}, 2, "logistic"),
        ("multiclass", {}, 3, "softmax"),
        ("multiclass", {"out_activation": "logistic"}, 3, "logistic"),
        ("multiclass", {"loss": "mse"}, 3, "logistic"),
        ("multiclass", {"loss": "mse", "out_activation": "identity"}, 3, "identity"),
        ("multilabel", {}, 3, "logistic"),
        ("multilabel", {"loss": "mse"}, 3, "logistic"),
        ("multilabel", {"loss": "mse", "out_activation": "identity"}, 3, "identity"),
    ],
)
def test_outputs_of_each_target(
    target: str, parameters: dict[str, Any], n_outputs: int, out_activation: str
) -> None:
    """Which outputs there are, that training them is the reference's, and their probabilities."""
    data, y = ARRAYS[target]
    model = MLPClassifier(
        (7,),
        "tanh",
        solver="sgd",
        learning_rate_init=0.1,
        momentum=0.5,
        nesterovs_momentum=False,
        batch_size=40,
        max_iter=30,
        shuffle=False,
        random_state=0,
        **parameters,
    )
    initial = MLPClassifier(**{**model.get_params(), "max_iter": 1, "learning_rate_init": 1e-300})
    initial.fit(data, y)
    model.fit(data, y)
    assert model.n_outputs_ == n_outputs == model.coefs_[-1].shape[1]
    assert model.out_activation_ == out_activation

    sigmoid_name = {"logistic": "sigmoid"}.get(out_activation, out_activation)
    plain = Network(
        initial.coefs_, initial.intercepts_, "tanh", sigmoid_name, model.loss, model.alpha
    )
    solver = SGD(plain.params, momentum=0.5, nesterov=False)
    targets = np.asarray(y, float)[:, None] if n_outputs == 1 else one_hot(y).astype(float)
    losses = [
        plain.train_epoch(solver, data, targets, batch_size=40, learning_rate=0.1).loss
        for _ in range(30)
    ]
    np.testing.assert_allclose(model.loss_curve_, losses, rtol=1e-9)
    assert losses[-1] < losses[0]

    probabilities = model.predict_proba(data)
    assert probabilities.shape == (len(data), 3 if target != "binary" else 2)
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    np.testing.assert_array_equal(model.predict_log_proba(data), np.log(probabilities))
    outputs = plain.predict(data)
    if target == "multilabel":
        np.testing.assert_array_equal(model.predict(data), outputs > 0.5)
    else:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
        winner = outputs[:, 0] > 0.5 if n_outputs == 1 else outputs.argmax(axis=1)
        np.testing.assert_array_equal(model.predict(data), model.classes_[winner.astype(int)])
        assert model.score(data, y) > 0.7


def test_mse_probabilities_are_outputs_over_their_sum() -> None:
    model = MLPClassifier(loss="mse", max_iter=20, random_state=0).fit(X, Y)
    outputs = Network(model.coefs_, model.intercepts_, "relu", "sigmoid", "mse").predict(X)
    expected = outputs / outputs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-12)


def test_mse_probabilities_where_every_output_is_zero() -> None:
    model = MLPClassifier(loss="mse", max_iter=5, random_state=0).fit(X, Y)
    model.coefs_[-1][:] = 0
    model.intercepts_[-1][:] = -2000  # sigmoid(-2000) is 0
    np.testing.assert_array_equal(model.predict_proba(X), np.full((len(X), 3), 1 / 3))


def test_identity_probabilities_count_negative_outputs_as_zero() -> None:
    model = MLPClassifier(loss="mse", out_activation="identity", max_iter=5, random_state=0)
    model.fit(X, Y)
    model.coefs_[-1][:] = 0
    model.intercepts_[-1][:] = [-1.0, 1.0, 3.0]
    np.testing.assert_allclose(model.predict_proba(X[:1]), [[0.0, 0.25, 0.75]])


@pytest.mark.parametrize("loss", ["log_loss", "mse"])
def test_one_class_of_each_loss(loss: str) -> None:
    model = MLPClassifier(loss=loss, max_iter=5).fit(X, np.full(len(X), "all"))
    assert set(model.predict(X)) == {"all"}


LEGAL = {(loss, {"sigmoid": "logistic"}.get(out, out)) for loss, out in LEGAL_PAIRS}


@pytest.mark.parametrize("out_activation", ["identity", "logistic", "softmax", "exp"])
@pytest.mark.parametrize("loss", ["log_loss", "mse", "squared_error", "poisson"])
def test_pairs_of_loss_and_output(loss: str, out_activation: str) -> None:
    kind: Any = MLPClassifier if loss in ("log_loss", "mse") else MLPRegressor
    model = kind(loss=loss, out_activation=out_activation, max_iter=2)
    if (loss, out_activation) in LEGAL:
        assert model.fit(X, Y).out_activation_ == out_activation
    else:
        with pytest.raises(ValueError, match=rf"loss='{loss}'.*mse with logistic or identity"):
            model.fit(X, Y)


def test_softmax_is_not_for_multilabel() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        MLPClassifier(out_activation="softmax").fit(X_MULTI, Y_MULTI)


def test_regressor_mse_sums_over_outputs_in_loss_and_gradient() -> None:
    y = np.column_stack([Y / 2, BINARY])
    mse = MLPRegressor("mse", max_iter=5, random_state=0, alpha=0).fit(X, y)
    squared_error = MLPRegressor(max_iter=5, random_state=0, alpha=0).fit(X, y)
    np.testing.assert_allclose(mse.loss_curve_, 2 * np.array(squared_error.loss_curve_), rtol=1e-12)
    np.testing.assert_allclose(mse.coefs_[0], squared_error.coefs_[0], rtol=1e-12)


def test_regressor_with_sigmoid_outputs() -> None:
    model = MLPRegressor("mse", out_activation="logistic", max_iter=200, random_state=0)
    prediction = model.fit(X, BINARY.astype(float)).predict(X)
    assert prediction.shape == (len(X),)
    assert 0 < prediction.min() < prediction.max() < 1
    assert model.score(X, BINARY.astype(float)) > 0.8


@pytest.mark.parametrize("weight_init", ["glorot_uniform", "he", "small_random", "scikit-learn"])
def test_weight_init(weight_init: str) -> None:
    # a learning rate of next to nothing leaves the initial weights
    wide = np.random.default_rng(0).normal(size=(20, 400))
    model = MLPRegressor(
        hidden_layer_sizes=(300,),
        weight_init=weight_init,
        solver="sgd",
        learning_rate_init=1e-300,
        max_iter=1,
        random_state=0,
    ).fit(wide, wide[:, 0])
    W, b = model.coefs_[0], model.intercepts_[0]
    bound = np.sqrt(6 / 700)
    deviation = {"he": np.sqrt(2 / 400), "small_random": 0.01}.get(weight_init, bound / np.sqrt(3))
    assert W.mean() == pytest.approx(0, abs=deviation / 100)
    assert W.std() == pytest.approx(deviation, rel=0.02)
    if weight_init in ("glorot_uniform", "scikit-learn"):
        assert 0.99 * bound < abs(W).max() <= bound
    if weight_init in ("glorot_uniform", "he"):
        assert abs(b).max() < 1e-200  # zero, but for the one step
    else:
        assert b.std() == pytest.approx(deviation, rel=0.15)


@pytest.mark.parametrize("activation", ["leaky_relu", "elu", "gelu", "gelu_tanh", "silu"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw"])
def test_activations_and_solvers_beyond_scikit_learn(activation: str, solver: str) -> None:
    model = MLPClassifier(
        (20,), activation, solver=solver, learning_rate_init=0.02, max_iter=60, random_state=0
    )
    assert model.fit(X, Y).score(X, Y) > 0.93


def test_sigmoid_is_logistic() -> None:
    a = MLPClassifier(activation="sigmoid", random_state=0, max_iter=5).fit(X, Y)
    b = MLPClassifier(activation="logistic", random_state=0, max_iter=5).fit(X, Y)
    np.testing.assert_array_equal(a.coefs_[0], b.coefs_[0])
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))


def test_weight_decay_is_adamws_alone() -> None:
    def weights(**parameters: Any) -> NDArray[Any]:
        model = MLPClassifier(random_state=0, max_iter=5, **parameters)
        return model.fit(X, Y).coefs_[0]

    np.testing.assert_array_equal(weights(), weights(weight_decay=0.5))
    np.testing.assert_array_equal(weights(), weights(solver="adamw", weight_decay=0.0))
    assert abs(weights(solver="adamw", weight_decay=100.0)).sum() < abs(weights()).sum()


def test_dtype_parameter() -> None:
    for dtype in ("float32", "float64"):
        model = MLPClassifier(dtype=dtype, max_iter=2).fit(X, Y)
        assert {a.dtype for a in model.coefs_ + model.intercepts_} == {np.dtype(dtype)}
        assert model.predict_proba(X).dtype == dtype
    assert MLPClassifier(max_iter=2).fit(X.astype(np.int64), Y).coefs_[0].dtype == np.float64
    assert MLPClassifier(max_iter=2).fit(X.astype(np.float32), Y).coefs_[0].dtype == np.float32


def test_class_labels_of_every_kind() -> None:
    strings = ["b", "a", "c"]
    for labels in (np.array(strings), np.array(strings, object), [2.0, -1.0, 7.0], [10, 5, 7]):
        y = np.asarray(labels)[Y]
        model = MLPClassifier(max_iter=200, random_state=0).fit(X, y)
        np.testing.assert_array_equal(model.classes_, np.unique(y))
        assert model.score(X, y) > 0.9


def test_out_activation_may_be_assigned() -> None:
    # a habit of scikit-learn's users, to read the decision values
    model = MLPClassifier(max_iter=20, random_state=0).fit(X, Y)
    probabilities = model.predict_proba(X)
    model.out_activation_ = "identity"
    z = model._output_activations(X)
    softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax, probabilities, rtol=1e-10)
