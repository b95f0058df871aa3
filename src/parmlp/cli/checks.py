"""Checks of option values, made before any work is done for them."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import typer

# The engines' own limit, far beyond any machine's cores.
MAX_THREADS = 4096


def positive(value: float | None) -> float | None:
    """Let None and finite numbers above 0 through."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value} is not a finite number above 0")
    return value


def not_negative(value: float | None) -> float | None:
    """Let None and finite numbers from 0 through."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value} is not a finite number from 0")
    return value


def fraction(value: float | None) -> float | None:
    """Let None and numbers between 0 and 1, both excluded, through."""
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"{value} is not between 0 and 1")
    return value


def below_one(value: float | None) -> float | None:
    """Let None and numbers from 0 up to but without 1 through."""
    if value is not None and not 0 <= value < 1:
        raise typer.BadParameter(f"{value} is not in [0, 1)")
    return value


def count(value: int) -> int:
    """Let integers from 1 through."""
    if value < 1:
        raise typer.BadParameter(f"{value} is not 1 or more")
    return value


def counts(values: list[int] | None) -> list[int] | None:
    """Let None and lists of integers from 1 through."""
    for value in values or []:
        count(value)
    return values


def seed_value(value: int) -> int:
    """Let what seeds NumPy's generator through."""
    if not 0 <= value < 2**32:
        raise typer.BadParameter(f"{value} is not in 0 to {2**32 - 1}")
    return value


def thread_count(value: int | None) -> int | None:
    """Let None, -1 (all usable cores) and counts from 1 to `MAX_THREADS` through."""
    if value is not None and (value == 0 or value < -1):
        raise typer.BadParameter(f"{value} threads cannot train; use 1 or more, or -1 for all")
    if value is not None and value > MAX_THREADS:
        raise typer.BadParameter(f"{value} threads are too many; use at most {MAX_THREADS}")
    return value


def refuse_without_effect(option: str, useless: bool, needs: str) -> None:
    """Refuse an option that was given but changes nothing, rather than ignore it."""
    if useless:
        raise typer.BadParameter(
            f"it has no effect without {needs}; add that or leave it out", param_hint=option
        )


def check_output_path(path: Path, option: str, inputs: Sequence[Path] = ()) -> None:
    """Refuse a path that cannot be written, before any work is done for it.

    Raises
    ------
    typer.BadParameter
        If the directory is missing or not writable, or if `path` is one of `inputs` or
        something else than a regular file.
    """
    directory = path.parent
    if path.exists() and not path.is_file():
        # A rename onto a device or a directory would replace it, or fail after the work is done.
        raise typer.BadParameter(f"{path} is not a regular file; name one", param_hint=option)
    if not directory.is_dir():
        raise typer.BadParameter(f"no directory {directory}; create it first", param_hint=option)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise typer.BadParameter(
            f"directory {directory} is not writable; choose another", param_hint=option
        )
    for source in inputs:
        if path.exists() and source.exists() and path.samefile(source):
            raise typer.BadParameter(
                f"{path} is an input of this command; choose another", param_hint=option
            )
