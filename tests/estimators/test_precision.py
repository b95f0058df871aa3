"""precision="bf16": products in bfloat16 inside, estimators like any other outside."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from parmlp import MLPClassifier, MLPRegressor, _core, load_model, save_model
from parmlp.datasets import load_split

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

needs_bf16 = pytest.mark.skipif(
    not _core.runs_bf16(), reason="this CPU or build lacks AVX512_BF16, or PARMLP_SIMD rules it out"
)

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)


def weights(model: Any) -> bytes:
    return b"".join(a.tobytes() for a in [*model.coefs_, *model.intercepts_])


def in_bf16(**parameters: Any) -> MLPClassifier:
    return MLPClassifier((9,), precision="bf16", random_state=0, **{"max_iter": 5} | parameters)


@needs_bf16
def test_weights_are_float32_whatever_X_is() -> None:
    models = [in_bf16().fit(X.astype(dtype), Y) for dtype in ("float32", "float64")]
    assert {a.dtype for m in models for a in m.coefs_ + m.intercepts_} == {np.dtype("float32")}
    assert weights(models[0]) == weights(models[1])
    full = in_bf16().set_params(precision="full", dtype="float32").fit(X, Y)
    assert weights(full) != weights(models[0])


@needs_bf16
def test_real_images_as_accurately_as_in_float32() -> None:
    split = load_split("mnist5k")
    accuracies = {}
    for precision in ("full", "bf16"):
        model = MLPClassifier(
            (100,),
            "logistic",
            loss="mse",
            solver="sgd",
            momentum=0.0,
            alpha=0.0,
            learning_rate_init=1.0,
            batch_size=16,
            max_iter=15,
            weight_init="glorot_uniform",
            random_state=0,
            precision=precision,
        ).fit(split.X_train, split.y_train)
        accuracies[precision] = model.score(split.X_test, split.y_test)
    assert accuracies["full"] > 0.9
    assert accuracies["bf16"] > accuracies["full"] - 0.01


@needs_bf16
def test_predictions_are_those_of_the_float32_weights() -> None:
    model = in_bf16().fit(X, Y)
    full = copy.deepcopy(model).set_params(precision="full")
    assert model.predict_proba(X).tobytes() == full.predict_proba(X.astype("float32")).tobytes()
    rows = sparse.csr_matrix(X)  # of which there are products in training alone
    np.testing.assert_array_equal(model.predict(rows), model.predict(X))


@needs_bf16
@pytest.mark.parametrize(
    "copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_partial_fit_goes_on_after_a_copy(copied: Any) -> None:
    whole = in_bf16().set_params(random_state=np.random.RandomState(0))
    parts = copied(whole)
    for _ in range(4):
        whole.partial_fit(X, Y, classes=np.unique(Y))
        parts.partial_fit(X, Y, classes=np.unique(Y))
        parts = copied(parts)
    assert weights(whole) == weights(parts)


@needs_bf16
def test_warm_start_from_float64_weights() -> None:
    model = MLPClassifier((9,), warm_start=True, max_iter=3, random_state=0).fit(X, Y)
    assert model.coefs_[0].dtype == "float64"
    before = model.loss_
    model.set_params(precision="bf16").fit(X, Y)
    assert model.coefs_[0].dtype == "float32"
    assert model.loss_ < before


@needs_bf16
def test_early_stopping_and_clone() -> None:
    model = in_bf16(early_stopping=True, max_iter=300, n_iter_no_change=5, batch_size=32)
    model.fit(X, Y)
    assert model.stop_reason_ == "tolerance"
    again = clone(model).fit(X, Y)
    assert again.precision == "bf16"
    assert weights(again) == weights(model)
    assert again.validation_scores_ == model.validation_scores_


@needs_bf16
def test_model_files(tmp_path: Path) -> None:
    model = in_bf16().fit(X, Y)
    save_model(tmp_path / "m.safetensors", model)
    loaded = load_model(tmp_path / "m.safetensors").estimator
    assert loaded.precision == "bf16"
    assert weights(loaded) == weights(model)
    assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


@needs_bf16
def test_dense_zeros_are_trained_on_as_they_are() -> None:
    """What float32 would compress is no error."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 60)) * (rng.random((200, 60)) < 0.1)
    MLPClassifier((70,), max_iter=4, batch_size=50, precision="bf16").fit(rows, np.arange(200) % 3)


def test_sparse_X_is_an_error_that_names_the_remedies() -> None:
    with pytest.raises(ValueError, match=r"dense X only.*precision='full', or X.toarray\(\)"):
        in_bf16().fit(sparse.csr_matrix(X), Y)


def test_float64_weights_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"dtype is 'float64'.*precision='full'"):
        in_bf16(dtype="float64").fit(X, Y)


@pytest.mark.skipif(_core.simd_target() == "baseline", reason="nothing to change")
def test_a_machine_without_bf16(tmp_path: Path) -> None:
    """Training is an error and leaves nothing fitted; predicting with such a model is none."""
    model = MLPClassifier((9,), max_iter=5, random_state=0, dtype="float32").fit(X, Y)
    model.set_params(precision="bf16")
    before = _core.simd_target()
    _core.set_simd_target("baseline")
    try:
        unfitted = in_bf16()
        with pytest.raises(RuntimeError, match=r"'bf16' cannot be used.*precision 'full' runs"):
            unfitted.fit(X, Y)
        assert not hasattr(unfitted, "coefs_")
        assert model.predict_proba(X).shape == (150, 3)
    finally:
        _core.set_simd_target(before)


@needs_bf16
@parametrize_with_checks(
    [
        MLPRegressor(max_iter=100, precision="bf16"),
        MLPClassifier(max_iter=100, precision="bf16"),
    ],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": "asks for 7 digits, but a delta times 3 "
        "is rounded otherwise than three deltas"
    },
)
def test_estimator(estimator: Any, check: Any) -> None:
    check(estimator)
