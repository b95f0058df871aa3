"""What the paper asks a run; nothing is made up where a run has nothing."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from parmlp.study import experiments, predictions
from parmlp.study.analysis import (
    Finding,
    Measurement,
    Measurements,
    Predictions,
    StudyRun,
    findings,
    roofline,
)
from parmlp.study.analysis.agreement import BitComparison, accuracies, compare_bits
from parmlp.study.analysis.findings.finding import Duel, duels
from parmlp.study.analysis.findings.ours import RIGHT, SAME_BITS
from parmlp.study.analysis.speedup import own_one_thread
from parmlp.study.records import CeilingRecord, CellRecord, Results, read_results

#: The authors' two networks, Net-1h and Net-2h, and their data.
AUTHORS_NETS = ("784-1024-10", "784-1024-1024-10")

#: A cell above this share of its roof is more than the noise of the ceiling.
ABOVE_ROOF = 1.05


class PaperError(Exception):
    """The paper cannot be written: a number that the text asks for is not in the results."""


@dataclass(frozen=True)
class Extent:
    """How far an experiment went: its cells, and what they are made of."""

    experiment: experiments.Experiment
    records: tuple[CellRecord, ...]

    @property
    def measured(self) -> list[CellRecord]:
        return [r for r in self.records if r.status == "timed"]

    @property
    def missing(self) -> Counter[str]:
        """Cells that were not measured, by what became of them."""
        return Counter(r.status for r in self.records if r.status != "timed")

    def values(self, of: Callable[[CellRecord], object]) -> list[str]:
        """The different values in the measured cells, in the order in which they were measured."""
        return list(dict.fromkeys(str(of(r)) for r in self.measured))

    def numbers(self, of: Callable[[CellRecord], int]) -> list[int]:
        """The different numbers in the measured cells, ascending."""
        return sorted({of(r) for r in self.measured})


class Evidence:
    """One run, as the paper asks about it.

    Parameters
    ----------
    folder : Path
        As `parmlp study run` leaves it.

    Raises
    ------
    PaperError
        If nothing was measured, or ceilings or predictions are missing.
    StudyError
        If the folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.results: Results = read_results(folder)
        document = predictions.read(folder)
        self.predictions_made = str(document["made"])
        self.run = StudyRun.of(self.results, Predictions.of(document))
        if not self.run.measured:
            raise PaperError(f"{folder} has no timed cell; a paper needs some: run the study")

    @property
    def ceiling(self) -> CeilingRecord:
        """The machine's limits."""
        if self.run.ceiling is None:
            raise PaperError("the run has no record of the machine's ceilings")
        return self.run.ceiling

    def fact(self, name: str) -> object:
        """A fact of the platform record."""
        value = self.run.run.platform.get(name)
        if value is None or value == "":
            raise PaperError(f"the run's platform record does not say {name!r}")
        return value

    @property
    def cores(self) -> int:
        """Cores that the run could use."""
        affinity = self.fact("affinity")
        return len(affinity) if isinstance(affinity, list) else int(str(self.fact("cores")))

    @property
    def most_threads(self) -> int:
        return self.run.measured.most_threads

    # What was measured --------------------------------------------------------------------------

    def extent(self, experiment: str) -> Extent:
        """The cells of an experiment that the run planned and came to."""
        found = experiments.load([experiment])[0]
        return Extent(found, tuple(r for r in self.run.records if r.experiment == experiment))

    def has(self, experiment: str) -> bool:
        """Whether anything of an experiment was measured."""
        return bool(self.extent(experiment).measured)

    def of(self, experiment: str, *, net: str | None = None, configuration: str | None = None,
           data: str | None = None) -> Measurements:  # fmt: skip
        """The timed cells of an experiment, or those of a network, configuration or data set."""
        return Measurements(
            m
            for m in self.run.of_experiment(experiment)
            if (net is None or m.problem.net == net)
            and (configuration is None or m.problem.configuration == configuration)
            and (data is None or m.problem.data == data)
        )

    def records(self, experiment: str, *, net: str | None = None, data: str | None = None,
                configuration: str | None = None) -> list[CellRecord]:  # fmt: skip
        """The cells of an experiment, measured or not."""
        return [
            r
            for r in self.run.records
            if r.experiment == experiment
            and (net is None or r.cell.net == net)
            and (data is None or r.cell.data == data)
            and (configuration is None or r.cell.configuration.name == configuration)
        ]

    def of_timed(self, experiment: str, *, net: str | None = None, data: str | None = None,
                 configuration: str | None = None) -> list[CellRecord]:  # fmt: skip
        """The cells of an experiment that were timed."""
        found = self.records(experiment, net=net, data=data, configuration=configuration)
        timed = {m.record.key for m in self.run.measured}
        return [r for r in found if r.key in timed]

    def scored(self, records: Iterable[CellRecord]) -> bool:
        """Whether any of these cells was trained to an accuracy."""
        return any(r.accuracy is not None for r in records)

    def epochs(self, records: Iterable[CellRecord]) -> str:
        """How many epochs these cells were trained."""
        found = sorted({r.cell.epochs for r in records if r.cell.epochs is not None})
        if not found:
            raise PaperError("cells that were trained to an accuracy say no number of epochs")
        return " or ".join(map(str, found))

    # Comparisons --------------------------------------------------------------------------------

    def duels(self, measured: Measurements, first: str | Iterable[str],
              second: str | Iterable[str], threads: int | None = None,
              against: int | None = None) -> list[Duel]:  # fmt: skip
        """The fastest of `first` against the fastest of `second`, problem by problem.

        ``threads`` are those of the first, ``against`` those of the second; any where None.
        """
        ones = {first} if isinstance(first, str) else set(first)
        others = {second} if isinstance(second, str) else set(second)
        wanted = Measurements(
            m
            for m in measured
            if (m.name in ones and threads in (None, m.threads))
            or (m.name in others and against in (None, m.threads))
        )
        if ones & others:
            raise PaperError(f"{ones & others} cannot be compared with itself")
        return duels(wanted, ones, others)

    def own_speedups(self, measured: Measurements, name: str) -> list[Duel]:
        """An implementation on its most threads against its own one thread, by problem."""
        found = []
        for m in measured.where(names=[name]):
            base = own_one_thread(m, measured)
            if base is not None and m.threads == self.most_threads > 1:
                found.append(Duel(m.problem, m, base, m.speed_over(base)))
        return sorted(found, key=lambda d: measured.problems.index(d.problem))

    def extremes(self, measured: Measurements) -> tuple[Measurement, Measurement] | None:
        """The cells with the fewest and the most GFLOP/s, each problem at its best threads."""
        best = [
            m for p in measured.problems if (m := measured.where(problem=p).fastest()) is not None
        ]
        if len(best) < 2:
            return None
        by_rate = sorted(best, key=lambda m: m.gflops.median)
        return by_rate[0], by_rate[-1]

    def row_costs(
        self, experiment: str, name: str, data: str
    ) -> tuple[Measurement, Measurement] | None:
        """An implementation among the fewest and the most rows, at its best threads."""
        found = self.of(experiment, data=data).where(names=[name])
        if len({m.cell.rows for m in found}) < 2:
            return None
        least, most = min(m.cell.rows for m in found), max(m.cell.rows for m in found)
        ends = [Measurements(m for m in found if m.cell.rows == n).fastest() for n in (least, most)]
        if ends[0] is None or ends[1] is None:
            return None
        return ends[0], ends[1]

    def chosen_rates(self) -> list[str]:
        """Which learning rate the validation rows choose, and whether the test rows agree."""
        by_problem: dict[tuple[object, ...], list[CellRecord]] = {}
        for r in self.extent("hyperparameters").measured:
            c = r.cell
            by_problem.setdefault((c.net, c.data, c.batch, c.seed), []).append(r)
        said = []
        for (net, data, batch, _), records in by_problem.items():
            scores = [(r.accuracy.validation, r) for r in records
                      if r.accuracy is not None and r.accuracy.validation is not None]  # fmt: skip
            if not scores:
                continue
            rate = max(scores, key=lambda s: s[0])[1].cell.configuration.learning_rate
            text = f"On {data}, {net} at batch {batch:,}, the validation rows choose α = {rate:g}"
            tests = [(r.accuracy.test, r) for r in records
                     if r.accuracy is not None and r.accuracy.test is not None]  # fmt: skip
            if tests:
                other = max(tests, key=lambda s: s[0])[1].cell.configuration.learning_rate
                text += (", and so would the test rows" if other == rate
                         else f"; the test rows would have chosen {other:g}")  # fmt: skip
            said.append(f"{text}.")
        return said or ["No validation rows were scored."]

    # What the analysis says ---------------------------------------------------------------------

    @cached_property
    def findings(self) -> list[Finding]:
        return findings(self.run)

    def finding(self, id: str) -> Finding:
        """The finding of that id."""
        for f in self.findings:
            if f.id == id:
                return f
        raise PaperError(f"there is no finding {id!r}")

    def verdicts(self, source: str) -> Counter[str]:
        """How many findings got which verdict."""
        return Counter(f.verdict for f in self.findings if f.source == source)

    @cached_property
    def bits(self) -> list[BitComparison]:
        """Weights of the engines that should agree to the last bit, by problem."""
        return compare_bits(self.run.records, SAME_BITS)

    @property
    def final_accuracies_exist(self) -> bool:
        """Whether two implementations trained one problem alike to an accuracy."""
        found = Counter((r.problem, r.epochs) for r in accuracies(self.run.records))
        return any(n > 1 for n in found.values())

    @property
    def right(self) -> float:
        """The factor within which a prediction is called right."""
        return RIGHT

    @property
    def predicted_right(self) -> int:
        return sum(1 / RIGHT <= c.ratio <= RIGHT for c in self.run.predicted)

    # Doubts -------------------------------------------------------------------------------------

    @property
    def busy(self) -> list[Measurement]:
        """Cells during whose rounds other programs used the CPU."""
        return [m for m in self.run.measured if not m.quiet]

    @cached_property
    def above_roof(self) -> dict[bool, list[Measurement]]:
        """Cells faster than the roof allows: True for those that are so by leaving zeros out.

        GFLOP/s count operations as if no value were zero, so a program that skips the zeros of
        MNIST and KDD'99 may rightly pass the arithmetic peak. By the operations that are left, or
        without such a program, it shows a ceiling that is too low.
        """
        found: dict[bool, list[Measurement]] = {True: [], False: []}
        for p in roofline(self.run.measured, self.run.ceiling, self.run.cache):
            if p.share > ABOVE_ROOF:
                found[False].append(p.measurement)
            elif p.flops > ABOVE_ROOF * p.roof.allows(p.intensity):
                found[True].append(p.measurement)
        return found

    @property
    def scaled(self) -> int:
        """Cells whose epoch was scaled from a part of it."""
        return sum(m.record.scaled for m in self.run.measured)

    def modes(self) -> dict[str, list[str]]:
        """The modes in which rivals were timed, by implementation."""
        found: dict[str, list[str]] = {}
        for m in self.run.measured:
            mode = m.record.versions.get("mode")
            if mode and m.implementation.family == "rival":
                modes = found.setdefault(m.name, [])
                if mode not in modes:
                    modes.append(mode)
        return found
