"""What both estimators share: from data and parameters to a training run, and prediction."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from parmlp import _core
from parmlp.engines import Team, make_team
from parmlp.engines.cuda.arrays import DeviceArray
from parmlp.estimators._device_rows import (
    OUTLINE_CHECKS,
    check_device_rows,
    given_rows,
    outline,
    pick_rows,
)
from parmlp.estimators._parameters import CONSTRAINTS, hidden_units
from parmlp.estimators._row_order import RowOrder
from parmlp.estimators._rows import by_rows, engine_rows
from parmlp.estimators._samples import Samples, TrainingRows
from parmlp.estimators._scikit_learn import check_sample_weight
from parmlp.estimators._session import NetworkKind, Session, SolverSettings
from parmlp.estimators._training import TrainingRun, Validation, train
from parmlp.estimators._weights import Weights, check_weights, draw_weights
from parmlp.estimators.report import EpochReport

Array = NDArray[Any]

# Prediction needs no loss, but a native network wants one that its output can have.
_ANY_LOSS = {
    "identity": "squared_error",
    "logistic": "log_loss",
    "softmax": "log_loss",
    "exp": "poisson",
}


@dataclass(frozen=True)
class Targets:
    """Checked targets, and the network's outputs that they are compared with.

    Attributes
    ----------
    values : ndarray
        Classifier: int32 class indices of shape (n_samples,), or booleans of shape (n_samples,
        n_labels). Regressor: floats of shape (n_samples, n_outputs).
    n_outputs : int
    out_activation : str
        In scikit-learn's names.
    stratify : ndarray of shape (n_samples,) or None
        What a validation split keeps the proportions of.
    """

    values: Array
    n_outputs: int
    out_activation: str
    stratify: Array | None


@dataclass(frozen=True)
class CheckedFit:
    """What a call of ``fit`` or ``partial_fit`` trains, checked; nothing is drawn or trained yet.

    Attributes
    ----------
    rows : TrainingRows of shape (n_samples, n_features)
    targets : Targets
    sample_weight : ndarray of shape (n_samples,) or None
        Of the network's dtype.
    layer_units : tuple of int
        Units of each layer, inputs first.
    weights : Weights or None
        To continue from; None for new ones.
    incremental : bool
        One epoch of ``partial_fit``.
    """

    rows: TrainingRows
    targets: Targets
    sample_weight: Array | None
    layer_units: tuple[int, ...]
    weights: Weights | None
    incremental: bool


class BaseMultilayerPerceptron(BaseEstimator, ABC):  # type: ignore[misc]
    """Base of :class:`MLPClassifier` and :class:`MLPRegressor`, which document the parameters."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    # Parameters
    hidden_layer_sizes: Any
    activation: str
    solver: str
    alpha: float
    batch_size: int | Literal["auto"]
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    loss: str
    shuffle: bool
    random_state: int | np.random.RandomState | None
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    out_activation: str
    weight_init: str
    weight_decay: float
    leaky_relu_slope: float
    engine: str
    n_threads: int | None
    adaptive_threads: bool
    schedule: str
    dtype: str
    precision: str
    callback: Callable[[EpochReport], object] | None

    # Fitted attributes, scikit-learn's
    coefs_: list[Array]
    intercepts_: list[Array]
    loss_: float
    best_loss_: float | None
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_iter_: int
    t_: int
    n_layers_: int
    n_outputs_: int
    n_features_in_: int
    out_activation_: str

    # Fitted attributes, ours
    engine_: str
    n_threads_: int
    schedule_: str
    simd_: str
    stop_reason_: str
    training_seconds_: float
    tiles_per_worker_: list[int]

    _no_improvement_count: int
    _session: Session | None
    _step_profile: _core.StepProfile | None = None  # what profile_steps has its copy train with

    @abstractmethod
    def __init__(self, **parameters: Any) -> None:
        for name, value in parameters.items():
            setattr(self, name, value)

    @abstractmethod
    def _encode_targets(self, y: Any, incremental: bool) -> Targets:
        """Return checked ``y`` as targets; a classifier defines its classes here if need be."""

    @abstractmethod
    def _core_targets(self, values: Array, dtype: np.dtype[Any]) -> Array:
        """Return the values of :class:`Targets` as the native core takes them."""

    @abstractmethod
    def _make_score(self, values: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        """Return what scores output activations of held-out rows with these targets."""

    # ------------------------------------------------------------------ training

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool) -> None:
        fit = self._check_fit(Samples(X, y, sample_weight, self.engine), incremental)
        self._train(fit, self.n_threads, check_random_state(self.random_state))

    def _check_fit(self, samples: Samples, incremental: bool) -> CheckedFit:
        """Check what there is to train, and on what; nothing is drawn yet."""
        self._check_trainable(incremental)
        hidden = hidden_units(self.hidden_layer_sizes)
        continues = hasattr(self, "coefs_") and (incremental or self.warm_start)
        weights = self._weights_to_continue(hidden) if continues else None
        rows, y = self._validate_data(samples, weights)
        sample_weight = samples.sample_weight
        if sample_weight is not None:
            sample_weight = self._validate_sample_weight(sample_weight, outline(rows.X))
        targets = self._encode_targets(y, incremental)
        if weights is not None and targets.n_outputs != self.n_outputs_:
            raise ValueError(
                f"y needs {targets.n_outputs} outputs, but this estimator was fitted with "
                f"{self.n_outputs_}: use a new one, or fit with warm_start=False."
            )
        units = (rows.X.shape[1], *hidden, targets.n_outputs)
        return CheckedFit(rows, targets, sample_weight, units, weights, incremental)

    def _train(
        self,
        fit: CheckedFit,
        n_threads: int | None,
        random_state: np.random.RandomState,
        *,
        warn_of_threads: bool = True,
        team: Team | None = None,
        callback: Callable[[EpochReport], object] | None = None,
        stop: _core.StopFlag | None = None,
    ) -> None:
        """Train what :meth:`_check_fit` has checked.

        Parameters
        ----------
        fit : CheckedFit
        n_threads : int or None
            In place of the parameter.
        random_state : RandomState
            Likewise.
        warn_of_threads : bool
            Whether to warn where ``n_threads`` exceeds the usable cores.
        team : Team or None
            Who trains, where that is decided already; ``n_threads`` does not count then.
        callback, stop
            As in :class:`TrainingRun`.
        """
        X, targets, weights = fit.rows.X, fit.targets, fit.weights
        if weights is None:
            weights = draw_weights(
                fit.layer_units, self.weight_init, self.activation, X.dtype, random_state
            )
            self._start_fitted_attributes(targets, weights)
        self.out_activation_ = targets.out_activation
        self._prepare_scores()

        train_rows, validation = self._hold_out(X, targets, fit.sample_weight, random_state)
        order = RowOrder(train_rows, self.shuffle, random_state)
        batch_size = self._rows_per_batch(order.n_rows)
        if self.batch_size != "auto" and self.batch_size > order.n_rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                "clipped",
                stacklevel=5,
            )
        if team is None:
            team = make_team(
                self.engine, n_threads, fit.layer_units, batch_size, warn=warn_of_threads
            )
        session = self._session_to_train(fit.incremental)
        network = session.open(team, self._kind_to_train(fit), weights, float(self.alpha))
        self.engine_, self.n_threads_ = team.engine, team.size
        self.schedule_, self.simd_ = self.schedule, network.simd
        # from here on there are weights, even if the first epoch raises
        self.coefs_, self.intercepts_ = weights.coefs, weights.intercepts
        self._session = session
        epochs = 1 if fit.incremental else int(self.max_iter)
        if self.precision == "bf16":
            rows = fit.rows.plain(team)
        else:
            rows = fit.rows.to_train_on(team, fit.layer_units[1], batch_size, epochs)
        run = TrainingRun(
            network=network,
            team=team,
            learning_rate=session.learning_rate,
            X=rows,
            targets=self._core_targets(targets.values, X.dtype),
            sample_weight=fit.sample_weight,
            rows=order,
            batch_size=batch_size,
            max_epochs=epochs,
            incremental=fit.incremental,
            continues=fit.weights is not None,
            validation=validation and replace(validation, X=engine_rows(validation.X, team)),
            callback=callback,
            stop=stop,
        )
        try:
            train(self, run)
        finally:
            if self.stop_reason_ == "diverged":
                self._session = None  # its moments are not finite: partial_fit starts new ones

    def _check_trainable(self, incremental: bool) -> None:
        if self.solver == "lbfgs":
            raise ValueError(
                "solver='lbfgs' is not available in parmlp: use 'adam', 'adamw' or 'sgd', or "
                f"sklearn.neural_network.{type(self).__name__} for lbfgs."
            )
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.precision != "full" and self.dtype == "float64":
            raise ValueError(
                f"precision='{self.precision}' trains float32 weights, but dtype is 'float64': use "
                "dtype='auto' or 'float32', or precision='full'."
            )

    def _weights_to_continue(self, hidden: list[int]) -> Weights:
        weights = check_weights(
            self.coefs_,
            self.intercepts_,
            self.n_features_in_,
            self.n_outputs_,
            self._settled_dtype(),
        )
        present = weights.layer_units[1:-1]
        if present != hidden:
            raise ValueError(
                f"hidden_layer_sizes is {hidden}, but the weights to continue from have hidden "
                f"layers of {present} units: set hidden_layer_sizes to {present}, or fit with "
                "warm_start=False."
            )
        return weights

    def _settled_dtype(self) -> str:
        """Return ``dtype``, or what ``precision`` makes of "auto"."""
        return self.dtype if self.precision == "full" else "float32"

    def _validate_data(self, samples: Samples, weights: Weights | None) -> tuple[TrainingRows, Any]:
        """Return X, C-contiguous or CSR, of the network's dtype, and y as checked by kind."""
        dtype: np.dtype[Any] | None = None
        if weights is not None:
            dtype = weights.dtype
        elif self._settled_dtype() != "auto":
            dtype = np.dtype(self._settled_dtype())
        if self.precision == "bf16" and sparse.issparse(samples.X):
            raise ValueError(
                "precision='bf16' trains on dense X only, got a sparse matrix: use "
                "precision='full', or X.toarray()."
            )
        return samples.checked(self, dtype, reset=weights is None)

    def _validate_sample_weight(self, sample_weight: Any, X: Array) -> Array:
        with np.errstate(over="ignore"):  # an error below
            weights: Array = check_sample_weight(sample_weight, X).astype(X.dtype, copy=False)
        if not np.isfinite(weights).all():
            raise ValueError(f"sample_weight contains values too large for {X.dtype}.")
        if not weights.any():
            raise ValueError("sample_weight is 0 for every row: at least one must be positive.")
        return weights

    def _start_fitted_attributes(self, targets: Targets, weights: Weights) -> None:
        self.n_outputs_ = targets.n_outputs
        self.n_layers_ = len(weights.layer_units)
        self.n_iter_ = 0
        self.t_ = 0
        self.loss_curve_ = []
        self.best_loss_ = None
        self.validation_scores_ = None
        self.best_validation_score_ = None
        self._no_improvement_count = 0

    def _prepare_scores(self) -> None:
        """Have the records that this way of stopping compares with, and only those."""
        if self.early_stopping:
            self.best_loss_ = None
            if self.best_validation_score_ is None or self.validation_scores_ is None:
                self.validation_scores_, self.best_validation_score_ = [], -np.inf
        else:
            self.validation_scores_ = self.best_validation_score_ = None
            if self.best_loss_ is None:
                self.best_loss_ = np.inf

    def _hold_out(
        self,
        X: Array,
        targets: Targets,
        sample_weight: Array | None,
        random_state: np.random.RandomState,
    ) -> tuple[NDArray[np.int64] | int, Validation | None]:
        """Split rows for early stopping: the rows to train on (or how many), and the others."""
        n_samples = X.shape[0]
        if not self.early_stopping:
            return n_samples, None
        train_rows, held_out = train_test_split(
            np.arange(n_samples, dtype=np.int64),
            random_state=random_state,
            test_size=self.validation_fraction,
            stratify=targets.stratify,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        w = None if sample_weight is None else sample_weight[held_out]
        if w is not None and w.sum() == 0:
            raise ValueError(
                "sample_weight sums to 0 over the rows held out for early stopping: remove rows of "
                "weight 0, or increase validation_fraction."
            )
        score = self._make_score(targets.values[held_out], w)
        return train_rows, Validation(pick_rows(X, held_out), score)

    def _rows_per_batch(self, n_rows: int) -> int:
        wanted = 200 if self.batch_size == "auto" else int(self.batch_size)
        return min(wanted, n_rows)

    def _session_to_train(self, incremental: bool) -> Session:
        """Return the solver that ``partial_fit`` continues, or a new one."""
        session = getattr(self, "_session", None)
        if incremental and isinstance(session, Session):
            return session
        return Session(
            SolverSettings(
                solver=self.solver,
                learning_rate_init=float(self.learning_rate_init),
                learning_rate=self.learning_rate,
                power_t=float(self.power_t),
                momentum=float(self.momentum),
                nesterovs_momentum=bool(self.nesterovs_momentum),
                beta_1=float(self.beta_1),
                beta_2=float(self.beta_2),
                epsilon=float(self.epsilon),
                weight_decay=float(self.weight_decay),
            )
        )

    def _kind_to_train(self, fit: CheckedFit) -> NetworkKind:
        return NetworkKind(
            layer_units=fit.layer_units,
            activation=self.activation,
            out_activation=fit.targets.out_activation,
            loss=self.loss,
            dtype=str(fit.rows.X.dtype),
            leaky_relu_slope=float(self.leaky_relu_slope),
            precision=self.precision,
        )

    def _kind_to_predict(self, weights: Weights) -> NetworkKind:
        return NetworkKind(
            layer_units=tuple(weights.layer_units),
            activation=self.activation,
            out_activation=self.out_activation_,
            loss=_ANY_LOSS[self.out_activation_],
            dtype=str(weights.dtype),
            leaky_relu_slope=float(self.leaky_relu_slope),
        )

    # ---------------------------------------------------------------- prediction

    def _output_activations(self, X: ArrayLike) -> Array:
        """Return the network's outputs for checked ``X``, of shape (n_samples, n_outputs)."""
        check_is_fitted(self)
        weights = check_weights(
            self.coefs_,
            self.intercepts_,
            self.n_features_in_,
            self.n_outputs_,
            self._settled_dtype(),
        )
        rows = self._validate_rows(given_rows(X, self.engine), weights.dtype)
        kind = self._kind_to_predict(weights)
        # fit has warned of too many threads
        team = make_team(
            self.engine, self.n_threads, weights.layer_units, rows.shape[0], warn=False
        )
        network = kind.build(team)
        network.set_parameters(weights.coefs, weights.intercepts)
        return network.predict(team, engine_rows(rows, team))

    def _validate_rows(self, X: Any, dtype: np.dtype[Any]) -> Any:
        """Return X to predict for: C-contiguous or CSR, of the weights' dtype."""
        if isinstance(X, DeviceArray):
            check_device_rows(self, X, dtype)
            validate_data(self, outline(X), reset=False, **OUTLINE_CHECKS)
            return X
        accept_sparse = ["csr", "csc"]
        return by_rows(
            validate_data(self, X, accept_sparse=accept_sparse, dtype=dtype, order="C", reset=False)
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coefs_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.precision != "bf16"
        return tags

    # --------------------------------------------------------------- model files

    def _restore_fitted(
        self,
        *,
        coefs: list[Array],
        intercepts: list[Array],
        classes: Array | None,
        multilabel: bool,
        n_iter: int,
        feature_names: Array | None,
    ) -> None:
        """Make this estimator as one just fitted with these weights, with a fresh optimizer.

        Parameters
        ----------
        coefs, intercepts : list of ndarray
        classes : ndarray or None
            Of a classifier, sorted.
        multilabel : bool
            Whether the classes are labels of which a row can have several.
        n_iter : int
        feature_names : ndarray of str or None

        Raises
        ------
        ValueError
            When the weights do not form a network for these classes.
        """
        n_features = int(np.shape(coefs[0])[0]) if coefs and np.ndim(coefs[0]) == 2 else 0
        targets = self._restore_targets(classes, multilabel, int(np.shape(intercepts[-1])[0]))
        weights = check_weights(coefs, intercepts, n_features, targets.n_outputs)
        self.n_features_in_ = n_features
        if feature_names is not None:
            self.feature_names_in_ = np.asarray(feature_names, dtype=object)
        self._start_fitted_attributes(targets, weights)
        self.out_activation_ = targets.out_activation
        self._prepare_scores()
        self._session = None
        self.n_iter_ = n_iter
        self.coefs_, self.intercepts_ = weights.coefs, weights.intercepts

    @abstractmethod
    def _restore_targets(self, classes: Array | None, multilabel: bool, n_outputs: int) -> Targets:
        """Define the targets of a network with ``n_outputs`` outputs that is not fitted here."""
