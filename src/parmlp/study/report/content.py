"""What stands in the report, and in which order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parmlp.study import experiments
from parmlp.study.analysis import StudyRun
from parmlp.study.report import tables
from parmlp.study.report.drawing import Drawing, Gap
from parmlp.study.report.figures import implementations, limits, scaling, sizes, training
from parmlp.study.report.values import Table

Figure = Callable[[StudyRun], Drawing | Gap]


@dataclass(frozen=True)
class Listed:
    """A table with its title, what to know of it, and what to say where it is empty."""

    title: str
    note: str
    build: Callable[[StudyRun], Table]
    empty: str


@dataclass(frozen=True)
class Part:
    """A part of the report; ``experiment`` is the one it answers, if it is of one."""

    id: str
    title: str
    experiment: str | None
    figures: Sequence[Figure]
    tables: Sequence[Listed] = ()


_FITS = Listed(
    "Fitted laws",
    "Constants with 95 % intervals from a bootstrap over rounds; the misfit is the root mean "
    "square of the relative differences between law and medians.",
    scaling.fit_table,
    "No implementation was timed on one thread and on several.",
)

PARTS = (
    Part(
        "implementations",
        "Implementations",
        "implementations",
        (
            implementations.time_per_epoch,
            implementations.gflops,
            implementations.speedup_by_batch,
            sizes.winners_map,
            implementations.distributions,
        ),
    ),
    Part(
        "strong-scaling",
        "Threads: strong scaling",
        "strong_scaling",
        (scaling.strong_scaling, scaling.efficiency, scaling.karp_flatt),
    ),
    Part("weak-scaling", "Threads: weak scaling", "weak_scaling", (scaling.weak_scaling,)),
    Part("laws", "Scaling laws", None, (scaling.scaling_fits,), (_FITS,)),
    Part(
        "examples-or-matrices",
        "Examples or matrix operations",
        "examples_or_matrices",
        (sizes.examples_or_matrices,),
    ),
    Part(
        "limits",
        "What limits a step",
        "phases",
        (limits.phases, limits.roofline_figure),
        (
            Listed(
                "What bounds each cell",
                "The time that each limit alone would take, as a share of the time measured; the "
                "largest names the bound.",
                tables.bounds,
                "Without the machine's ceilings, or anything timed, there is nothing to say.",
            ),
        ),
    ),
    Part(
        "problem-size",
        "Problem size",
        "problem_size",
        (sizes.problem_size, sizes.problem_size_speedup),
    ),
    Part("network-sizes", "Network size", "network_sizes", (sizes.network_sizes,)),
    Part(
        "batch-size",
        "Batch size",
        "batch_size",
        (sizes.batch_size, sizes.batch_size_gflops, training.accuracy_by_batch),
    ),
    Part(
        "accuracy",
        "Time to accuracy",
        "time_to_accuracy",
        (training.time_to_accuracy, training.accuracy_over_time, training.loss_curves),
        (
            Listed(
                "Accuracy after the same training",
                "On the test set, or on the validation rows where there is none.",
                tables.accuracy,
                "Nothing was trained to an accuracy in this run.",
            ),
        ),
    ),
    Part(
        "hyperparameters",
        "Hyperparameter selection",
        "hyperparameters",
        (training.learning_rates,),
    ),
    Part("predictions", "Predicted and measured", None, (limits.predictions,)),
    Part(
        "tables",
        "Tables",
        None,
        (),
        (
            Listed(
                "Absolute times",
                "Medians with 95 % intervals between order statistics; with five rounds or fewer, "
                "from the least to the largest.",
                tables.times,
                "Nothing was timed in this run.",
            ),
            Listed(
                "Same bits?",
                "Engines of the two-phase schedule, compared by the SHA-256 of their weights. "
                "Numbers of threads stand in brackets.",
                tables.same_bits,
                "No two engines left their weights' digest for one problem.",
            ),
            Listed(
                "Checked before timing",
                "Relative differences from a float64 reference after the same steps, the largest "
                "over all cells.",
                tables.checks,
                "Nothing was checked in this run.",
            ),
            Listed(
                "What was not measured, and why",
                "",
                tables.not_measured,
                "Everything that was to be measured was.",
            ),
            Listed("Platform", "", tables.platform, "The run recorded nothing of its machine."),
        ),
    ),
)


def question(experiment: str | None) -> experiments.Experiment | None:
    """The experiment's title, question and expectation."""
    return None if experiment is None else experiments.load([experiment])[0]
