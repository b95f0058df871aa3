"""Tasks run in a process of their own, which may crash or hang: the next one goes on after it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.gpu.records import Record

#: Seconds after which a task is taken to hang.
TASK_SECONDS = 150.0

_POLL = 0.5


def _work(connection: Connection, make_tasks: Callable[[], Any], names: Any, until: float) -> None:
    tasks = make_tasks()
    for name in names:
        if time.time() > until:
            break
        connection.send(("begins", name))
        try:
            record = tasks[name](until)
        except Exception as error:
            record = {"task": "failed", "left_out": f"{type(error).__name__}: {error}"}
        connection.send(("ends", record))
        if not healthy():
            break  # whatever comes next would fail as well: a new process has a new context
    connection.close()


def healthy() -> bool:
    """Whether the GPU, where this process has used it, still answers."""
    from parmlp.engines.cuda import team

    if not team._find_device.cache_info().currsize:
        return True
    try:
        device = team.find_device()
        device.make_current()
        device.stream.synchronize()
    except Exception:
        return False
    return True


def run_tasks(
    make_tasks: Callable[[], Any],
    names: Sequence[str],
    until: float,
    keep: Callable[[str, Record], None],
    task_seconds: float = TASK_SECONDS,
) -> list[str]:
    """Run tasks by name, one after another; return those for which no time was left.

    Parameters
    ----------
    make_tasks : function
        Found by name in the worker: it returns the tasks by name, functions of ``until``.
    names : sequence of str
    until : float
        As ``time.time()``: no task begins later, and one that still runs 30 s later is ended.
    keep : function of a task's name and its record
        Called as soon as the task has ended, crashed or been ended.
    task_seconds : float
        A task that runs longer is ended.
    """
    left = list(names)
    context = multiprocessing.get_context("spawn")
    while left and time.time() < until:
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(sending, make_tasks, left, until))
        process.start()
        sending.close()
        before = len(left)
        try:
            _follow(receiving, process, left, until=until, keep=keep, task_seconds=task_seconds)
        finally:
            if process.is_alive():
                process.kill()
            process.join()
            receiving.close()
        if len(left) == before and time.time() < until:
            # it died before its first task: so would the next one
            keep(
                left.pop(0),
                {"task": "failed", "left_out": f"the process ended with {process.exitcode}"},
            )
    return left


def _follow(
    receiving: Connection,
    process: Any,
    left: list[str],
    *,
    until: float,
    keep: Callable[[str, Record], None],
    task_seconds: float,
) -> None:
    """Take the worker's messages until it ends or has to be ended."""
    running: str | None = None
    begun = time.monotonic()
    while True:
        try:
            message: str | None = None
            value: Any = None
            if receiving.poll(_POLL):
                message, value = receiving.recv()
        except EOFError:
            process.join()
            if running is not None:
                keep(
                    running,
                    {"task": "failed", "left_out": f"crashed, exit code {process.exitcode}"},
                )
                left.remove(running)
            return
        if message == "begins":
            running, begun = value, time.monotonic()
        elif message == "ends":
            assert running is not None
            keep(running, value)
            left.remove(running)
            running, begun = None, time.monotonic()
        took = time.monotonic() - begun
        if took > task_seconds or time.time() > until + 30:
            if running is not None:
                keep(running, {"task": "failed", "left_out": f"ended after {took:.0f} s"})
                left.remove(running)
            return
