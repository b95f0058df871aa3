"""What a study leaves behind: ``results.jsonl``, one record a line, written as it is measured.

A file starts with a ``run`` record, then a ``ceiling``, then ``round`` and ``cell`` records, and
``end`` when all is done. A cell's record is complete in itself: its rounds are in it. The ``round``
records before it are what lets a killed run go on within a group of cells; readers of results need
them for nothing.
"""

import dataclasses
import fcntl
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from parmlp.study.errors import StudyError

#: Number of the format; a reader refuses any other.
FORMAT = 1

RESULTS = "results.jsonl"
PREDICTIONS = "predictions.json"

Status = Literal["timed", "unavailable", "rejected", "failed", "timeout"]


@dataclass(frozen=True)
class Configuration:
    """What is trained: activations, loss, solver and their constants.

    Weights and sums are always float32; ``precision`` "bf16" lets operands of products be bfloat16.
    """

    name: str
    hidden_activation: str
    out_activation: str
    loss: str
    solver: str
    learning_rate: float
    alpha: float  # L2 penalty as scikit-learn places it
    precision: str = "float32"


def flops_per_sample(layers: tuple[int, ...]) -> int:
    """Floating-point operations of one training step per sample.

    A weight costs 2 in the forward product, 2 in its gradient and 2 in the product that sends
    delta to the layer below. The first layer has nothing below, hence
    ``4*N0*N1 + 6*sum(N_l * N_{l+1} for l >= 1)``. Biases, activations, loss and the optimizer's
    own arithmetic are not counted.
    """
    weights = [a * b for a, b in pairwise(layers)]
    return 4 * weights[0] + 6 * sum(weights[1:])


@dataclass(frozen=True)
class Cell:
    """One thing to measure: an implementation training one network in one way.

    Attributes
    ----------
    implementation : str
        As in the contract's list: ``naive_serial``, ``parmlp_threads``, ``theano``, ...
    layers : tuple of int
        Units of each layer, inputs and outputs included.
    data : str
        ``digits``, ``mnist5k``, ``mnist``, ``kddcup99``, ``kddcup99_distinct`` or ``random``.
    rows : int
        Training rows of an epoch; beyond the data set's own number they are repeated.
    batch : int
        Rows of a minibatch.
    threads : int
    configuration : Configuration
    seed : int
        Draws initial weights and row orders.
    epochs : int or None
        Epochs trained for accuracy; None where only time is measured.
    """

    implementation: str
    layers: tuple[int, ...]
    data: str
    rows: int
    batch: int
    threads: int
    configuration: Configuration
    seed: int = 0
    epochs: int | None = None

    @property
    def net(self) -> str:
        """The layers in the paper's way: ``784-100-10``."""
        return "-".join(str(n) for n in self.layers)

    @property
    def flops_per_sample(self) -> int:
        """See :func:`flops_per_sample`."""
        return flops_per_sample(self.layers)


def cell_key(experiment: str, cell: Cell) -> str:
    """A name for a cell of an experiment, the same in every run: 16 hexadecimal digits."""
    document = json.dumps([experiment, dataclasses.asdict(cell)], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Check:
    """How far a result was from the float64 reference; None where that is not a finite number.

    ``loss_error`` is relative; ``change_error`` is the parameters' change's, relative to the change
    (Frobenius norm over all of them).
    """

    loss_error: float | None
    change_error: float | None


@dataclass(frozen=True)
class Round:
    """One timing. Rounds with the same number of cells of one group are paired.

    ``others`` is the number of CPUs that somebody else kept busy meanwhile; ``quiet`` says whether
    that was little in the whole round.
    """

    round: int
    rows: int
    seconds: float
    others: float
    quiet: bool


@dataclass(frozen=True)
class Accuracy:
    """Shares of correctly classified rows after the last epoch; None without such rows."""

    test: float | None
    validation: float | None


@dataclass(frozen=True)
class Phase:
    """Time of one phase of a step, in seconds a step; ``share`` is of the whole step."""

    phase: str
    layer: int
    seconds: float
    share: float


@dataclass(frozen=True)
class RunRecord:
    """The first record: what was asked for, and the machine. It names no host and no user."""

    type: ClassVar[str] = "run"
    preset: str
    started: str
    platform: dict[str, Any]
    versions: dict[str, str]
    commit: str | None
    experiments: tuple[str, ...] = ()
    implementations: tuple[str, ...] = ()  # where only some were asked for
    format: int = FORMAT


@dataclass(frozen=True)
class CeilingRecord:
    """The machine's limits by number of threads (as text): what predictions are made from.

    Where a higher peak is seen later in a run, a further record has it, and the last one counts.
    ``hand_over_seconds`` is what passing from one phase of a step to the next costs;
    ``fork_join_seconds`` what making and joining threads for a minibatch costs.
    """

    type: ClassVar[str] = "ceiling"
    peak_flops: dict[str, float]
    read_bytes_per_second: dict[str, float]
    hand_over_seconds: dict[str, float]
    fork_join_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundRecord:
    """One round of a group as it was measured: rows, seconds and others by cell key."""

    type: ClassVar[str] = "round"
    group: str
    round: int
    timings: dict[str, dict[str, float]]


@dataclass(frozen=True)
class CellRecord:
    """All that was measured of one cell, or why it was not."""

    type: ClassVar[str] = "cell"
    key: str
    experiment: str
    cell: Cell
    status: Status
    group: str
    reason: str | None = None
    check: Check | None = None
    rounds: tuple[Round, ...] = ()
    scaled: bool = False  # timed on part of an epoch
    nonzero_share: float | None = None  # of the training rows' values
    accuracy: Accuracy | None = None
    loss_curve: tuple[float, ...] | None = None
    test_curve: tuple[float | None, ...] | None = None  # accuracy by epoch
    epoch_seconds: tuple[float, ...] | None = None  # without scoring, set-up and compilation
    start_seconds: float | None = None  # set-up and compilation before them
    weights_sha256: str | None = None  # of the parameters that the check compared
    seconds_to_accuracy: dict[str, float | None] | None = None
    phases: tuple[Phase, ...] | None = None
    hand_over_seconds: float | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EndRecord:
    """The last record; ``complete`` is False where a run was told to stop."""

    type: ClassVar[str] = "end"
    finished: str
    complete: bool


Record = RunRecord | CeilingRecord | RoundRecord | CellRecord | EndRecord


def to_line(record: Record) -> str:
    """One line of JSON, with its line break.

    Raises
    ------
    ValueError
        For NaN or infinity, which JSON cannot say.
    """
    document = {"type": record.type, **dataclasses.asdict(record)}
    return json.dumps(document, allow_nan=False) + "\n"


def finite_or_none(value: float) -> float | None:
    """`value` as JSON can say it."""
    return float(value) if math.isfinite(value) else None


def _configuration(document: Mapping[str, Any]) -> Configuration:
    return Configuration(**document)


def cell_from_dict(document: Mapping[str, Any]) -> Cell:
    """The inverse of ``dataclasses.asdict``."""
    return Cell(
        **{
            **document,
            "layers": tuple(document["layers"]),
            "configuration": _configuration(document["configuration"]),
        }
    )


def _optional(build: Any, document: Any) -> Any:
    return None if document is None else build(**document)


def _cell_record(fields: dict[str, Any]) -> CellRecord:
    phases = fields["phases"]
    curves = ("loss_curve", "test_curve", "epoch_seconds")
    return CellRecord(
        **{
            **fields,
            "cell": cell_from_dict(fields["cell"]),
            "check": _optional(Check, fields["check"]),
            "rounds": tuple(Round(**r) for r in fields["rounds"]),
            "accuracy": _optional(Accuracy, fields["accuracy"]),
            **{c: None if fields[c] is None else tuple(fields[c]) for c in curves},
            "phases": None if phases is None else tuple(Phase(**p) for p in phases),
        }
    )


def _run_record(fields: dict[str, Any]) -> RunRecord:
    lists = ("experiments", "implementations")
    return RunRecord(**{**fields, **{name: tuple(fields[name]) for name in lists}})


_BUILD: dict[str, Any] = {
    "run": _run_record,
    "ceiling": lambda fields: CeilingRecord(**fields),
    "round": lambda fields: RoundRecord(**fields),
    "cell": _cell_record,
    "end": lambda fields: EndRecord(**fields),
}


def from_dict(document: Mapping[str, Any]) -> Record:
    """The record of one line's JSON object.

    Raises
    ------
    StudyError
        For another format or a type that is none of ours.
    """
    fields = dict(document)
    kind = fields.pop("type", None)
    if kind == "run" and fields.get("format") != FORMAT:
        raise StudyError(
            f"these results have format {fields.get('format')!r}, and this version of parmlp reads "
            f"{FORMAT}; read them with the version that wrote them, or run the study again"
        )
    if kind not in _BUILD:
        raise StudyError(f"a record of type {kind!r}; there are {', '.join(_BUILD)}")
    record: Record = _BUILD[kind](fields)
    return record


@dataclass
class Results:
    """A results file, read."""

    run: RunRecord
    ceiling: CeilingRecord | None = None
    cells: dict[str, CellRecord] = field(default_factory=dict)  # by key, in the order measured
    rounds: dict[str, list[RoundRecord]] = field(default_factory=dict)  # by group
    end: EndRecord | None = None
    half_line: bool = False  # a last line without its end, left by a kill, was ignored

    def of(self, experiment: str) -> list[CellRecord]:
        """The cells of one experiment."""
        return [c for c in self.cells.values() if c.experiment == experiment]


def read_results(path: str | os.PathLike[str]) -> Results:
    """Read a results file, or the one in a run's folder.

    A last line without a line break is what a kill leaves; it is ignored. After a resumed run the
    last ``end`` counts.

    Raises
    ------
    StudyError
        No such file, no record in it, another format, or a damaged line, which is named.
    """
    file = Path(path)
    if file.is_dir():
        file = file / RESULTS
    try:
        text = file.read_bytes()
    except OSError as error:
        raise StudyError(
            f"cannot read {file}: {error.strerror or error}; name a folder that "
            "`parmlp study run` has filled"
        ) from error
    whole, _, rest = text.rpartition(b"\n")
    results: Results | None = None
    for number, record in _records(file, whole):
        if isinstance(record, RunRecord):
            if results is not None:
                raise StudyError(f"{file}, line {number}: a second run; one folder holds one run")
            results = Results(record)
        elif results is None:
            raise StudyError(f"{file} does not start with a run record; it is not a study's")
        elif isinstance(record, CeilingRecord):
            results.ceiling = record
        elif isinstance(record, RoundRecord):
            results.rounds.setdefault(record.group, []).append(record)
        elif isinstance(record, CellRecord):
            results.cells[record.key] = record
        else:
            results.end = record
    if results is None:
        raise StudyError(f"{file} holds no record; run the study again")
    results.half_line = bool(rest)
    return results


def _records(file: Path, whole: bytes) -> Iterator[tuple[int, Record]]:
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            document = json.loads(line)
            record = from_dict(document)
        except StudyError as error:
            raise StudyError(f"{file}, line {number}: {error}") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StudyError(
                f"{file}, line {number} is damaged ({type(error).__name__}: {error}); take that "
                "line out, and `parmlp study run --resume` measures what it held again"
            ) from error
        yield number, record


class ResultsWriter:
    """Appends records to a results file; each is on the disk when ``append`` returns.

    A half-written last line, which a kill may leave, is cut off first. A record that cannot be
    written whole (a full disk) is taken back, so that the file always ends with a whole line.

    Parameters
    ----------
    path : path
        The file; made if it is not there.

    Raises
    ------
    StudyError
        If another process has it open for writing, or it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StudyError(
                f"cannot write {self.path}: {error.strerror}; choose another --out"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise StudyError(
                f"another run is writing {self.path}; wait for it or choose another --out"
            ) from error
        whole = self.path.read_bytes().rpartition(b"\n")
        self._length = len(whole[0]) + len(whole[1])
        os.ftruncate(self._file, self._length)

    @property
    def is_empty(self) -> bool:
        """Whether the file has no whole line."""
        return self._length == 0

    def append(self, record: Record) -> None:
        """Write one record.

        Raises
        ------
        StudyError
            If it cannot be written; what was written before is kept.
        """
        line = to_line(record).encode()
        before = self._length
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(self._file, line[written:], before + written)
            self._length += len(line)
            os.fsync(self._file)
        except OSError as error:
            self._length = before
            os.ftruncate(self._file, before)
            raise StudyError(
                f"cannot write {self.path}: {error.strerror or error}; what was measured before is "
                "kept. Free some space and go on with --resume"
            ) from error
        except BaseException:  # Ctrl-C: no half line stays behind
            os.ftruncate(self._file, self._length)
            raise

    def close(self) -> None:
        """Close the file and let others write it."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
