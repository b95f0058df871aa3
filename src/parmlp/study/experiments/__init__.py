"""The experiments, a small declarative file each: read and checked.

A file has a ``title``, a ``question``, what the paper or we expect (``expectation``), ``defaults``,
and for each preset one or more grids, each a set of lists whose product is measured:

====================  ==============================================================================
``data``              name or names: digits, mnist5k, mnist, kddcup99, kddcup99_distinct, random
``layers``            list of networks, a list of units each
``rows``              training rows: a number, "all", or "5/6" (the rest is for validation)
``rows_per_thread``   instead of ``rows``: weak scaling
``batch``             rows of a minibatch, or "full"
``threads``           numbers, "cores", or "all" alone: 1, 2, 3, 4, 6, 8, ... to the cores
``implementations``   names of :mod:`parmlp.study.implementations`
``configuration``     "faithful" or "default"
``learning_rate``     instead of the configuration's own
``seeds``             of initial weights and row orders; default [0]
``epochs``            train so many and score; default none
``thresholds``        accuracies whose time is noted
``time``              whether rounds are timed; default true
``phases``            whether a step is taken apart; default false
====================  ==============================================================================
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from parmlp.study.errors import StudyError
from parmlp.study.measure.workload import CONFIGURATIONS

#: In the order in which they are run.
NAMES = (
    "implementations",
    "network_sizes",
    "problem_size",
    "strong_scaling",
    "weak_scaling",
    "batch_size",
    "time_to_accuracy",
    "hyperparameters",
    "phases",
    "examples_or_matrices",
)

PRESETS = ("quick", "paper", "full")


@dataclass(frozen=True)
class Grid:
    """Lists whose product is measured; see this module's table."""

    data: list[str]
    layers: list[list[int]]
    batch: list[int | str]
    threads: list[int | str]
    implementations: list[str]
    configuration: str
    rows: list[int | str] = field(default_factory=list)
    rows_per_thread: list[int] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0])
    epochs: int | None = None
    thresholds: list[float] = field(default_factory=list)
    time: bool = True
    phases: bool = False


@dataclass(frozen=True)
class Experiment:
    """One experiment's file."""

    name: str
    title: str
    question: str
    expectation: str
    presets: dict[str, list[Grid]]


_LISTS = ("data", "layers", "batch", "threads", "implementations", "rows", "rows_per_thread",
          "learning_rate", "seeds", "thresholds")  # fmt: skip


def load(names: list[str] | None = None) -> list[Experiment]:
    """Read the experiments of these names, all by default.

    Raises
    ------
    StudyError
        For an unknown name, or a file that is not as it should be.
    """
    unknown = [n for n in names or [] if n not in NAMES]
    if unknown:
        raise StudyError(f"no experiment {', '.join(unknown)}; there are {', '.join(NAMES)}")
    folder = files(__package__)
    return [
        parse(name, tomllib.loads((folder / f"{name}.toml").read_text("utf-8")))
        for name in NAMES
        if names is None or name in names
    ]


def parse(name: str, document: Mapping[str, Any]) -> Experiment:
    """The experiment of a file's content.

    Raises
    ------
    StudyError
        If a key is missing or unknown, or a value is not one of those there are.
    """
    try:
        defaults = document["defaults"]
        presets = {
            preset: [_grid({**defaults, **grid}) for grid in document[preset]] for preset in PRESETS
        }
        return Experiment(
            name, document["title"], document["question"], document["expectation"], presets
        )
    except KeyError as error:
        raise StudyError(f"experiment {name}: {error.args[0]} is missing") from None
    except (TypeError, ValueError) as error:
        raise StudyError(f"experiment {name}: {error}") from None


def _grid(fields: dict[str, Any]) -> Grid:
    if "rows_per_thread" in fields:
        fields.pop("rows", None)
    elif "rows" not in fields:
        raise ValueError("a grid has neither rows nor rows_per_thread")
    for key in _LISTS:
        if key in fields and not isinstance(fields[key], list):
            fields[key] = [fields[key]]
    grid = Grid(**fields)
    if grid.configuration not in CONFIGURATIONS:
        raise ValueError(
            f"configuration {grid.configuration!r} is none of {', '.join(CONFIGURATIONS)}"
        )
    return grid
