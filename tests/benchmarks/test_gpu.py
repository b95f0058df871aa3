"""The GPU benchmark: what it records, without a GPU."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cpu.rounds import ROOT
from benchmarks.gpu import __main__ as program
from benchmarks.gpu import choose_mnist, mnist
from benchmarks.gpu.cells import CELLS
from benchmarks.gpu.many import FitMany, Many, change_error, orders_of, weights_of
from benchmarks.gpu.many import measure as measure_many
from benchmarks.gpu.records import Appender, read
from benchmarks.gpu.report import words
from benchmarks.gpu.rounds import run_cell
from benchmarks.gpu.tasks import cpu_tasks, gpu_tasks
from parmlp.engines import EngineStatus
from parmlp.study.measure.rivals.base import Result
from parmlp.study.measure.rivals.numpy import Numpy as NumpyRival

TINY = replace(CELLS[0], cell=replace(CELLS[0].cell, layers=(6, 9, 4), batch=32, n_rows=256))


class Numpy(NumpyRival):
    def product_error(self) -> float | None:
        return 1e-7


class Wrong(Numpy):
    """Trains, and reports weights that are a little off."""

    def result(self) -> Result:
        right = super().result()
        return Result(right.loss, [1.001 * W for W in right.coefs], right.intercepts)


class Imprecise(Numpy):
    """As a rival in TF32 that says it computes in float32, and happens to be near."""

    def product_error(self) -> float | None:
        return 3e-4


class NotANumber(Numpy):
    def product_error(self) -> float | None:
        return float("nan")


class Broken(Numpy):
    def setup(self, work: Any) -> None:
        raise RuntimeError("out of order")


class BreaksDown(Numpy):
    epochs = 0

    def run_epoch(self, order: Any) -> None:
        self.epochs += 1
        if self.epochs == 5:
            raise RuntimeError("worn out")
        super().run_epoch(order)


def test_only_who_agrees_with_float64_is_timed() -> None:
    competitors = {
        "parmlp": Numpy, "numpy": Numpy, "wrong": Wrong, "imprecise": Imprecise,
        "nan": NotANumber, "broken": Broken, "breaks down": BreaksDown,
    }  # fmt: skip
    record = run_cell(TINY, competitors, time.time() + 100, rounds=3)
    found = record["competitors"]
    assert len(found["parmlp"]["seconds"]) == len(found["numpy"]["seconds"]) == 3
    for name in ("wrong", "imprecise", "nan", "broken", "breaks down"):
        assert found[name]["seconds"] == []
    assert "wrong: too far off" in found["wrong"]["left_out"]
    assert "off by 0.0003: not float32" in found["imprecise"]["left_out"]
    assert "not float32" in found["nan"]["left_out"]
    assert found["broken"]["left_out"] == "RuntimeError: out of order"
    assert found["breaks down"]["left_out"] == "RuntimeError: worn out"
    assert "out of order" in words(record)


def test_what_there_is_no_time_for_is_named() -> None:
    record = run_cell(TINY, {"numpy": Numpy}, until=0.0)
    assert record["competitors"]["numpy"]["left_out"] == "no time left"


def test_cells_have_names_of_their_own() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_minibatches_are_whole(cell: Any) -> None:
    assert cell.cell.n_rows % cell.cell.batch == 0


def test_goals_come_first_and_every_rung_and_mode_comes() -> None:
    names = list(gpu_tasks())
    assert names[:2] == ["platform", "ceilings"]
    parts = [name.split()[0] for name in names[2 : 2 + len(CELLS) + 3]]
    assert parts == ["goal"] * len(CELLS) + ["mnist"] * 2 + ["many"]
    for part in ("compiled", "ladder"):
        assert {f"{part} {cell.name}" for cell in CELLS} <= set(names)


# ------------------------------------------------------------------------------------ the command


def test_without_a_gpu_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = EngineStatus("cuda", False, "There is none.", "Buy one.")
    monkeypatch.setattr(program, "status", lambda: status)
    assert program.main([str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: There is none. Buy one. This benchmark needs a GPU")
    assert not (tmp_path / "out").exists()


def test_a_second_run_goes_on_where_the_first_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(make: Any, names: list[str], until: float, keep: Any) -> list[str]:
        asked.append(names)
        keep("platform", {"task": "platform"})
        if len(asked) == 1:
            keep(names[1], {"task": "failed", "left_out": "crashed"})
            return names[2:]
        return []

    monkeypatch.setattr(program, "run_tasks", run)
    for _ in range(2):
        assert program.main([str(tmp_path), "--cpu"]) == 0
    first, second = asked
    assert first == list(cpu_tasks())
    # the machine is recorded again, and what failed comes last
    assert second == ["platform", *first[2:], first[1]]
    assert "Not measured" not in (tmp_path / "table.txt").read_text().split("\n")[0]
    assert first[1] in (tmp_path / "table.txt").read_text()


def test_a_half_written_line_costs_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.jsonl"
    assert read(file) == []
    Appender(file).write({"task": "a"})
    with file.open("a") as out:
        out.write('{"task": "b", "seco')
    assert read(file) == [{"task": "a"}]
    Appender(file).write({"task": "c"})
    assert read(file) == [{"task": "a"}, {"task": "c"}]
    Appender(file).write({"error": float("nan"), "of": [1.5, float("inf")]})
    assert read(file)[-1] == {"error": None, "of": [1.5, None]}
    file.write_text('{"task": "a"}\nnonsense\n{"task": "c"}\n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read(file)
    file.write_text("7\n")
    with pytest.raises(ValueError, match="line 1 is not a JSON object"):
        read(file)


# ------------------------------------------------------------------------------------------ MNIST


def test_recipes_are_those_that_the_search_chose() -> None:
    results = ROOT / "benchmarks/results/2026-11-25-zen4-2cores/mnist-recipes.jsonl"
    records = read(results)
    assert choose_mnist.chosen(records) == (mnist.FEWEST_STEPS, mnist.LEAST_ARITHMETIC)
    tried = [mnist.Recipe.from_dict(r["recipe"]) for r in records if "recipe" in r]
    assert sorted(map(repr, tried)) == sorted(map(repr, choose_mnist.candidates()))


def test_one_bad_seed_is_enough_to_drop_a_recipe() -> None:
    def tried(batch: int, accuracies: list[float]) -> dict[str, Any]:
        recipe = mnist.Recipe((9,), batch, 0.1, 2).to_dict()
        return {"recipe": recipe, "validation_accuracy": accuracies}

    records = [tried(512, [0.99] * 4 + [0.981]), tried(256, [0.99] * 2), tried(64, [0.983] * 5)]
    assert choose_mnist.chosen(records) == (mnist.Recipe((9,), 64, 0.1, 2),) * 2
    with pytest.raises(ValueError, match="no candidate"):
        choose_mnist.chosen(records[:2])


def test_rates_fall_linearly() -> None:
    recipe = mnist.Recipe((9,), 64, 0.4, 4)
    assert recipe.rates() == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert mnist.Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_training_by_a_recipe_repeats_and_learns() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(600, dtype=np.int32) % 10
    X = rng.random((600, 784), np.float32) * 0.3
    X[np.arange(600), 70 * labels] = 8.0
    images = mnist.Images(X, labels)
    record = mnist.measure(
        mnist.Recipe((32,), 20, 1e-2, 6), "serial", images.part(slice(400)),
        images.part(slice(400, None)), seeds=(3, 3, 4),
    )  # fmt: skip
    first, again, _ = record["test_accuracy"]
    assert first == again
    assert min(record["test_accuracy"]) > 0.9
    assert record["steps"] == 6 * 20
    assert "3 of 3 seeds" not in mnist.words({**record, "test_accuracy": [0.9, 0.99, 0.99]})
    assert "2 of 3 seeds" in mnist.words({**record, "test_accuracy": [0.9, 0.99, 0.99]})


# ---------------------------------------------------------------------------------- many networks

FEW = Many(networks=3, layers=(6, 9, 4), batch=16, rows=256)


def test_many_networks_by_fit_many() -> None:
    record = measure_many(FEW, {}, time.time() + 100, engine="threads", rounds=2)
    found = record["competitors"]["parmlp-fit_many"]
    assert found["check"]["passed"]
    assert len(found["seconds"]) == 2
    assert record["net_steps"] == 3 * 16
    assert json.loads(json.dumps(record)) == record


def test_a_wrong_fit_many_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FitMany, "check", lambda *_: (0.0, float("nan")))
    record = measure_many(FEW, {}, time.time() + 100, engine="serial", rounds=1)
    found = record["competitors"]["parmlp-fit_many"]
    assert found["seconds"] == []
    assert "wrong" in found["left_out"]


def test_networks_differ_in_weights_and_orders() -> None:
    orders = orders_of(FEW, 0)
    assert (np.sort(orders) == np.arange(FEW.rows)).all()
    assert not (orders[0] == orders[1]).all()
    (first, _), (second, _) = weights_of(FEW, 0), weights_of(FEW, 1)
    assert not (first[0] == second[0]).all()


def test_change_error_is_relative_to_the_change() -> None:
    start, expected, found = np.zeros(2), np.array([1.0, 0.0]), np.array([1.0, 0.1])
    one = Result(0.0, [found], []), Result(0.0, [expected], [])
    assert change_error(*one, [start], []) == pytest.approx(0.1)
