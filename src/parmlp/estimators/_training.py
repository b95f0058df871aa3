"""The epoch loop: when to score, when to stop, which weights to keep. The step itself is native."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from parmlp import _core
from parmlp.engines import Network, Team
from parmlp.engines.surface import EpochResult
from parmlp.estimators._row_order import RowOrder
from parmlp.estimators._session import LearningRate
from parmlp.estimators._weights import check_weights
from parmlp.estimators.report import EpochReport

if TYPE_CHECKING:
    from parmlp.estimators._multilayer_perceptron import BaseMultilayerPerceptron

Array = NDArray[Any]

# Warnings name the line that called fit: above train are _train, _fit, fit and scikit-learn's
# wrapper of fit.
_USER = 6


@dataclass(frozen=True)
class Validation:
    """Rows held out for early stopping.

    Attributes
    ----------
    X : ndarray, CSR matrix or PickedRows of shape (n_rows, n_features)
    score : callable
        From output activations (n_rows, n_outputs) to a float; the higher the better, NaN for
        outputs that are not finite.
    """

    X: Any
    score: Callable[[Array], float]


@dataclass(frozen=True)
class TrainingRun:
    """What one call of ``fit`` or ``partial_fit`` trains, with what.

    Attributes
    ----------
    network, team : Network, Team
        Of one engine.
    learning_rate : LearningRate
    X : ndarray of shape (n_samples, n_features), C-contiguous, or what the engine makes of it
        Of the network's dtype.
    targets : ndarray of shape (n_samples, n_outputs) and that dtype, or int32 class indices
    sample_weight : ndarray of shape (n_samples,) and that dtype, or None
    rows : RowOrder
        The rows trained on; those of ``validation`` are not among them.
    batch_size : int
    max_epochs : int
    incremental : bool
        One epoch of ``partial_fit``.
    continues : bool
        Whether the weights come from an earlier call.
    validation : Validation or None
        None without early stopping.
    callback : callable or None
        Called as the estimator's own is, and after it.
    stop : StopFlag or None
        Ends the training as Ctrl-C does, from any thread; whoever sets it does the warning.
    """

    network: Network
    team: Team
    learning_rate: LearningRate
    X: Any
    targets: Array
    sample_weight: Array | None
    rows: RowOrder
    batch_size: int
    max_epochs: int
    incremental: bool
    continues: bool
    validation: Validation | None
    callback: Callable[[EpochReport], object] | None = None
    stop: _core.StopFlag | None = None


def train(estimator: "BaseMultilayerPerceptron", run: TrainingRun) -> None:
    """Train ``estimator`` and leave the weights to keep in ``coefs_`` and ``intercepts_``.

    The fitted attributes that scikit-learn updates during training are updated here in the same
    order, with the same messages. Beyond it: NaN or infinity ends training at once.

    Raises
    ------
    ValueError
        When an epoch's loss or weights are not finite and there is no early stopping. The weights
        are then those after the last finite epoch.
    """
    network = run.network
    network.remember("last_finite")
    # Weights that score best in this call go to the slot "best". Until there are any, a new
    # network falls back to its initial weights and a continued one stays where it is.
    has_best = run.validation is not None and not run.continues
    if has_best:
        network.remember("best")

    estimator.n_iter_ = 0
    estimator.training_seconds_ = 0.0
    estimator.tiles_per_worker_ = []
    # what stays if an exception other than Ctrl-C ends the loop
    estimator.stop_reason_ = "error"
    weights_may_cancel = run.sample_weight is not None and run.sample_weight.min() <= 0
    try:
        for epoch in range(1, run.max_epochs + 1):
            order = run.rows.next()
            if weights_may_cancel:
                _check_batch_weights(run, order, epoch)
            if epoch < run.max_epochs:
                run.rows.draw_ahead()
            result = network.train_epoch(
                run.team,
                run.X,
                run.targets,
                order,
                run.sample_weight,
                run.batch_size,
                run.learning_rate.current,
                estimator.schedule,
                adaptive_workers=estimator.adaptive_threads,
                stop=run.stop,
                profile=estimator._step_profile,
            )
            _record(estimator, run, result)
            finite = math.isfinite(result.loss) and network.parameters_finite()
            if finite:
                network.remember("last_finite")
            if _update_no_improvement_count(estimator, run, finite):
                network.remember("best")
                has_best = True
            if not finite:
                estimator.stop_reason_ = "diverged"
                break

            asked_to_stop = _call_back(estimator, run, result)
            run.learning_rate.epoch_ends(estimator.t_)
            if _improves_no_more(estimator, run):
                estimator.stop_reason_ = "tolerance"
                break
            if asked_to_stop:
                estimator.stop_reason_ = "callback"
                break
            if run.incremental:
                estimator.stop_reason_ = "partial_fit"
                break
        else:
            estimator.stop_reason_ = "max_iter"
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({run.max_epochs}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=_USER,
            )
    except KeyboardInterrupt:
        estimator.stop_reason_ = "interrupted"
        if run.stop is None:
            warnings.warn("Training interrupted by user.", stacklevel=_USER)
    finally:
        run.rows.close()
        if has_best:
            network.recall("best")
        elif not network.parameters_finite() or estimator.stop_reason_ == "diverged":
            network.recall("last_finite")
        estimator.coefs_, estimator.intercepts_ = network.get_parameters()

    if estimator.stop_reason_ == "diverged":
        _report_divergence(estimator, run)


def _record(estimator: "BaseMultilayerPerceptron", run: TrainingRun, result: EpochResult) -> None:
    estimator.n_iter_ += 1
    estimator.loss_ = result.loss
    estimator.t_ += run.rows.n_rows
    estimator.loss_curve_.append(result.loss)
    estimator.training_seconds_ += result.seconds
    # an OpenMP runtime may grant fewer threads than it was asked for
    estimator.n_threads_ = result.workers
    estimator.tiles_per_worker_ = [
        a + b for a, b in zip_longest(estimator.tiles_per_worker_, result.tiles, fillvalue=0)
    ]
    if estimator.verbose:
        print(f"Iteration {estimator.n_iter_}, loss = {result.loss:.8f}")


def _update_no_improvement_count(
    estimator: "BaseMultilayerPerceptron", run: TrainingRun, finite: bool
) -> bool:
    """Count epochs that do not improve by ``tol``; say whether the validation score is the best."""
    if run.validation is None:
        loss, best_loss = estimator.loss_, estimator.best_loss_
        assert best_loss is not None  # None only with early stopping
        if loss > best_loss - estimator.tol:
            estimator._no_improvement_count += 1
        else:
            estimator._no_improvement_count = 0
        if loss < best_loss:
            estimator.best_loss_ = loss
        return False

    scores, best_score = estimator.validation_scores_, estimator.best_validation_score_
    assert scores is not None  # None, like the best one, only without early stopping
    assert best_score is not None
    score = math.nan
    if finite:
        score = run.validation.score(run.network.predict(run.team, run.validation.X))
    scores.append(score)
    if estimator.verbose:
        print(f"Validation score: {score:f}")
    if score < best_score + estimator.tol:
        estimator._no_improvement_count += 1
    else:
        estimator._no_improvement_count = 0
    if score > best_score:
        estimator.best_validation_score_ = score
        return True
    return False


def _improves_no_more(estimator: "BaseMultilayerPerceptron", run: TrainingRun) -> bool:
    """Whether training ends for want of improvement; an adaptive learning rate falls first."""
    if estimator._no_improvement_count <= estimator.n_iter_no_change:
        return False
    what = "Training loss" if run.validation is None else "Validation score"
    message = (
        f"{what} did not improve more than tol={estimator.tol:f} for "
        f"{estimator.n_iter_no_change} consecutive epochs."
    )
    if run.learning_rate.stops(message, estimator.verbose):
        return True
    estimator._no_improvement_count = 0
    return False


def _call_back(
    estimator: "BaseMultilayerPerceptron", run: TrainingRun, result: EpochResult
) -> bool:
    """Show the epoch to the user's callbacks; say whether one asks to stop."""
    callbacks = [c for c in (estimator.callback, run.callback) if c is not None]
    if not callbacks:
        return False
    estimator.coefs_, estimator.intercepts_ = run.network.get_parameters()
    scores = estimator.validation_scores_
    report = EpochReport(
        epoch=estimator.n_iter_,
        max_epochs=run.max_epochs,
        loss=result.loss,
        validation_score=None if run.validation is None or scores is None else scores[-1],
        samples=run.rows.n_rows,
        seconds=result.seconds,
        estimator=estimator,
    )
    answers = [bool(callback(report)) for callback in callbacks]
    # edits to the weights count, here as everywhere
    weights = check_weights(
        estimator.coefs_,
        estimator.intercepts_,
        estimator.n_features_in_,
        estimator.n_outputs_,
        run.network.dtype,
    )
    run.network.set_parameters(weights.coefs, weights.intercepts)
    return any(answers)


def _check_batch_weights(run: TrainingRun, order: NDArray[np.int64] | None, epoch: int) -> None:
    """Raise ValueError where a minibatch's weights sum to 0: its loss, an average, has no value."""
    w = run.sample_weight
    assert w is not None
    visited = w if order is None else w[order]
    sums = np.add.reduceat(visited, np.arange(0, len(visited), run.batch_size))
    if not sums.all():
        batch = int(np.flatnonzero(sums == 0)[0]) + 1
        raise ValueError(
            f"sample_weight sums to 0 over the rows of minibatch {batch} of epoch {epoch}: remove "
            f"rows of weight 0, or use a larger batch_size than {run.batch_size}."
        )


def _report_divergence(estimator: "BaseMultilayerPerceptron", run: TrainingRun) -> None:
    # counted over all calls, so that a sequence of partial_fit names the right one
    epoch = len(estimator.loss_curve_)
    if run.validation is None:
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values "
            "and need to be preprocessed. The loss or the weights were not finite after epoch "
            f"{epoch} (loss {estimator.loss_}); coefs_ and intercepts_ are those of before that "
            f"epoch. A smaller learning_rate_init may help; the rate was "
            f"{run.learning_rate.current:g}."
        )
    best = estimator.best_validation_score_
    kept = (
        "no epoch had a score, so the initial weights are kept"
        if best == -math.inf
        else f"the weights with the best validation score, {best:f}, are kept"
    )
    warnings.warn(
        f"Training diverged: the loss or the weights were not finite after epoch {epoch}; {kept}.",
        ConvergenceWarning,
        stacklevel=_USER + 1,
    )
