"""MLPClassifier: a multilayer perceptron that tells classes apart."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from parmlp.estimators._host_arrays import host_array
from parmlp.estimators._multilayer_perceptron import BaseMultilayerPerceptron, Targets
from parmlp.estimators._parameters import (
    CONSTRAINTS,
    choose_out_activation,
    solver_takes_minibatches,
)
from parmlp.estimators._scikit_learn import (
    StrOptions,
    check_partial_fit_first_call,
    validates_parameters,
)
from parmlp.estimators.report import EpochReport

Array = NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMultilayerPerceptron):  # type: ignore[misc]
    """Multilayer perceptron classifier, trained in parallel.

    A drop-in replacement of :class:`sklearn.neural_network.MLPClassifier`: its parameters have the
    same names, places, defaults and meaning, and in float64 the same ``random_state`` gives the
    same weights up to rounding. The trained weights are the same bits for every engine and any
    number of threads.

    Parameters
    ----------
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
    loss : {'log_loss', 'mse'}, default='log_loss'
        'log_loss': cross-entropy, with softmax outputs for several classes, one logistic output for
        two, and one logistic output per label for multilabel targets. 'mse': the paper's
        ``1/(2N) sum_i ||y_i - a_i||^2`` with one logistic output per class (two for two classes).
    out_activation : {'auto', 'identity', 'logistic', 'softmax'}, default='auto'
        Activation of the output layer. Legal are softmax and logistic with 'log_loss' (softmax: one
        output per class, also for two; not for multilabel targets), logistic and identity with
        'mse'. 'sigmoid' is another name of 'logistic'.
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
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    target_type_ : {'binary', 'multiclass', 'multilabel-indicator'}
        What the targets were; one class alone counts as binary.
    loss_ : float
        Loss of the last epoch: the mean of its minibatch losses, each before its step.
    best_loss_ : float or None
        The least loss of an epoch; None with early stopping.
    loss_curve_ : list of float
        Loss of every epoch.
    validation_scores_ : list of float or None
        Accuracy of the held-out rows after every epoch; None without early stopping.
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
    >>> from parmlp import MLPClassifier
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(random_state=0, max_iter=100).fit(X / 16, y)
    >>> model.predict(X[:5] / 16)
    array([0, 1, 2, 3, 4])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "loss": [StrOptions({"log_loss", "mse"})],
    }

    classes_: Array
    target_type_: str
    _sparse_targets: bool

    def __init__(
        self,
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
        loss: str = "log_loss",
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
            loss=loss,
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
    ) -> "MLPClassifier":
        """Train the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Arrays of other libraries in the CPU's memory are taken by DLPack, without a copy; with
            ``engine="cuda"`` also those in the GPU's, which stay there.
        y : array-like of shape (n_samples,), or (n_samples, n_labels) of 0 and 1 for multilabel
        sample_weight : array-like of shape (n_samples,) or None, default=None

        Returns
        -------
        MLPClassifier
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
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> "MLPClassifier":
        """Train one more epoch on these rows; the solver goes on where it was.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.
        classes : array-like of shape (n_classes,) or None, default=None
            All classes there will be. Needed in the first call.

        Returns
        -------
        MLPClassifier
            This estimator.

        Raises
        ------
        ValueError
            As :meth:`fit` does, and with ``early_stopping=True``.
        """
        y = host_array(y, "y", self.engine)
        classes = host_array(classes, "classes", self.engine)
        if check_partial_fit_first_call(self, classes):
            columns = sparse.issparse(y) or np.ndim(y) > 1
            multilabel = columns and type_of_target(y).startswith("multilabel")
            self._define_target_type(multilabel, bool(sparse.issparse(y)))
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) of 0 and 1 for multilabel
        """
        codes = self._decide(self._output_activations(X))
        if self.target_type_ != "multilabel-indicator":
            return self.classes_[codes]
        labels: Array = codes.astype(np.int64)
        if self._sparse_targets:
            labels = sparse.csr_matrix(labels)
        return labels

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class.

        With one logistic output per class the outputs are divided by their sum (each class is as
        probable as the others where all are 0), with identity outputs negative ones count as 0.
        Multilabel probabilities are each label's own.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; two also for a single class, as scikit-learn has
            it.
        """
        outputs = self._output_activations(X)
        if self.n_outputs_ == 1 and self.loss == "log_loss":
            p = outputs.ravel()
            return np.vstack([1 - p, p]).T
        if self.loss == "log_loss" and self.out_activation_ == "softmax":
            return outputs
        if self.out_activation_ == "identity":
            outputs = np.maximum(outputs, 0)
        if self.target_type_ == "multilabel-indicator":
            return np.minimum(outputs, 1)
        total = outputs.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            shares: Array = outputs / total
        shares[total.ravel() == 0] = 1.0 / self.n_outputs_
        return shares

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Return the logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy of :meth:`predict`: the share of rows whose labels are all right.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.
        """
        y = host_array(y, "y", self.engine)
        sample_weight = host_array(sample_weight, "sample_weight", self.engine)
        return float(super().score(X, y, sample_weight))

    # ------------------------------------------------------------------ targets

    def _define_target_type(self, multilabel: bool, sparse_targets: bool) -> None:
        if multilabel:
            self.target_type_ = "multilabel-indicator"
        else:
            self.target_type_ = "binary" if len(self.classes_) <= 2 else "multiclass"
        self._sparse_targets = sparse_targets

    def _encode_targets(self, y: Any, incremental: bool) -> Targets:
        labels, codes = _labels_and_codes(y)
        multilabel = codes.ndim == 2
        if hasattr(self, "classes_") and (incremental or self.warm_start):
            self._check_labels(labels, multilabel, incremental)
            if not multilabel and len(labels) < len(self.classes_):
                # some classes are missing: from places in labels to places in classes_
                codes = np.searchsorted(self.classes_, labels).astype(np.int32)[codes]
        else:
            self.classes_ = labels
            self._define_target_type(multilabel, bool(sparse.issparse(y)))
        stratify = y if self.target_type_ == "binary" else None
        return Targets(codes, *self._target_outputs(), stratify)

    def _check_labels(self, labels: Array, multilabel: bool, incremental: bool) -> None:
        """Raise ValueError unless these labels can go on with the classes there are."""
        if multilabel != (self.target_type_ == "multilabel-indicator"):
            given = "multilabel-indicator" if multilabel else "single-label"
            raise ValueError(
                f"y is {given}, but this estimator was fitted with {self.target_type_} targets."
            )
        if multilabel:
            if len(labels) != len(self.classes_):
                raise ValueError(
                    f"y has {len(labels)} labels, but this estimator was fitted with "
                    f"{len(self.classes_)}."
                )
        elif not incremental and set(labels) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {labels}"
            )
        elif len(np.setdiff1d(labels, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {labels}."
            )

    def _target_outputs(self) -> tuple[int, str]:
        """Return the number of outputs and their activation for the classes."""
        softmax = self.loss == "log_loss" and self.target_type_ == "multiclass"
        default = "softmax" if softmax else "logistic"
        out_activation = choose_out_activation(self.loss, self.out_activation, default)
        multilabel = self.target_type_ == "multilabel-indicator"
        if multilabel and out_activation == "softmax":
            raise ValueError(
                "out_activation='softmax' makes the labels exclude each other, but a row of a "
                "multilabel target may have several: use 'logistic' or 'auto'."
            )
        one_output = (
            self.target_type_ == "binary"
            and self.loss == "log_loss"
            and out_activation == "logistic"
        )
        return 1 if one_output else len(self.classes_), out_activation

    def _core_targets(self, values: Array, dtype: np.dtype[Any]) -> Array:
        if self.target_type_ == "multilabel-indicator":
            return values.astype(dtype)
        if self.loss == "mse" or self.out_activation_ == "softmax":
            return values
        if self.n_outputs_ == 1:
            return values.astype(dtype).reshape(-1, 1)
        return np.eye(self.n_outputs_, dtype=dtype)[values]

    def _decide(self, outputs: Array) -> Array:
        """Return class indices (n_samples,), or booleans (n_samples, n_labels) for multilabel."""
        if self.target_type_ == "multilabel-indicator":
            return outputs > 0.5
        if len(self.classes_) == 1:
            return np.zeros(len(outputs), dtype=np.int64)
        if self.n_outputs_ == 1:
            return (outputs.ravel() > 0.5).astype(np.int64)
        best: Array = outputs.argmax(axis=1)
        return best

    def _make_score(self, values: Array, sample_weight: Array | None) -> Callable[[Array], float]:
        def accuracy(outputs: Array) -> float:
            if not np.isfinite(outputs).all():
                return float("nan")
            right = self._decide(outputs) == values
            if right.ndim == 2:
                right = right.all(axis=1)
            return float(np.average(right, weights=sample_weight))

        return accuracy

    def _restore_targets(self, classes: Array | None, multilabel: bool, n_outputs: int) -> Targets:
        if classes is None or len(classes) == 0:
            raise ValueError("a classifier needs its classes.")
        self.classes_ = np.asarray(classes)
        self._define_target_type(multilabel, sparse_targets=False)
        return Targets(np.empty(0), *self._target_outputs(), None)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _labels_and_codes(y: Any) -> tuple[Array, Array]:
    """Return the sorted labels in ``y``, and ``y`` in terms of them.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_labels), or sparse matrix of the latter

    Returns
    -------
    labels : ndarray of shape (n_labels,)
    codes : ndarray
        int32 places in ``labels`` of shape (n_samples,), or booleans (n_samples, n_labels) for a
        multilabel ``y``.

    Raises
    ------
    ValueError
        When these are no class labels.
    """
    if not sparse.issparse(y) and y.ndim == 1 and y.dtype.kind in "OU":
        values = y.tolist()
        distinct = set(values)
        if all(isinstance(value, str) for value in distinct):
            # NumPy would sort all the strings, 0.7 s for 494,000, and more than once
            labels = np.array(sorted(distinct))
            place = {label: code for code, label in enumerate(labels.tolist())}
            return labels, np.fromiter(map(place.__getitem__, values), np.int32, len(values))
    check_classification_targets(y)
    kind = type_of_target(y)
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y has several columns of more than two values, which is not supported: encode it as "
            "one column per label with 0 and 1, or train one classifier per column."
        )
    labels = unique_labels(y)
    if kind == "multilabel-indicator":
        return labels, (y.toarray() if sparse.issparse(y) else y) != 0
    return labels, np.searchsorted(labels, y).astype(np.int32)
