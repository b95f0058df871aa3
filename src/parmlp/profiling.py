"""Where the time of a minibatch step goes: its phases, and the hand-overs between them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from parmlp import _core
from parmlp.estimators import EpochReport, MLPClassifier, MLPRegressor


@dataclass(frozen=True)
class PhaseProfile:
    """One phase of a step. Times are means over steps.

    Attributes
    ----------
    phase : str
        "rows": blocks of examples forward and backward through all layers; "gather", "forward",
        "output", "backward": the same a layer at a time, in networks too wide for the cache;
        "weights": the weight gradients and the solver; "shards": each worker's examples forward,
        backward and into its partial gradient; "apply": the partial gradients summed, and the
        solver.
    layer : int
        Of "forward", "output" and "backward", counted from 0; else 0.
    tiles : float
        Pieces of work in the phase.
    seconds : float
        From the phase's opening until its last tile was done.
    share : float
        ``seconds`` as a part of the step.
    hand_over_seconds : float
        From the phase's opening until all workers that took a tile in that step had begun. With
        schedule "fork-join" the first phase's includes joining and creating threads.
    work_seconds : list of float
        Inside tiles, for each worker.
    waiting_seconds : list of float
        ``seconds`` without ``work_seconds``: hand-over, taking tiles, waiting for the others.
    """

    phase: str
    layer: int
    tiles: float
    seconds: float
    share: float
    hand_over_seconds: float
    work_seconds: list[float]
    waiting_seconds: list[float]


@dataclass(frozen=True)
class StepProfile:
    """A minibatch step, phase by phase, in the epoch of median speed.

    Attributes
    ----------
    engine, schedule : str
    n_threads : int
        Workers of the team; with ``adaptive_threads`` some may have had no part in some steps.
    steps : int
        Steps of that epoch, over which the means are taken.
    seconds : float
        Of a step: ``between_seconds`` and the ``seconds`` of all phases.
    between_seconds : float
        After the last phase: one worker sums the loss and sets up the next minibatch.
    phases : list of PhaseProfile
        In the order in which they run.
    epoch_seconds : list of float
        ``seconds`` of every epoch timed, in order: how steady the machine was.
    """

    engine: str
    schedule: str
    n_threads: int
    steps: int
    seconds: float
    between_seconds: float
    phases: list[PhaseProfile]
    epoch_seconds: list[float]

    @property
    def hand_over_seconds(self) -> float:
        """Mean of the phases' ``hand_over_seconds``."""
        return float(np.mean([phase.hand_over_seconds for phase in self.phases]))


def profile_steps(
    estimator: MLPClassifier | MLPRegressor,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    epochs: int = 3,
) -> StepProfile:
    """Train a copy of an estimator for some epochs and time the phases of its steps.

    The copy is trained from new weights with the estimator's settings, on what ``fit`` would train
    on (dense or compressed rows) with ``max_iter`` or, if that is more, the epochs trained here.
    One epoch more is trained first and not counted, nor are minibatches shorter than the others. Of
    the epochs timed, the one of median speed is returned (the faster of two), so that its parts add
    up and an interruption of another does not show.

    The timers read the clock twice a tile, some 50 ns. They change no bit of the weights, and
    training without them runs the same code as if they did not exist.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Not changed; it need not be fitted. Its ``callback`` is not called, and it does not stop
        early.
    X, y, sample_weight
        As for ``fit``.
    epochs : int, default=3
        Epochs to time.

    Returns
    -------
    StepProfile

    Raises
    ------
    TypeError
        For any other estimator.
    ValueError
        When ``epochs`` is below 1, and as ``fit`` does.
    KeyboardInterrupt
        On Ctrl-C, where ``fit`` would return what it has.
    """
    if not isinstance(estimator, MLPClassifier | MLPRegressor):
        raise TypeError(
            "profile_steps needs an MLPClassifier or MLPRegressor, "
            f"got {type(estimator).__name__}; of a pipeline, pass its last step and the "
            "transformed X."
        )
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    times = _core.StepProfile()
    profiles: list[StepProfile] = []

    def epoch_ends(report: EpochReport) -> bool:
        if report.epoch > 1:
            profiles.append(_means(report.estimator, times))
        times.clear()
        return len(profiles) == epochs

    trained = clone(estimator)
    trained._validate_params()  # fit would see what is set below
    # the callback ends the training: fewer epochs ahead might not pay for compressing the rows
    trained.set_params(
        callback=epoch_ends,
        early_stopping=False,
        max_iter=max(estimator.max_iter, epochs + 1),
        n_iter_no_change=np.inf,
        verbose=False,
    )
    trained._step_profile = times
    trained.fit(X, y, sample_weight)
    if trained.stop_reason_ == "interrupted":
        raise KeyboardInterrupt
    median = sorted(profiles, key=lambda profile: profile.seconds)[(epochs - 1) // 2]
    return replace(median, epoch_seconds=[profile.seconds for profile in profiles])


def _means(trained: MLPClassifier | MLPRegressor, times: _core.StepProfile) -> StepProfile:
    def phase_means(phase: _core.PhaseTimes) -> PhaseProfile:
        seconds = phase.seconds / times.steps
        work = [w / times.steps for w in phase.work_seconds]
        return PhaseProfile(
            phase=phase.name,
            layer=phase.layer,
            tiles=phase.tiles / times.steps,
            seconds=seconds,
            share=phase.seconds / times.seconds,
            hand_over_seconds=phase.hand_over_seconds / times.steps,
            work_seconds=work,
            waiting_seconds=[seconds - w for w in work],
        )

    return StepProfile(
        engine=trained.engine_,
        schedule=trained.schedule_,
        n_threads=trained.n_threads_,
        steps=times.steps,
        seconds=times.seconds / times.steps,
        between_seconds=times.between_seconds / times.steps,
        phases=[phase_means(phase) for phase in times.phases],
        epoch_seconds=[times.seconds / times.steps],
    )
