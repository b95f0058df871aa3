"""The data given to ``fit``: checked, and shared by all estimators that are trained on it."""

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import is_regressor
from sklearn.utils import column_or_1d
from sklearn.utils.validation import validate_data

from parmlp import _core
from parmlp.engines import Team
from parmlp.engines.cuda.arrays import DeviceArray
from parmlp.estimators._device_rows import OUTLINE_CHECKS, check_device_rows, given_rows, outline
from parmlp.estimators._host_arrays import host_array
from parmlp.estimators._rows import by_rows, compressing_pays, engine_rows

if TYPE_CHECKING:
    from parmlp.estimators._multilayer_perceptron import BaseMultilayerPerceptron

Array = NDArray[Any]


class TrainingRows:
    """Checked rows and what an engine takes of them, made once for all who train on them.

    Parameters
    ----------
    X : ndarray, CSR matrix or DeviceArray of shape (n_samples, n_features)
        C-contiguous, of the dtype of the networks.
    """

    def __init__(self, X: Any) -> None:
        self.X = X
        self._plain: dict[str, Any] = {}  # by engine
        self._compressed: _core.SparseRows | None = None
        self._lock = Lock()

    def plain(self, team: Team) -> Any:
        """Return the rows as they are, dense or sparse, for a team's networks."""
        with self._lock:
            if team.engine not in self._plain:
                self._plain[team.engine] = engine_rows(self.X, team)
            return self._plain[team.engine]

    def to_train_on(self, team: Team, first_layer_units: int, batch_size: int, epochs: int) -> Any:
        """Return the rows, compressed where that makes training faster."""
        if (
            not isinstance(team, _core.Team)
            or sparse.issparse(self.X)
            or not compressing_pays(self.X, first_layer_units, batch_size, epochs)
        ):
            return self.plain(team)
        with self._lock:
            if self._compressed is None:
                self._compressed = _core.SparseRows.compress(self.X, team)
            return self._compressed


class Samples:
    """X, y and sample weights as a user gave them, and what has been checked of them.

    Arrays of other libraries are taken by DLPack here; see :func:`host_array`.

    Parameters
    ----------
    X, y, sample_weight : object
    engine : str, default="auto"
        Of all who train on them. With "cuda" X may lie on the GPU and stays there.
    """

    def __init__(self, X: Any, y: Any, sample_weight: Any, engine: str = "auto") -> None:
        self.X = given_rows(X, engine)
        self.y = host_array(y, "y", engine)
        self.sample_weight = host_array(sample_weight, "sample_weight", engine)
        self._checked: dict[Any, tuple[TrainingRows, Any]] = {}
        self._rows: dict[np.dtype[Any], TrainingRows] = {}

    def checked(
        self, estimator: "BaseMultilayerPerceptron", dtype: np.dtype[Any] | None, reset: bool
    ) -> tuple[TrainingRows, Any]:
        """Check X and y as scikit-learn does, or only once where they were checked before.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            What errors name, and what gets ``n_features_in_`` and ``feature_names_in_``.
        dtype : dtype or None
            Of the network. None: that of X if it is float32 or float64, else float64.
        reset : bool
            Whether these are the estimator's first data; otherwise they must have the features of
            those before.

        Returns
        -------
        rows : TrainingRows
        y : ndarray of shape (n_samples,) or (n_samples, n_columns), or sparse matrix of the latter
        """
        y_numeric = is_regressor(estimator)
        key = (dtype, y_numeric)
        seen = outline(self.X)
        if key in self._checked:
            validate_data(estimator, seen, self.y, reset=reset, skip_check_array=True)
            return self._checked[key]
        checks: dict[str, Any] = {
            "dtype": (np.float64, np.float32) if dtype is None else dtype,
            "order": "C",
        }
        if isinstance(self.X, DeviceArray):
            check_device_rows(estimator, self.X, dtype)
            checks = OUTLINE_CHECKS
        X, y = validate_data(
            estimator,
            seen,
            self.y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=y_numeric,
            reset=reset,
            **checks,
        )
        if isinstance(self.X, DeviceArray):
            X = self.X
        if y.ndim == 2 and y.shape[1] == 1 and not sparse.issparse(y):
            y = column_or_1d(y, warn=True)
        rows = self._rows.setdefault(X.dtype, TrainingRows(by_rows(X)))
        self._checked[key] = rows, y
        return rows, y
