"""MLPRegressor: a multilayer perceptron that predicts numbers."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from parmlp.estimators._host_arrays import host_array
from parmlp.estimators._multilayer_perceptron import BaseMultilayerPerceptron, Targets
from parmlp.estimators._parameters import (
    CONSTRAINTS,
    OUTPUT_ACTIVATIONS,
    choose_out_activation,
    solver_takes_minibatches,
)
from parmlp.estimators._scikit_learn import StrOptions, validates_parameters
from parmlp.estimators.report import EpochReport

Array = NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMultilayerPerceptron):  # type: ignore[misc]
    """Multilayer perceptron regressor, trained in parallel.

    A drop-in replacement of :class:`sklearn.neural_network.MLPRegressor`: its parameters have the
    same names, places, defaults and meaning, and in float64 the same ``random_state`` gives the
    same weights up to rounding. The trained weights are the same bits for every engine and any
    number of threads.

    Parameters
    ----------
    loss : {'squared_error', 'poisson', 'mse'}, default='squared_error'
        'squared_error': scikit-learn's half squared error, reported averaged over outputs, while
        its gradient is that of the sum over outputs. 'poisson': half Poisson deviance with
        exponential outputs, for y >= 0. 'mse': the paper's ``1/(2N) sum_i ||y_i - a_i||^2``, a sum
        over outputs in loss and gradient; the same as 'squared_error' for one output.
    hidden_layer_sizes : array-like of int or int, default=(100,)
        Units of each hidden layer. Empty for a network without hidden layers.
    activation : {'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'elu', 'gelu', \
            'gelu_tanh', 'silu'}, default='relu'
        Activation of the hidden layers. 'sigmoid' is another name of 'logistic'; 'gelu' is the
        exact one, 'gelu_tanh' its approximation by tanh.
    solver : {'sgd', 'adam', 'adamw'}, default='adam'
        'sgd' is stochastic gradient descent, with momentum unless ``momentum=0``; 'adam' is Kingma
        and Ba's, 'adamw' adam with decoupled ``weight_decay``. scikit-learn's 'lbfgs' is not
        available.
    alpha : float, default=0.0001
        Strength of the L2 penalty: a minibatch's loss has ``alpha / (2 S) * sum(W ** 2)``, S being
        the sum of its sample weights (its number of rows). Biases are not penalized.
    batch_size : int or 'auto', default='auto'
        Rows of a minibatch; 'auto' is ``min(200, n_samples)``.
    learning_rate : {'constant', 'invscaling', 'adaptive'}, default='constant'
        How sgd's learning rate goes on. 'invscaling': ``learning_rate_init / (t + 1) ** power_t``
        after each epoch, t being the rows seen; 'adaptive': divided by 5 where training would have
        stopped for want of improvement, until it is 1e-6.
    learning_rate_init : float, default=0.001
        The initial learning rate.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Epochs trained at most.
    shuffle : bool, default=True
        Whether each epoch visits the rows in a new order.
    random_state : int, RandomState instance or None, default=None
        Draws initial weights, the validation split and the row orders, in scikit-learn's order: the
        same value gives what scikit-learn gives.
    tol : float, default=1e-4
        Training stops when ``n_iter_no_change`` consecutive epochs do not improve the loss (the
        validation score, with early stopping) by ``tol``.
    verbose : bool, default=False
        Print the loss of each epoch, in scikit-learn's words.
    warm_start : bool, default=False
        Whether ``fit`` continues from ``coefs_`` and ``intercepts_`` as they now are, with a new
        solver.
    momentum : float, default=0.9
        Momentum of sgd, between 0 and 1.
    nesterovs_momentum : bool, default=True
        Whether sgd's momentum is Nesterov's.
    early_stopping : bool, default=False
        Hold out ``validation_fraction`` of the rows (stratified for a binary target), stop when
        their score does not improve, and keep the weights with the best score.
    validation_fraction : float, default=0.1
        Fraction of the rows held out for early stopping.
    beta_1 : float, default=0.9
        Decay rate of adam's first moments.
    beta_2 : float, default=0.999
        Decay rate of adam's second moments.
    epsilon : float, default=1e-8
        Added to the root of adam's second moments.
    n_iter_no_change : int or inf, default=10
        Epochs without improvement that are still borne.
    max_fun : int, default=15000
        Of scikit-learn's lbfgs; not used.
    out_activation : {'auto', 'identity', 'logistic', 'exp'}, default='auto'
        Activation of the output layer. Legal are identity with 'squared_error', exp with 'poisson',
        identity and logistic with 'mse', whose default here is identity. 'sigmoid' is another name
        of 'logistic'.
    weight_init : {'scikit-learn', 'glorot_uniform', 'he', 'small_random'}, \
            default='scikit-learn'
        Initial weights. 'scikit-learn': uniform, weights and biases; 'glorot_uniform': uniform with
        zero biases; 'he': normal with variance 2 / n_in and zero biases; 'small_random': normal
        with standard deviation 0.01, weights and biases.
    weight_decay : float, default=0.01
        Of adamw: each step multiplies the weights (not the biases) by ``1 - learning_rate_init *
        weight_decay``.
    leaky_relu_slope : float, default=0.01
        Slope of 'leaky_relu' below 0.
    engine : {'auto', 'serial', 'threads', 'openmp', 'cuda'}, default='auto'
        What runs training and prediction. 'auto' takes 'threads' where the work of a minibatch pays
        for it, else 'serial'; these three and 'openmp' give the same bits. 'cuda' is an NVIDIA GPU,
        with sums in another order; it takes no ``n_threads``, and 'two-phase' alone.
    n_threads : int or None, default=None
        Threads of the engine. None: as many as pay, at most the usable cores,
        ``OMP_NUM_THREADS`` and threadpoolctl's limit, and one inside a worker of joblib or
        multiprocessing. -1: all usable cores. Their number does not change the result.
    adaptive_threads : bool, default=True
        Let fewer threads run the steps where that is measured to be faster: short steps, or cores
        that other programs use. Of the schedule 'two-phase'; the others' results depend on the
        threads. False: always all of them, for measurements.
    schedule : {'two-phase', 'partial-gradients', 'fork-join'}, default='two-phase'
        Order of work within a minibatch: 'two-phase' is the fast one, whose result depends on
        neither engine nor threads; 'partial-gradients' the paper's; 'fork-join' the paper's with
        threads made for each minibatch.
    dtype : {'auto', 'float32', 'float64'}, default='auto'
        Precision of weights and training. 'auto': that of X in the first fit, float64 unless it is
        float32.
    precision : {'full', 'tf32', 'bf16'}, default='full'
        Precision of the products in training. 'full': ``dtype``. 'bf16': their operands are rounded
        to bfloat16; sums, weights and all else are float32, also for X in float64. Much faster for
        wide layers on CPUs with AVX512_BF16 and on GPUs, an error on other CPUs; dense X only.
        'tf32': likewise to 10 bits of fraction, on GPUs only. Predictions are made in float32.
    callback : callable or None, default=None
        Called as ``callback(report)`` with an :class:`EpochReport` after each epoch; a true answer
        stops the training. Edits to the estimator's weights count.

    Attributes
    ----------
    loss_ : float
        Loss of the last epoch: the mean of its minibatch losses, each before its step.
    best_loss_ : float or None
        The least loss of an epoch; None with early stopping.
    loss_curve_ : list of float
        Loss of every epoch.
    validation_scores_ : list of float or None
        R2 of the held-out rows after every epoch; None without early stopping.
    best_validation_score_ : float or None
        The best of them; None without early stopping.
    t_ : int
        Rows seen in training, counted each time.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer after the inputs. C-contiguous and writable; edits and assignments
        count in all that follows.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer; likewise.
    n_features_in_ : int
        Features seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where all are strings.
    n_iter_ : int
        Epochs trained by the last call.
    n_layers_ : int
        Layers, with inputs and outputs.
    n_outputs_ : int
        Units of the output layer.
    out_activation_ : str
        Activation of the output layer.
    engine_ : str
        Engine of the last training.
    n_threads_ : int
        Its threads.
    schedule_ : str
        Its schedule.
    simd_ : str
        Its vector instructions: 'baseline', 'avx2' or 'avx512'; of a GPU, as in 'sm_90'.
    stop_reason_ : str
        Why the last training ended: 'max_iter', 'tolerance', 'callback', 'interrupted' (Ctrl-C),
        'diverged', 'partial_fit' (its one epoch was done) or 'error'.
    training_seconds_ : float
        Time of the last training without shuffling, scoring and callbacks.
    tiles_per_worker_ : list of int
        Tiles that each thread ran in it.

    Notes
    -----
    Sparse X (csr, csc) is not made dense: the first layer works on its nonzero values. A dense X
    that is mostly zeros is compressed once a fit. Both give the bits of the dense computation.

    Examples
    --------
    >>> from parmlp import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> model = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X, y)
    >>> bool(model.score(X, y) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"squared_error", "poisson", "mse"})],
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        out_activation: str = "auto",
        weight_init: str = "scikit-learn",
        weight_decay: float = 0.01,
        leaky_relu_slope: float = 0.01,
        engine: str = "auto",
        n_threads: int | None = None,
        adaptive_threads: bool = True,
        schedule: str = "two-phase",
        dtype: str = "auto",
        precision: str = "full",
        callback: Callable[[EpochReport], object] | None = None,
    ) -> None:
        super().__init__(
            loss=loss,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            out_activation=out_activation,
            weight_init=weight_init,
            weight_decay=weight_decay,
            leaky_relu_slope=leaky_relu_slope,
            engine=engine,
            n_threads=n_threads,
            adaptive_threads=adaptive_threads,
            schedule=schedule,
            dtype=dtype,
            precision=precision,
            callback=callback,
        )

    @validates_parameters
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "MLPRegressor":
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Arrays of other libraries in the CPU's memory are taken by DLPack, without a copy; with
            ``engine="cuda"`` also those in the GPU's, which stay there.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        ValueError
            For parameters or data that cannot be trained, and when training diverges: the message
            names the epoch, and the weights are those of before it.
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    @available_if(solver_takes_minibatches)  # type: ignore[untyped-decorator]
    @validates_parameters
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "MLPRegressor":
        """Train one more epoch on these rows; the solver goes on where it was.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        MLPRegressor
            This estimator.

        Raises
        ------
        ValueError
            As :meth:`fit` does, and with ``early_stopping=True``.
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return the predicted values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several outputs
        """
        outputs = self._output_activations(X)
        return outputs.ravel() if self.n_outputs_ == 1 else outputs

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the coefficient of determination, R2, of :meth:`predict`.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.
        """
        y = host_array(y, "y", self.engine)
        sample_weight = host_array(sample_weight, "sample_weight", self.engine)
        return float(super().score(X, y, sample_weight))

    # ------------------------------------------------------------------ targets

    def _encode_targets(self, y: Any, incremental: bool) -> Targets:
        y = y.toarray() if sparse.issparse(y) else y
        values = y.reshape(-1, 1) if y.ndim == 1 else y
        if self.loss == "poisson" and (values < 0).any():
            raise ValueError(
                f"loss='poisson' needs y >= 0, but y has the value {values.min()}: use "
                "loss='squared_error' for targets that can be negative."
            )
        return Targets(values, values.shape[1], self._target_activation(), None)

    def _target_activation(self) -> str:
        # mse's first legal output is a classifier's
        default = "identity" if self.loss == "mse" else OUTPUT_ACTIVATIONS[self.loss][0]
        return choose_out_activation(self.loss, self.out_activation, default)

    def _core_targets(self, values: Array, dtype: np.dtype[Any]) -> Array:
        with np.errstate(over="ignore"):
            targets = np.ascontiguousarray(values, dtype=dtype)
        if not np.isfinite(targets).all():
            raise ValueError(
                f"y contains values too large for {dtype}: scale y, or use dtype='float64'."
            )
        return targets

    def _make_score(self, values: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        # R2 as sklearn.metrics.r2_score has it, with all that does not change computed once
        y = values.astype(np.float64)
        w = np.ones((len(y), 1)) if sample_weight is None else sample_weight[:, None]
        total = (w * (y - np.average(y, axis=0, weights=sample_weight)) ** 2).sum(axis=0)

        def r2(outputs: Array) -> float:
            if not np.isfinite(outputs).all():
                return float("nan")
            with np.errstate(over="ignore"):  # the score is -inf then, as scikit-learn's
                residual = (w * (y - outputs) ** 2).sum(axis=0)
            # of a constant target: perfect or not at all
            scores = np.where(residual == 0, 1.0, 0.0)
            varies = total != 0
            scores[varies] = 1.0 - residual[varies] / total[varies]
            return float(scores.mean())

        return r2

    def _restore_targets(self, classes: Array | None, multilabel: bool, n_outputs: int) -> Targets:
        if classes is not None or multilabel:
            raise ValueError("a regressor has no classes.")
        return Targets(np.empty(0), n_outputs, self._target_activation(), None)
