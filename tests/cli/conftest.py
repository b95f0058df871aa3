"""Running the command line within the test's process, as `parmlp ...` would."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parmlp.cli import run


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Stdout as exactly one JSON object."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


Command = Callable[..., Outcome]


@pytest.fixture
def parmlp(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """A function that runs one command line, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARMLP_DEBUG", raising=False)

    def command(*arguments: str | os.PathLike[str]) -> Outcome:
        capsys.readouterr()
        code = run([os.fspath(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return command


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """A CSV file with a column of strings, two of numbers, and a class that they determine."""
    rng = np.random.default_rng(0)
    rows = ["color,height,width,species"]
    for _ in range(240):
        color = rng.choice(["red", "white", "yellow"])
        height, width = rng.uniform(1, 9, 2)
        species = "rose" if color == "red" else ("lily" if height > 5 else "daisy")
        rows.append(f"{color},{height:.3f},{width:.3f},{species}")
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    """A CSV file with a price to predict, linear in two numbers."""
    rng = np.random.default_rng(1)
    area, age = rng.uniform(50, 200, 300), rng.uniform(0, 80, 300)
    lines = [f"{a:.2f},{b:.2f},{3 * a - b + 100:.2f}" for a, b in zip(area, age, strict=True)]
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(["area,age,price", *lines]) + "\n", encoding="utf-8")
    return path
