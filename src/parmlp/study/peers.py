"""Make the competitors' environments: one venv for each requirements file in ``rivals/``."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

RIVALS = Path(__file__).with_name("rivals")


def requirements() -> dict[str, Path]:
    """Environment name -> its pinned requirements file."""
    return {p.stem.removeprefix("requirements-"): p for p in RIVALS.glob("requirements-*.txt")}


def interpreters(folder: Path) -> dict[str, str]:
    """The interpreters of the environments that exist in `folder`."""
    found = {name: folder / name / "bin" / "python" for name in requirements()}
    return {name: str(path) for name, path in found.items() if path.exists()}


def install(folder: Path, only: list[str]) -> int:
    """Create or complete `folder`/NAME for each name; returns how many failed.

    The pins are those the figures were taken with, on Python 3.11; Theano 1.0.5 needs it.
    """
    known = requirements()
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise ValueError(
            f"no environment {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    failures = 0
    for name in only or sorted(known):
        target = folder / name
        if not (target / "bin" / "python").exists():
            venv.create(target, with_pip=True, symlinks=True)
        command = [str(target / "bin" / "python"), "-m", "pip", "install", "-r", str(known[name])]
        print(f"{name}: {known[name].name}", file=sys.stderr)
        failures += subprocess.run(command, check=False).returncode != 0
    return failures
