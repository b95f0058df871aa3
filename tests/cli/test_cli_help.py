"""`--help`: instant, complete, and in words that the estimators know."""

import subprocess
import sys
from enum import StrEnum
from typing import Any, Literal, get_args

import pytest

from parmlp.cli import choices
from parmlp.estimators import MLPClassifier, MLPRegressor
from parmlp.preprocessing import Task

COMMANDS: list[list[str]] = [
    [],
    ["train"],
    ["predict"],
    ["evaluate"],
    ["data"],
    ["data", "list"],
    ["data", "path"],
    ["data", "fetch"],
    ["info"],
    ["demo"],
    ["study"],
    ["study", "run"],
    ["study", "peers"],
    ["study", "peers", "install"],
    ["study", "peers", "list"],
]

# What takes 50 ms and more to import.
HEAVY = ["numpy", "scipy", "sklearn", "pyarrow", "safetensors", "pooch", "rich"]


def test_help_of_every_command_imports_nothing_heavy() -> None:
    program = f"""
import sys
from parmlp.cli import run
for command in {COMMANDS!r}:
    assert run([*command, "--help"]) == 0, command
print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout.count("Usage: parmlp") == len(COMMANDS)


def test_console_script_and_module_are_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parmlp", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("parmlp ")


def test_no_command_shows_the_help_and_is_a_bad_argument(parmlp: Any) -> None:
    outcome = parmlp()
    assert outcome.code == 2
    assert outcome.out == ""
    assert "Usage: parmlp" in outcome.err


def accepted(*parameters: tuple[type[Any], str]) -> set[str]:
    """The strings that estimators accept for a parameter."""
    return {
        option
        for estimator, parameter in parameters
        for constraint in estimator._parameter_constraints[parameter]
        for option in getattr(constraint, "options", ())
    }


@pytest.mark.parametrize(
    ("words", "parameter", "left_out"),
    [
        (choices.Activation, "activation", set()),
        (choices.Solver, "solver", {"lbfgs"}),
        (choices.WeightInit, "weight_init", set()),
        (choices.Engine, "engine", set()),
        (choices.Schedule, "schedule", set()),
        (choices.Precision, "precision", set()),
        (choices.Loss, "loss", set()),
        # "logistic" is scikit-learn's name for "sigmoid", which is there
        (choices.OutActivation, "out_activation", {"logistic"}),
    ],
)
def test_choices_are_those_of_the_estimators(
    words: type[StrEnum], parameter: str, left_out: set[str]
) -> None:
    known = accepted((MLPClassifier, parameter), (MLPRegressor, parameter))
    assert {word.value for word in words} == known - left_out


def test_tasks_are_those_of_the_preprocessing() -> None:
    assert Task == Literal["classification", "regression"]
    assert {word.value for word in choices.Task} == set(get_args(Task))
