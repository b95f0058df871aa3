"""The runs of `parmlp demo`: every engine in turn, several rounds, on the embedded digits."""

import statistics
import time
import warnings
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import typer

from parmlp import MLPClassifier, _core
from parmlp.datasets import Split, load_split
from parmlp.engines.cpu import engine_statuses
from parmlp.model_files import weights_sha256

# Some tenths of a second an engine: long enough to time, short enough to wait for.
EPOCHS = 40
HIDDEN = (512,)
BATCH_SIZE = 64
# A round trains with every engine in turn, so that a disturbance hits them alike.
ROUNDS = 5
# Minibatches of 64 rows do not feed more.
MOST_THREADS = 8


@dataclass
class _Runs:
    """What one engine did: seconds and weights of every round, and the scores, which are equal.

    `core_share` is the processor time the process got over the time that passed, of all rounds.
    """

    threads: int
    core_share: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sha256: set[str] = field(default_factory=set)
    test_accuracy: float = 0.0


def run_demo(threads: int | None, *, shown: bool) -> dict[str, Any]:
    """Train the digits with every available engine and compare.

    Parameters
    ----------
    threads : int or None
        Threads of the parallel engines; -1: all usable cores; None: those, from 2 to 8.
    shown : bool
        Whether to tell on stderr what is being trained.

    Returns
    -------
    dict
        What `parmlp demo --json` prints. `speedup` is serial's median time over the engine's;
        `identical` says whether an engine's weights were serial's, bit for bit, in every round;
        `serial_core_share` is the share of a core that the serial runs got, which other programs
        make less than 1.
    """
    if threads is None:
        threads = min(max(_core.usable_cores(), 2), MOST_THREADS)
    elif threads == -1:
        threads = _core.usable_cores()
    if threads > _core.usable_cores():
        typer.echo(
            f"warning: {threads} threads share {_core.usable_cores()} usable cores; "
            "expect no speed-up",
            err=True,
        )
    split = load_split("digits", seed=0)
    statuses = engine_statuses()
    runs = {
        status.name: _Runs(1 if status.name == "serial" else threads)
        for status in statuses
        if status.available
    }
    with _line(shown) as line:
        for number in range(1, ROUNDS + 1):
            for engine, run in runs.items():
                if line is not None:
                    line.update(f"{engine}, round {number} of {ROUNDS}")
                _train(engine, run, split)

    serial = runs["serial"]
    samples = EPOCHS * len(split.X_train)
    engines: list[dict[str, Any]] = []
    for status in statuses:
        row: dict[str, Any] = asdict(status)
        if status.available:
            run = runs[status.name]
            seconds = statistics.median(run.seconds)
            row |= {
                "threads": run.threads,
                "test_accuracy": run.test_accuracy,
                "seconds": seconds,
                "samples_per_second": samples / seconds,
                "speedup": statistics.median(serial.seconds) / seconds,
                "weights_sha256": min(run.sha256),
                "identical": run.sha256 == serial.sha256 and len(run.sha256) == 1,
            }
        engines.append(row)
    return {
        "dataset": "digits",
        "layers": [split.X_train.shape[1], *HIDDEN, len(split.target_names)],
        "epochs": EPOCHS,
        "rounds": ROUNDS,
        "simd": _core.simd_target(),
        "serial_core_share": statistics.median(serial.core_share),
        "engines": engines,
        "identical": all(row["identical"] for row in engines if row["available"]),
    }


def _train(engine: str, run: _Runs, split: Split) -> None:
    """Train once and add to `run` what came of it."""
    estimator = MLPClassifier(
        HIDDEN,
        batch_size=BATCH_SIZE,
        max_iter=EPOCHS,
        n_iter_no_change=EPOCHS,
        random_state=0,
        engine=engine,
        n_threads=run.threads,
    )
    with warnings.catch_warnings():
        # The epochs are counted on purpose, and the caller has told of too many threads.
        warnings.simplefilter("ignore")
        passed, used = time.perf_counter(), time.process_time()
        estimator.fit(split.X_train, split.y_train)
        passed, used = time.perf_counter() - passed, time.process_time() - used
    run.core_share.append(used / passed)
    run.seconds.append(estimator.training_seconds_)
    run.sha256.add(weights_sha256(estimator))
    run.test_accuracy = estimator.score(split.X_test, split.y_test)


def _line(shown: bool) -> Any:
    """Return a line on stderr that says what is being trained, or nothing."""
    if not shown:
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status("loading")
