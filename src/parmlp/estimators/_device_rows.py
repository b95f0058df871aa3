"""X in a GPU's memory, for ``engine="cuda"``: checked by scikit-learn's rules, and used there."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.utils import assert_all_finite

from parmlp.engines.cuda.arrays import DeviceArray, PickedRows, is_device_array
from parmlp.engines.cuda.team import take_array
from parmlp.estimators._host_arrays import host_array

if TYPE_CHECKING:
    from parmlp.estimators._multilayer_perceptron import BaseMultilayerPerceptron

#: What scikit-learn's validation is to leave out for an outline; :func:`check_device_rows` does it.
OUTLINE_CHECKS: dict[str, Any] = {"ensure_all_finite": False, "dtype": None, "order": None}


def given_rows(X: Any, engine: str) -> Any:
    """Return X as a user gave it: a DeviceArray, or what :func:`host_array` makes of it.

    Parameters
    ----------
    X : object
    engine : str
        With "cuda" an array in the GPU's memory stays there.

    Raises
    ------
    ValueError
        As :func:`host_array` and :func:`parmlp.engines.cuda.arrays.device_array` do.
    """
    if engine == "cuda":
        try:
            on_device = is_device_array(X)
        except Exception:  # a device that DLPack does not know: host_array says so
            on_device = False
        if on_device:
            return take_array(X, "X")
    return host_array(X, "X")


def outline(X: Any) -> Any:
    """Return X, or in a DeviceArray's place a NumPy array of its shape and dtype, of zeros.

    It takes no memory, and lets scikit-learn check shapes, counts and feature names.
    """
    if not isinstance(X, DeviceArray):
        return X
    return np.broadcast_to(np.zeros((), X.dtype), X.shape)


def check_device_rows(
    estimator: "BaseMultilayerPerceptron", X: DeviceArray, dtype: np.dtype[Any] | None
) -> None:
    """Check what an :func:`outline` does not show.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Named by errors.
    X : DeviceArray
    dtype : dtype or None
        Of the network. None: float32 or float64.

    Raises
    ------
    ValueError
        When X is not a matrix, or of another dtype than the network, or holds NaN or infinity: the
        last in scikit-learn's words, and not if it is configured to assume finite numbers.
    """
    if len(X.shape) != 2:
        raise ValueError(
            f"X must be a matrix of shape (n_samples, n_features), got an array of shape {X.shape} "
            "on the GPU: pass X.reshape(-1, 1) for one feature, or X.reshape(1, -1) for one sample."
        )
    if X.dtype not in ((np.float32, np.float64) if dtype is None else (dtype,)):
        wanted = "float32 or float64" if dtype is None else str(dtype)
        torch, numpy = ("double", "float64") if wanted == "float64" else ("float", "float32")
        raise ValueError(
            f"X on the GPU is of {X.dtype} where the network needs {wanted}, and engine='cuda' "
            f"makes no copy unasked: pass X.{torch}() (PyTorch) or X.astype('{numpy}') (CuPy, JAX)."
        )
    if get_config()["assume_finite"]:
        return
    found = X.find_nonfinite()
    if found is not None:
        name = type(estimator).__name__
        assert_all_finite(np.array([[found]], X.dtype), estimator_name=name, input_name="X")


def pick_rows(X: Any, ids: NDArray[np.int64]) -> Any:
    """Return some rows of checked X; those of a DeviceArray are not copied."""
    return PickedRows(X, ids) if isinstance(X, DeviceArray) else X[ids]
