"""The scripts in examples/ run and find something."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_halving_grid_search() -> None:
    search = runpy.run_path(str(EXAMPLES / "halving_grid_search.py"))["main"](epochs=5)
    assert search.best_params_["learning_rate_init"] in (0.1, 0.5, 1.0)


def test_optuna_search() -> None:
    pytest.importorskip("optuna")
    study = runpy.run_path(str(EXAMPLES / "optuna_search.py"))["main"](trials=3, epochs=5)
    assert len(study.trials) == 3
    assert study.best_value > 0.2
