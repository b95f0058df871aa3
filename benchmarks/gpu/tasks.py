"""What a run measures, in the order of its importance: each task gives one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from benchmarks.cpu.rounds import ROOT
from benchmarks.gpu import ceilings, competitors, many, mnist
from benchmarks.gpu.cells import CELLS, GpuCell
from benchmarks.gpu.records import Record
from benchmarks.gpu.rounds import run_cell
from parmlp.errors import DataError
from parmlp.study.measure import machine

#: Takes the time (as time.time()) after which nothing new is begun.
Task = Callable[[float], Record]

#: Cells whose ladder is timed before PyTorch compiles: the rungs' own ground.
_LADDER_FIRST = 3


def gpu_tasks() -> dict[str, Task]:
    """All tasks of a machine with a GPU, the most important first."""
    tasks: dict[str, Task] = {"platform": platform, "ceilings": measured_ceilings}
    goal = {**competitors.OURS, **competitors.QUICK_RIVALS}
    compiled = {**competitors.OURS, **competitors.COMPILED_RIVALS}
    ladder = {**competitors.OURS, **competitors.LADDER}
    tasks |= {f"goal {cell.name}": _cell(cell, goal, "goal") for cell in CELLS}
    for recipe in (mnist.FEWEST_STEPS, mnist.LEAST_ARITHMETIC):
        tasks[f"mnist {recipe.name}"] = _mnist(recipe, "cuda")
    spec = many.Many()
    tasks["many"] = lambda until: many.measure(spec, many.rivals_of(spec), until)
    ladders = {f"ladder {cell.name}": _cell(cell, ladder, "ladder") for cell in CELLS}
    first = list(ladders)[:_LADDER_FIRST]
    tasks |= {name: ladders[name] for name in first}
    tasks |= {f"compiled {cell.name}": _cell(cell, compiled, "compiled") for cell in CELLS}
    return tasks | ladders


def cpu_tasks() -> dict[str, Task]:
    """Small ones that a CPU can do: to try out the programs, and no result."""
    tasks: dict[str, Task] = {"platform": lambda until: {"task": "platform", **_machine()}}
    for cell, layers in ((CELLS[0], (20, 36, 12)), (CELLS[2], (30, 20, 12))):
        small = GpuCell(replace(cell.cell, layers=layers, n_rows=2048), None, None)
        tasks[f"goal {small.name}"] = _cell(small, competitors.ON_CPU, "goal")
    few = many.Many(networks=4, layers=(20, 36, 12), batch=64, rows=4096)
    tasks["many"] = lambda until: many.measure(
        few, many.rivals_of(few, "cpu"), until, engine="threads", rounds=3
    )
    return tasks


def _cell(cell: GpuCell, who: Mapping[str, Any], part: str) -> Task:
    return lambda until: run_cell(cell, who, until, part=part)


def _mnist(recipe: mnist.Recipe, engine: str) -> Task:
    def task(until: float) -> Record:
        del until
        try:
            train, test = mnist.load_images("train"), mnist.load_images("test")
        except DataError as error:
            return {"task": "mnist", "name": recipe.name, "left_out": str(error)}
        return mnist.measure(recipe, engine, train, test)

    return task


def _machine() -> Record:
    return {"platform": machine.record(ROOT)}


def platform(until: float) -> Record:
    """The machine and its GPU."""
    from parmlp.engines.cuda.compiler import Nvrtc
    from parmlp.engines.cuda.team import find_device

    del until
    device = find_device()
    gpu = {
        "name": device.name,
        "capability": device.capability,
        "multiprocessors": device.multiprocessors,
        "shared_bytes": device.shared_bytes,
        "memory_bytes": device.total_bytes,
        "nvrtc": Nvrtc().version,
    }
    return {"task": "platform", **_machine(), "gpu": gpu}


def measured_ceilings(until: float) -> Record:
    """What the GPU reaches, and what cuBLAS takes for each cell's products."""
    from parmlp.engines.cuda.team import find_device

    del until
    device = find_device()
    record: Record = {"task": "ceilings", "multiprocessors": device.multiprocessors}
    record |= ceilings.synchronization(device)
    try:
        record |= ceilings.arithmetic_and_bandwidth()
        record["products_seconds"] = {
            cell.name: ceilings.products_seconds(
                cell.cell.layers, cell.cell.batch, cell.cell.configuration.precision
            )
            for cell in CELLS
        }
    except Exception as error:  # without CUDA it raises errors of several kinds
        record["left_out"] = f"PyTorch measures arithmetic and bandwidth: {error}"
    return record
