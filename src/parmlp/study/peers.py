"""The rivals' environments: a venv for each, with pinned versions from PyPI."""

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from parmlp.datasets import cache_dir
from parmlp.study.implementations import IMPLEMENTATIONS
from parmlp.study.measure import rivals

_REQUIREMENTS = Path(rivals.__file__).parent

#: The Python that an environment's pins need, where it is not any.
_PYTHON = {"theano": (3, 11)}


@dataclass(frozen=True)
class Peer:
    """An environment.

    Attributes
    ----------
    name : str
    pins : tuple of str
        Its requirements.
    implementations : tuple of str
        The rows of the tables that need it.
    python : str or None
        Its interpreter, if it is installed.
    """

    name: str
    pins: tuple[str, ...]
    implementations: tuple[str, ...]
    python: str | None


def default_folder() -> Path:
    """Where environments are kept: ``$PARMLP_PEERS``, or ``peers`` in parmlp's cache."""
    named = os.environ.get("PARMLP_PEERS")
    return Path(named) if named else cache_dir() / "peers"


def requirements() -> dict[str, Path]:
    """Environment name -> its pinned requirements file."""
    found = sorted(_REQUIREMENTS.glob("requirements-*.txt"))
    return {p.stem.removeprefix("requirements-"): p for p in found}


def interpreters(folder: Path) -> dict[str, str]:
    """The interpreters of the environments that exist in `folder`."""
    found = {name: folder / name / "bin" / "python" for name in requirements()}
    return {name: str(path) for name, path in found.items() if path.exists()}


def peers(folder: Path) -> list[Peer]:
    """All environments, installed or not."""
    installed = interpreters(folder)
    return [
        Peer(
            name,
            tuple(
                line for line in file.read_text().splitlines() if line and not line.startswith("#")
            ),
            tuple(i.name for i in IMPLEMENTATIONS.values() if i.venv == name),
            installed.get(name),
        )
        for name, file in requirements().items()
    ]


def install(folder: Path, only: list[str]) -> int:
    """Create or complete ``folder/NAME`` for each name; returns how many failed.

    The default is all that need no GPU: the others are gigabytes, to be asked for by name. The pins
    are those the published figures were taken with, on Python 3.11.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    known = requirements()
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise ValueError(f"no environment {', '.join(unknown)}; there are {', '.join(known)}")
    names = only or [name for name in known if not name.endswith("_gpu")]
    return sum(not _install_one(folder / name, name, known[name]) for name in names)


def _install_one(target: Path, name: str, file: Path) -> bool:
    print(f"{name}: {file.name}", file=sys.stderr)
    python = target / "bin" / "python"
    if not python.exists() and not _make_environment(target, name):
        return False
    command = [str(python), "-m", "pip", "install", "-r", str(file)]
    return subprocess.run(command, check=False).returncode == 0


def _make_environment(target: Path, name: str) -> bool:
    wanted = _PYTHON.get(name)
    if wanted is None or wanted == sys.version_info[:2]:
        venv.create(target, with_pip=True, symlinks=True)
        return True
    command = f"python{wanted[0]}.{wanted[1]}"
    if shutil.which(command) is None:
        print(
            f"{name} needs {command}, which is not on the PATH; install it and run this again",
            file=sys.stderr,
        )
        return False
    return subprocess.run([command, "-m", "venv", str(target)], check=False).returncode == 0
