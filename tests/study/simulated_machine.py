"""Records of a study on a machine that does not exist.

A machine has a peak, a bandwidth, costs of handing over and noise; a program has an efficiency and
a way to use threads. Times follow from those by one formula, so that a test knows what is true of
them. None of it is a measurement: these numbers are for tests alone.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from parmlp.study.records import (
    PREDICTIONS,
    RESULTS,
    Accuracy,
    CeilingRecord,
    Cell,
    CellRecord,
    Check,
    Configuration,
    EndRecord,
    Phase,
    Record,
    ResultsWriter,
    Round,
    RunRecord,
    cell_key,
)

FAITHFUL = Configuration("faithful", "sigmoid", "sigmoid", "mse", "sgd", 0.5, 0.0)
DEFAULT = Configuration("default", "relu", "softmax", "log_loss", "adam", 1e-3, 1e-4)


@dataclass(frozen=True)
class Program:
    """How an implementation uses a machine.

    ``efficiency`` is of the FMA peak at a large batch, ``serial`` the share that one thread does
    alone, ``launch`` seconds a step costs whatever its batch, ``hand_overs`` how many a step has
    and ``fork_joins`` likewise; ``an_example`` says whether both are for each example.
    """

    efficiency: float
    serial: float = 1.0  # no use of further threads
    launch: float = 0.0
    hand_overs: int = 0
    fork_joins: int = 0
    an_example: bool = False


PROGRAMS = {
    "naive_serial": Program(0.015),
    "naive_pthreads": Program(0.015, serial=0.01, fork_joins=1),
    "blas_serial": Program(0.11),
    "blas_parallel": Program(0.11, serial=0.25, hand_overs=5, an_example=True),
    "parmlp_serial": Program(0.80, launch=2e-6),
    "parmlp_threads": Program(0.80, serial=0.02, launch=2e-6, hand_overs=4),
    "parmlp_openmp": Program(0.80, serial=0.02, launch=2e-6, hand_overs=16),
    "parmlp_partial_gradients": Program(0.70, serial=0.06, launch=2e-6, hand_overs=4),
    "parmlp_fork_join": Program(0.70, serial=0.06, launch=2e-6, fork_joins=1),
    "theano": Program(0.55, serial=0.6, launch=60e-6),
    "pytensor": Program(0.60, serial=0.5, launch=40e-6),
    "torch": Program(0.50, serial=0.4, launch=120e-6),
    "jax": Program(0.72, serial=0.35, launch=25e-6),
    "numpy": Program(0.35, serial=0.7, launch=50e-6),
}
PARALLEL = [name for name, p in PROGRAMS.items() if p.serial < 1]


@dataclass
class Machine:
    """What the times come from; ``noise`` is the standard deviation of their logarithm."""

    cores: int = 8
    peak: float = 115e9
    bandwidth: float = 34e9
    hand_over: float = 80e-9
    fork_join: float = 50e-6
    noise: float = 0.02
    rounds: int = 7
    seed: int = 0
    programs: dict[str, Program] = field(default_factory=lambda: dict(PROGRAMS))

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    @property
    def thread_counts(self) -> list[int]:
        return [p for p in (1, 2, 3, 4, 6, 8, 16, 32) if p <= self.cores]

    def ceiling(self) -> CeilingRecord:
        counts = {str(p): p for p in self.thread_counts}
        several = {t: p for t, p in counts.items() if p > 1}
        return CeilingRecord(
            {t: self.peak * p for t, p in counts.items()},
            {t: self.bandwidth * p**0.8 for t, p in counts.items()},
            {t: self.hand_over * np.log2(p) for t, p in several.items()},
            {t: self.fork_join * p / 2 for t, p in several.items()},
        )

    def run(self) -> RunRecord:
        caches = [{"level": "1", "type": "Data", "size": "32K"}]
        caches.append({"level": "3", "type": "Unified", "size": "32768K"})
        platform = {
            "cpu": "Simulated processor",
            "cores": self.cores,
            "caches": caches,
            "memory_bytes": 2**34,
            "simd": ["avx2", "fma"],
            "quota_cores": None,
            "compiler": "none",
            "python": "3.11",
        }
        versions = {"parmlp": "0", "numpy": "0"}
        return RunRecord("simulated", "2000-01-01T00:00:00+00:00", platform, versions, None)

    def step_seconds(self, cell: Cell) -> float:
        """Seconds of a full minibatch's step, without noise."""
        program = self.programs[cell.implementation]
        p, batch = cell.threads, min(cell.batch, cell.rows)
        work = batch * cell.flops_per_sample / (self.peak * program.efficiency)
        times = batch if program.an_example else 1
        several = p > 1
        hand_overs = several * program.hand_overs * times * self.hand_over * np.log2(p)
        fork_joins = several * program.fork_joins * times * self.fork_join * p / 2
        parallel = work * (program.serial + (1 - program.serial) / p)
        return float(parallel + program.launch + hand_overs + fork_joins)

    def group(
        self, experiment: str, name: str, cells: Iterable[Cell], **fields: object
    ) -> list[CellRecord]:
        """Cells timed alternately: what slows a round down slows all of it."""
        drift = np.exp(self._rng.normal(0, self.noise, self.rounds))
        found = []
        for cell in cells:
            own = np.exp(self._rng.normal(0, self.noise, self.rounds))
            batch = min(cell.batch, cell.rows)
            seconds = self.step_seconds(cell) * (cell.rows / batch) * drift * own
            rounds = tuple(Round(i, cell.rows, float(s), 0.01, True) for i, s in enumerate(seconds))
            record = CellRecord(
                cell_key(experiment, cell), experiment, cell, "timed", f"{experiment}/{name}"
            )
            found.append(replace(record, check=Check(1e-7, 2e-6), rounds=rounds, **fields))
        return found

    # The experiments ----------------------------------------------------------------------------

    def threads_of(self, name: str, counts: Iterable[int]) -> list[int]:
        return [p for p in counts if (name in PARALLEL or p == 1)]

    def implementations(self) -> Iterator[CellRecord]:
        for layers in ((784, 100, 10), (784, 1024, 10)):
            for batch in (128, 512, 2048):
                cells = [
                    Cell(name, layers, "mnist5k", 4096, batch, p, FAITHFUL)
                    for name in self.programs
                    for p in self.threads_of(name, (1, self.cores))
                ]
                yield from self.group("implementations", f"{layers}/{batch}", cells)
        for name in ("theano_gpu", "parmlp_cuda"):
            cell = Cell(name, (784, 1024, 10), "mnist5k", 4096, 128, 1, FAITHFUL)
            key = cell_key("implementations", cell)
            reason = f"{name} has no GPU here"
            yield CellRecord(key, "implementations", cell, "unavailable", "gpu", reason)

    def network_sizes(self) -> Iterator[CellRecord]:
        for width in (100, 256, 512, 1024):
            cells = [
                Cell(name, (784, width, 10), "mnist5k", 4096, 128, p, FAITHFUL)
                for name in ("parmlp_serial", "parmlp_threads", "jax", "numpy")
                for p in self.threads_of(name, (1, self.cores))
            ]
            yield from self.group("network_sizes", str(width), cells)

    def scaling(self, experiment: str) -> Iterator[CellRecord]:
        names = ("parmlp_threads", "parmlp_openmp", "parmlp_partial_gradients", "naive_pthreads")
        for layers, data in (((784, 100, 10), "mnist"), ((122, 64, 23), "kddcup99")):
            cells = [
                Cell(
                    name,
                    layers,
                    data,
                    4096 * (p if experiment == "weak_scaling" else 1),
                    128,
                    p,
                    FAITHFUL,
                )
                for name in names
                for p in self.thread_counts
            ]
            yield from self.group(experiment, data, cells)

    def problem_size(self) -> Iterator[CellRecord]:
        for rows in (1000, 4000, 16000, 64000):
            cells = [
                Cell(name, (784, 100, 10), "mnist", rows, 128, p, FAITHFUL)
                for name in ("parmlp_serial", "parmlp_threads", "jax")
                for p in self.threads_of(name, (1, self.cores))
            ]
            yield from self.group("problem_size", str(rows), cells)

    def batch_size(self) -> Iterator[CellRecord]:
        for batch in (16, 64, 256, 1024, 4096):
            cells = [
                Cell(name, (784, 100, 10), "mnist5k", 4096, batch, p, FAITHFUL, epochs=5)
                for name in ("parmlp_serial", "parmlp_threads", "jax")
                for p in self.threads_of(name, (1, self.cores))
            ]
            reached = 0.95 * np.exp(-batch / 4000)
            accuracy = Accuracy(float(reached), None)
            yield from self.group("batch_size", str(batch), cells, accuracy=accuracy)

    def time_to_accuracy(self) -> Iterator[CellRecord]:
        for seed in range(3):
            for name in ("parmlp_threads", "jax", "torch"):
                cell = Cell(
                    name, (784, 100, 10), "mnist", 60000, 64, self.cores, FAITHFUL, seed, 10
                )
                (record,) = self.group("time_to_accuracy", f"seed {seed}", [cell])
                epoch = record.rounds[0].seconds
                curve = tuple(float(np.exp(-e / 3) + 0.02 * seed) for e in range(10))
                yield replace(
                    record,
                    group=f"time_to_accuracy/{seed}",
                    loss_curve=curve,
                    test_curve=tuple(0.96 - 0.3 * loss for loss in curve),
                    epoch_seconds=(epoch,) * len(curve),
                    start_seconds=0.5,
                    accuracy=Accuracy(0.96 + 0.001 * seed, 0.95),
                    seconds_to_accuracy={"0.9": 2 * epoch, "0.95": 6 * epoch, "0.99": None},
                )

    def hyperparameters(self) -> Iterator[CellRecord]:
        for rate in (0.001, 0.01, 0.1, 0.5, 1.0):
            configuration = replace(FAITHFUL, learning_rate=rate)
            cell = Cell(
                "parmlp_threads",
                (784, 100, 10),
                "mnist5k",
                4096,
                128,
                self.cores,
                configuration,
                epochs=5,
            )
            reached = 0.95 * rate / (rate + 0.02)
            yield from self.group(
                "hyperparameters", "grid", [cell], accuracy=Accuracy(None, reached)
            )

    def phases(self) -> Iterator[CellRecord]:
        for layers in ((784, 100, 10), (784, 1024, 10)):
            cell = Cell("parmlp_threads", layers, "mnist5k", 4096, 128, self.cores, FAITHFUL)
            step = self.step_seconds(cell)
            shares = {("forward", 0): 0.3, ("forward", 1): 0.1, ("backward", 1): 0.1}
            shares |= {("weights", 1): 0.1, ("weights", 0): 0.35}
            phases = tuple(Phase(p, layer, s * step, s) for (p, layer), s in shares.items())
            yield from self.group(
                "phases", str(layers), [cell], phases=phases, hand_over_seconds=self.hand_over
            )

    def same_bits(self) -> Iterator[CellRecord]:
        digest = hashlib.sha256(b"weights").hexdigest()
        cells = [
            Cell(name, (784, 100, 10), "mnist5k", 4096, 128, p, FAITHFUL, epochs=2)
            for name in ("parmlp_serial", "parmlp_threads", "parmlp_openmp")
            for p in self.threads_of(name, (1, self.cores))
        ]
        yield from self.group(
            "examples_or_matrices",
            "bits",
            cells,
            weights_sha256=digest,
            accuracy=Accuracy(0.9, None),
        )

    def study(self) -> list[CellRecord]:
        """Every experiment."""
        return [
            *self.implementations(),
            *self.network_sizes(),
            *self.scaling("strong_scaling"),
            *self.scaling("weak_scaling"),
            *self.problem_size(),
            *self.batch_size(),
            *self.time_to_accuracy(),
            *self.hyperparameters(),
            *self.phases(),
            *self.same_bits(),
        ]


def write_study(
    folder: Path, machine: Machine, cells: Iterable[CellRecord] | None = None
) -> list[CellRecord]:
    """A run's folder as `parmlp study run` leaves it; returns the cells."""
    records = machine.study() if cells is None else list(cells)
    head: list[Record] = [machine.run(), machine.ceiling()]
    end = EndRecord("2000-01-01T01:00:00+00:00", True)
    folder.mkdir(parents=True, exist_ok=True)
    with ResultsWriter(folder / RESULTS) as writer:
        for record in (*head, *records, end):
            writer.append(record)
    predicted = {
        r.key: {
            "seconds_per_epoch": machine.step_seconds(r.cell) * r.cell.rows / r.cell.batch * 1.1,
            "because": "the simulation's own formula, times 1.1",
        }
        for r in records
        if r.status == "timed"
    }
    document = {"format": 1, "made": "2000-01-01", "cells": predicted, "findings": {}}
    (folder / PREDICTIONS).write_text(json.dumps(document), encoding="utf-8")
    return records
