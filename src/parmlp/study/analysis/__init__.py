"""What a run's records say: pure functions, no files and no plots."""

from parmlp.study.analysis.agreement import accuracies, compare_bits
from parmlp.study.analysis.bounds import Bound, bound_of
from parmlp.study.analysis.estimates import Estimate, estimate, ratio
from parmlp.study.analysis.findings import Finding, findings
from parmlp.study.analysis.laws import Fit, TooFewPoints, fit
from parmlp.study.analysis.measurements import Measurement, Measurements, Problem, measure
from parmlp.study.analysis.roofline import roofline
from parmlp.study.analysis.speedup import (
    Speedup,
    against_best_serial,
    against_own_one_thread,
    karp_flatt,
)
from parmlp.study.analysis.study import Predictions, Statement, StudyRun
from parmlp.study.analysis.winners import Win, winners

__all__ = [
    "Bound",
    "Estimate",
    "Finding",
    "Fit",
    "Measurement",
    "Measurements",
    "Predictions",
    "Problem",
    "Speedup",
    "Statement",
    "StudyRun",
    "TooFewPoints",
    "Win",
    "accuracies",
    "against_best_serial",
    "against_own_one_thread",
    "bound_of",
    "compare_bits",
    "estimate",
    "findings",
    "fit",
    "karp_flatt",
    "measure",
    "ratio",
    "roofline",
    "winners",
]
