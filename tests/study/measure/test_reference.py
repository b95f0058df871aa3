"""The float64 reference agrees with finite differences, and the check can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from parmlp.study.measure import check, problem, reference
from parmlp.study.measure.rivals.base import Result
from parmlp.study.measure.workload import DEFAULT, FAITHFUL, Workload
from parmlp.study.records import Configuration


def _workload(configuration: Configuration) -> Workload:
    return Workload((5, 4, 3), 8, "random", configuration, 64)


@pytest.mark.parametrize("configuration", [FAITHFUL, replace(DEFAULT, solver="sgd", alpha=0.1)])
def test_one_sgd_step_follows_finite_differences(configuration: Configuration) -> None:
    workload = _workload(configuration)
    made = problem.make_problem(workload)
    rows = np.arange(8)

    def loss(coefs: list[np.ndarray]) -> float:
        # One minibatch: the loss before its update.
        return reference.train(workload, replace(made, coefs=coefs), rows).loss

    stepped = reference.train(workload, made, rows)
    for layer in range(2):
        start = made.coefs[layer].astype(np.float64)
        gradient = (start - stepped.coefs[layer]) / configuration.learning_rate
        for index in [(0, 0), (2, 1), (3, 2)]:
            up, down = start.copy(), start.copy()
            up[index] += 1e-6
            down[index] -= 1e-6
            others = list(made.coefs)
            values = []
            for changed in (up, down):
                others[layer] = changed
                values.append(loss(others))
            assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient[index], rel=1e-5)


@pytest.mark.parametrize("configuration", [FAITHFUL, DEFAULT])
def test_the_check_tells_right_from_wrong(configuration: Configuration) -> None:
    workload = _workload(configuration)
    made = problem.make_problem(workload)
    checked = check.make_check(workload, made)
    right = checked.expected

    def verdict(result: Result) -> check.Verdict:
        return check.judge(workload, made, checked, result)

    assert verdict(right).passed
    assert not verdict(Result(right.loss * (1 + 1e-4), right.coefs, right.intercepts)).passed
    assert not verdict(Result(float("nan"), right.coefs, right.intercepts)).passed
    off = [w + 1e-2 * (w - i) for w, i in zip(right.coefs, made.coefs, strict=True)]
    assert not verdict(Result(right.loss, off, right.intercepts)).passed
    assert not verdict(Result(right.loss, made.coefs, made.intercepts)).passed
    nan = [np.full_like(w, np.nan) for w in right.coefs]
    assert not verdict(Result(right.loss, nan, right.intercepts)).passed
    # what rounding does, and ten times as much, is right
    loose = replace(checked, rounding=check.Errors(0.0, 2e-3))
    assert check.judge(workload, made, loose, Result(right.loss, off, right.intercepts)).passed
    strict = replace(checked, rounding=check.Errors(0.0, 2e-4))
    assert not check.judge(workload, made, strict, Result(right.loss, off, right.intercepts)).passed
    turned = [w.T for w in right.coefs]
    assert "shapes" in verdict(Result(right.loss, turned, right.intercepts)).reason
