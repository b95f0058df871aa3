"""fit_many: many networks trained side by side on the same data."""

import queue
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context, get_config
from sklearn.utils import check_random_state

from parmlp import _core
from parmlp.engines import (
    Team,
    count_threads,
    flops_per_step,
    make_team,
    runs_on_gpu,
    threads_side_by_side,
    warn_of_threads,
)
from parmlp.engines.cuda.network import check_schedule
from parmlp.engines.cuda.team import Team as GpuTeam
from parmlp.estimators._gpu_groups import gpu_groups
from parmlp.estimators._multilayer_perceptron import BaseMultilayerPerceptron, CheckedFit
from parmlp.estimators._samples import Samples
from parmlp.estimators._scikit_learn import validates_parameters
from parmlp.estimators.report import EpochReport

# Seconds between looks for signals, as the native core has it: Ctrl-C is to be heard within 0.2 s.
_SIGNAL_INTERVAL = 0.05


class FitManyError(ExceptionGroup[Exception]):
    """Some of the estimators of :func:`fit_many` could not be trained; the others were.

    An exception group: ``except* ValueError`` works on it.

    Attributes
    ----------
    failures : dict of int to Exception
        What went wrong, by the estimator's index.
    """

    failures: dict[int, Exception]

    def __new__(cls, message: str, failures: dict[int, Exception]) -> "FitManyError":
        """Make the group of these failures."""
        self = super().__new__(cls, message, list(failures.values()))
        self.failures = failures
        return self


def fit_many(
    estimators: Iterable[Any],
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    n_threads: int | None = None,
    callback: Callable[[int, EpochReport], object] | None = None,
) -> list[Any]:
    """Fit many estimators on the same data, side by side.

    Every estimator gets the bits of its own ``fit(X, y, sample_weight)``, however many are trained
    at once. X and y are checked once, and X is compressed once, for all estimators that agree on
    the dtype. Each network is trained on a thread of its own, but for those that would be left
    over at the end and leave threads idle: they share all threads.

    Networks with ``engine="cuda"`` are trained beside those: small ones of equal shape side by
    side on the GPU, a launch an epoch for all of them; others one after another.

    Parameters
    ----------
    estimators : iterable of MLPClassifier and MLPRegressor
        Each with parameters of its own. They are fitted in place.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : array-like of shape (n_samples,) or None, default=None
    n_threads : int or None, default=None
        Threads that train at any time, in all. None: the usable cores, at most ``OMP_NUM_THREADS``
        and threadpoolctl's limit, and one inside a worker of joblib or multiprocessing. -1: all
        usable cores. An estimator with an ``n_threads`` of its own takes that many of them, one
        with ``engine="cuda"`` none.
    callback : callable or None, default=None
        Called as ``callback(index, report)`` after each epoch of the estimator with this index,
        with an :class:`EpochReport`, and after the estimator's own callback. A true answer stops
        that estimator. The calls come from the threads that train, one at a time.

    Returns
    -------
    list
        The estimators, in the order given.

    Raises
    ------
    TypeError
        For anything but an MLPClassifier or MLPRegressor. Nothing was trained then.
    ValueError
        For parameters or data that cannot be trained; a note names the estimator's index. Nothing
        was trained then.
    FitManyError
        When some estimators failed in training (they diverged, say). The others are trained.

    Notes
    -----
    On Ctrl-C all estimators stop, and are returned, with a warning that tells how many were
    trained. Those in training keep the weights reached, and have the ``stop_reason_``
    "interrupted"; the others are as they were before.

    Estimators that share a RandomState instance, or NumPy's global one by ``random_state=None``,
    cannot draw from it at the same time and still repeat: each then has a RandomState of its own,
    seeded from the shared one in the order of the estimators, as in scikit-learn's ensembles.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import ParameterGrid
    >>> from parmlp import MLPClassifier, fit_many
    >>> X, y = load_digits(return_X_y=True)
    >>> grid = ParameterGrid({"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]})
    >>> models = [MLPClassifier(max_iter=100, random_state=0, **p) for p in grid]
    >>> fit_many(models, X / 16, y)[0].predict(X[:5] / 16)
    array([0, 1, 2, 3, 4])
    """
    models = list(estimators)
    _check_estimators(models)
    threads = count_threads(n_threads)
    warn_of_threads(threads, stacklevel=2)
    engine = "cuda" if models and all(model.engine == "cuda" for model in models) else "auto"
    samples = Samples(X, y, sample_weight, engine)
    fits: list[CheckedFit] = []
    own: list[int | None] = []
    for index, model in enumerate(models):
        try:
            fits.append(_check_fit(model, samples))
            own.append(_own_threads(model, fits[-1], threads))
        except Exception as error:
            error.add_note(f"This is of estimators[{index}]. No estimator was trained.")
            raise
    columns = models, fits, _share_threads(models, fits, own, threads), _random_states(models)
    jobs = [_Job(index, *row) for index, row in enumerate(zip(*columns, strict=True))]
    on_gpu = [index for index, own_threads in enumerate(own) if own_threads == 0]
    groups = [
        [(jobs[index], team) for index, team in group] for group in gpu_groups(models, fits, on_gpu)
    ]
    training = _Training(jobs, groups, threads, callback)
    training.run()
    training.report()
    return models


def _check_estimators(models: list[Any]) -> None:
    places: dict[int, int] = {}
    for index, model in enumerate(models):
        if not isinstance(model, BaseMultilayerPerceptron):
            raise TypeError(
                f"estimators[{index}] is a {type(model).__name__}: fit_many trains parmlp's "
                "MLPClassifier and MLPRegressor. Fit pipelines and others side by side with "
                "joblib.Parallel and its threading backend."
            )
        first = places.setdefault(id(model), index)
        if first != index:
            raise ValueError(
                f"estimators[{index}] is the same object as estimators[{first}]: give each place "
                "an estimator of its own, such as sklearn.base.clone(estimator)."
            )


@validates_parameters
def _check_fit(model: BaseMultilayerPerceptron, samples: Samples) -> CheckedFit:
    return model._check_fit(samples, incremental=False)


def _own_threads(model: BaseMultilayerPerceptron, fit: CheckedFit, n_threads: int) -> int | None:
    """Return how many threads the estimator itself asks for; None if it leaves that to us.

    That is 0 for one that trains on the GPU.
    """
    n_rows = model._rows_per_batch(fit.rows.X.shape[0])
    if runs_on_gpu(model.engine, fit.layer_units, n_rows):
        make_team(model.engine, model.n_threads, fit.layer_units, n_rows)  # raises if it cannot
        check_schedule(model.schedule)
        return 0
    if model.n_threads is not None:
        own = count_threads(model.n_threads)
        if own > n_threads:
            raise ValueError(
                f"the estimator has n_threads={model.n_threads}, more than fit_many's {n_threads}: "
                "leave its n_threads at None, or give fit_many more."
            )
        return own
    if model.schedule != "two-phase":
        raise ValueError(
            f"with schedule={model.schedule!r} the weights depend on the number of threads: give "
            "the estimator an n_threads, or use schedule='two-phase'."
        )
    return 1 if model.engine == "serial" else None


def _share_threads(
    models: list[BaseMultilayerPerceptron],
    fits: list[CheckedFit],
    own: list[int | None],
    n_threads: int,
) -> list[int]:
    """Return the threads of each estimator: its own, or a share of all."""
    free = [i for i, threads in enumerate(own) if threads is None]
    networks = [
        (fits[i].layer_units, models[i]._rows_per_batch(fits[i].rows.X.shape[0])) for i in free
    ]
    shares = dict(zip(free, threads_side_by_side(networks, n_threads), strict=True))
    return [shares[i] if threads is None else threads for i, threads in enumerate(own)]


def _random_states(models: list[BaseMultilayerPerceptron]) -> list[np.random.RandomState]:
    """Return the RandomState of each estimator; no two share one."""
    states = [check_random_state(model.random_state) for model in models]
    users = Counter(id(state) for state in states)
    return [
        state
        if users[id(state)] == 1
        else np.random.RandomState(state.randint(np.iinfo(np.int32).max))
        for state in states
    ]


@dataclass
class _Job:
    """One estimator to train, and what became of it.

    Attributes
    ----------
    index : int
        Its place among the estimators.
    model : MLPClassifier or MLPRegressor
    fit : CheckedFit
    n_threads : int
        0 on the GPU.
    random_state : RandomState
    begun : bool
    error : BaseException or None
        What its training raised.
    """

    index: int
    model: BaseMultilayerPerceptron
    fit: CheckedFit
    n_threads: int
    random_state: np.random.RandomState
    begun: bool = False
    error: BaseException | None = None

    @property
    def work(self) -> float:
        """Floating-point operations of all epochs there may be."""
        rows = self.fit.rows.X.shape[0]
        return flops_per_step(self.fit.layer_units, rows) * self.model.max_iter

    @property
    def interrupted(self) -> bool:
        """Whether its training was ended by Ctrl-C."""
        return self.begun and self.error is None and self.model.stop_reason_ == "interrupted"


def _start(thread: threading.Thread, job: _Job | None = None) -> bool:
    """Start a thread; return False if the system has no more of them, as the job's error."""
    try:
        thread.start()
    except RuntimeError as error:
        if job is not None:
            job.error = error
        return False
    return True


class _Training:
    """Threads that train jobs: at any time at most ``n_threads``, those of teams included.

    Jobs of the GPU have a thread each besides, which does little but wait for the GPU.

    Parameters
    ----------
    jobs : list of _Job
    groups : list of list of (_Job, Team)
        Those of the GPU, group after group, and who trains each.
    n_threads : int
        No job has more.
    callback : callable or None
        As in :func:`fit_many`.
    """

    def __init__(
        self,
        jobs: list[_Job],
        groups: list[list[tuple[_Job, GpuTeam]]],
        n_threads: int,
        callback: Callable[[int, EpochReport], object] | None,
    ) -> None:
        # Those with the most threads first, so that none waits for a gap; then those with the most
        # work, so that no long one is left for the end.
        on_cpu = [job for job in jobs if job.n_threads > 0]
        self._cpu_jobs = sorted(on_cpu, key=lambda job: (-job.n_threads, -job.work))
        self._jobs, self._groups = jobs, groups
        self._n_threads = n_threads
        self._callback = callback
        self._one_call = threading.Lock()
        self._config = get_config()  # scikit-learn's, which is each thread's own
        self._stop = _core.StopFlag()
        self._finished: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._begin = threading.Lock()
        self._done = threading.Event()

    def run(self) -> None:
        """Train; return when no thread is at work any more.

        Signals come to Python's main thread, which does nothing here but wait: so an interruption
        leaves nothing half done.
        """
        foreman = threading.Thread(target=self._run_all, name="parmlp-fit-many", daemon=True)
        try:
            foreman.start()
            self._wait()
        except KeyboardInterrupt:
            self._stop.set()
            # It may have come before the foreman, who then must not begin any more.
            if not self._begin.acquire(blocking=False):
                self._wait()

    def _wait(self) -> None:
        # Not in one piece: the system may hand a signal to any thread (one that is starting another
        # took every tenth Ctrl-C), and that does not wake this one, which has to handle it.
        while not self._done.wait(_SIGNAL_INTERVAL):
            pass

    def report(self) -> None:
        """Warn of an interruption, raise what went wrong."""
        jobs = self._jobs
        for job in jobs:
            if job.error is not None and not isinstance(job.error, Exception):
                raise job.error  # SystemExit, from a callback
        if self._stop.is_set():
            begun = sum(job.begun for job in jobs)
            stopped = sum(job.interrupted for job in jobs)
            warnings.warn(
                f"Training interrupted by user: of {len(jobs)} estimators {begun - stopped} had "
                f"ended, {stopped} were stopped and {len(jobs) - begun} not begun.",
                stacklevel=3,
            )
        failures = {job.index: job.error for job in jobs if isinstance(job.error, Exception)}
        for index, error in failures.items():
            error.add_note(f"This is of estimators[{index}].")
        if failures:
            places = ", ".join(f"estimators[{index}]" for index in failures)
            raise FitManyError(
                f"{len(failures)} of {len(jobs)} estimators could not be trained: {places}",
                failures,
            )

    def _run_all(self) -> None:
        if not self._begin.acquire(blocking=False):
            return
        gpu = threading.Thread(target=self._run_on_gpu, daemon=True)
        beside = bool(self._groups) and _start(gpu)
        self._run_on_cpu()
        if beside:
            gpu.join()
        else:
            self._run_on_gpu()
        self._done.set()

    def _run_on_cpu(self) -> None:
        free = self._n_threads
        for job in self._cpu_jobs:
            while free < job.n_threads:
                free += self._finished.get().n_threads
            if self._stop.is_set():
                break
            free -= job.n_threads
            job.begun = True
            if not _start(threading.Thread(target=self._run_one, args=(job,), daemon=True), job):
                self._finished.put(job)
        while free < self._n_threads:
            free += self._finished.get().n_threads

    def _run_one(self, job: _Job) -> None:
        self._train(job)
        self._finished.put(job)

    def _run_on_gpu(self) -> None:
        for group in self._groups:
            threads = []
            for job, team in group:
                if not self._stop.is_set():
                    job.begun = True
                    thread = threading.Thread(
                        target=self._run_member, args=(job, team), daemon=True
                    )
                    if _start(thread, job):
                        threads.append(thread)
                        continue
                team.leave()
            for thread in threads:
                thread.join()

    def _run_member(self, job: _Job, team: GpuTeam) -> None:
        try:
            self._train(job, team)
        finally:
            team.leave()

    def _train(self, job: _Job, team: Team | None = None) -> None:
        try:
            with config_context(**self._config):
                job.model._train(
                    job.fit,
                    job.n_threads,
                    job.random_state,
                    warn_of_threads=False,
                    team=team,
                    callback=self._callback_of(job),
                    stop=self._stop,
                )
        except BaseException as error:
            job.error = error
        if team is not None and job.model._session is not None:
            try:
                job.model._session.set_aside()  # the next group needs the GPU's memory
            except Exception as error:
                job.error = job.error or error
        # a callback raised KeyboardInterrupt, or SystemExit
        if job.interrupted or not isinstance(job.error, Exception | None):
            self._stop.set()

    def _callback_of(self, job: _Job) -> Callable[[EpochReport], object] | None:
        callback = self._callback
        if callback is None:
            return None

        def call(report: EpochReport) -> object:
            with self._one_call:
                return callback(job.index, report)

        return call
