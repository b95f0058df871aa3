"""Arrays of other libraries: NumPy's bits and errors on the same memory; a GPU's are an error."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from foreign_arrays import (
    CUDA,
    MANAGED,
    METAL,
    PINNED,
    ROCM,
    BFloat16Tensor,
    BFloat16WithArray,
    CudaArrayOnly,
    Tensor,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from parmlp import MLPClassifier, MLPRegressor, _core, fit_many
from parmlp.estimators._host_arrays import host_array
from parmlp.estimators._samples import Samples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = np.arange(60) % 3
W = RNG.random(60) + 0.5

exports_read_only = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="NumPy exports it from 2.1 on"
)


def weights(model: Any) -> bytes:
    return b"".join(a.tobytes() for a in model.coefs_ + model.intercepts_)


# ------------------------------------------------------------------- on the CPU


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_memory_is_shared(dtype: str) -> None:
    array = X.astype(dtype)
    samples = Samples(Tensor(array), Tensor(Y), None)
    model = MLPClassifier()
    rows, y = samples.checked(model, None, reset=True)
    assert rows.X.dtype == dtype
    assert np.shares_memory(rows.X, array)
    assert np.shares_memory(rows.plain(_core.Team("serial", 1)), array)
    np.testing.assert_array_equal(y, Y)
    assert model.n_features_in_ == 5


LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "every second column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
}


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(
        ["float16", "float32", "float64", "bool", "int8", "int32", "int64", "uint8", "uint16"]
    ),
    layout=st.sampled_from(sorted(LAYOUTS)),
    weighted=st.booleans(),
    regression=st.booleans(),
)
def test_the_bits_are_those_of_numpy_arrays(
    dtype: str, layout: str, weighted: bool, regression: bool
) -> None:
    array = LAYOUTS[layout]((10 * X).astype(dtype))
    kind = MLPRegressor if regression else MLPClassifier
    y = X[:, 0] if regression else Y
    w = W if weighted else None
    ours = kind(hidden_layer_sizes=(7,), max_iter=3, random_state=0)
    theirs = kind(hidden_layer_sizes=(7,), max_iter=3, random_state=0)
    ours.fit(Tensor(array), Tensor(y), None if w is None else Tensor(w))
    theirs.fit(array, y, w)
    assert weights(ours) == weights(theirs)
    assert ours.predict(Tensor(array)).tobytes() == theirs.predict(array).tobytes()
    weight = None if w is None else Tensor(w)
    assert ours.score(Tensor(array), Tensor(y), weight) == theirs.score(array, y, w)


@exports_read_only
def test_read_only_memory() -> None:
    frozen = X.copy()
    frozen.flags.writeable = False
    ours = MLPClassifier(max_iter=3, random_state=0).fit(Tensor(frozen), Tensor(Y))
    assert weights(ours) == weights(MLPClassifier(max_iter=3, random_state=0).fit(X, Y))


def test_pinned_memory_is_the_cpus() -> None:
    assert np.shares_memory(host_array(Tensor(X, PINNED), "X"), X)


def test_partial_fit() -> None:
    ours, theirs = MLPClassifier(random_state=0), MLPClassifier(random_state=0)
    ours.partial_fit(Tensor(X), Tensor(Y), classes=Tensor(np.arange(4)))
    theirs.partial_fit(X, Y, classes=np.arange(4))
    assert weights(ours) == weights(theirs)
    labels = (X[:, :2] > 0).astype(int)
    multilabel = MLPClassifier(random_state=0).partial_fit(
        Tensor(X), Tensor(labels), classes=[0, 1]
    )
    assert multilabel.target_type_ == "multilabel-indicator"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: np.where(a > 1, np.nan, a), "Input X contains NaN"),
        (lambda a: a[:, 0], "Expected 2D array, got 1D array"),
        (lambda a: a.astype(complex), "Complex data not supported"),
        (lambda a: a[:30], "inconsistent numbers of samples"),
    ],
)
def test_the_errors_are_those_of_numpy_arrays(spoil: Any, message: str) -> None:
    array = spoil(X)
    with pytest.raises(ValueError, match=message) as theirs:
        MLPClassifier().fit(array, Y)
    with pytest.raises(ValueError, match=message) as ours:
        MLPClassifier().fit(Tensor(array), Y)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize(
    "other",
    [None, [[1.0]], ((1.0,),), X, sparse.csr_matrix(X), np.ma.masked_array(X), pa.table({"a": Y})],
    ids=lambda other: type(other).__name__,
)
def test_anything_else_is_left_to_scikit_learn(other: Any) -> None:
    assert host_array(other, "X") is other


def test_pyarrow_arrays() -> None:
    """They have DLPack for numbers, and another conversion for strings."""
    names = np.array(["a", "b", "c"])[Y]
    ours = MLPClassifier(max_iter=3, random_state=0).fit(X, pa.array(names))
    theirs = MLPClassifier(max_iter=3, random_state=0).fit(X, names)
    assert weights(ours) == weights(theirs)
    assert list(ours.classes_) == ["a", "b", "c"]
    assert ours.score(X, pa.array(names)) == theirs.score(X, names)
    numbers = MLPClassifier(max_iter=3, random_state=0).fit(X, pa.array(Y))
    assert weights(numbers) == weights(theirs)


# ----------------------------------------------------------- dtypes NumPy has not


@pytest.mark.parametrize("kind", [BFloat16Tensor, BFloat16WithArray])
def test_bfloat16_is_an_error_that_names_it(kind: Any) -> None:
    for where, give in {
        "X": lambda a: MLPClassifier().fit(a, Y),
        "y": lambda a: MLPRegressor().fit(X, a),
        "sample_weight": lambda a: MLPClassifier().fit(X, Y, a),
    }.items():
        array = kind((60, 5) if where == "X" else (60,))
        with pytest.raises(
            ValueError, match=rf"^{where}, a .*{kind.__name__} of bfloat16, could .*\.float\(\)"
        ):
            give(array)


# -------------------------------------------------------------------- on a GPU


def fitted() -> MLPClassifier:
    return MLPClassifier((3,), max_iter=1, random_state=0).fit(X, Y)


CALLS = {
    "fit X": ("X", lambda a: MLPClassifier().fit(a, Y)),
    "fit y": ("y", lambda a: MLPRegressor().fit(X, a)),
    "fit sample_weight": ("sample_weight", lambda a: MLPClassifier().fit(X, Y, a)),
    "partial_fit X": ("X", lambda a: MLPRegressor().partial_fit(a, Y)),
    "partial_fit classes": ("classes", lambda a: MLPClassifier().partial_fit(X, Y, classes=a)),
    "predict": ("X", lambda a: fitted().predict(a)),
    "predict_proba": ("X", lambda a: fitted().predict_proba(a)),
    "score": ("y", lambda a: fitted().score(X, a)),
    "fit_many": ("X", lambda a: fit_many([MLPClassifier()], a, Y)),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_gpus_array_is_an_error_that_names_the_remedy(call: str) -> None:
    name, give = CALLS[call]
    for array, where in (
        (Tensor(X, CUDA), "a CUDA GPU"),
        (CudaArrayOnly((60, 5)), "a CUDA GPU"),
        (Tensor(X, ROCM), "a ROCm GPU"),
        (Tensor(X, METAL), "a Metal GPU"),
        (Tensor(X, MANAGED), "CUDA managed memory"),
        (Tensor(X, 99), "a device of DLPack's type 99"),
    ):
        with pytest.raises(
            ValueError, match=rf"^{name}, a .*, is on {where}.*{name}\.cpu\(\).*cupy\.asnumpy"
        ):
            give(array)
        assert getattr(array, "exports", 0) == 0  # nothing was read or copied


def test_a_device_that_dlpack_does_not_know() -> None:
    class OnTpu(Tensor):
        def __dlpack_device__(self) -> tuple[int, int]:
            raise BufferError("DLPack is only supported for CPU and GPU")

    with pytest.raises(ValueError, match=r"^X, a .*OnTpu.*only supported for CPU.*on the CPU"):
        MLPClassifier().fit(OnTpu(X), Y)
