"""The README and the documentation: their examples run, and their links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def shell_lines(page: Path) -> list[str]:
    """The `parmlp` commands of a page's console blocks, continuation lines joined."""
    text = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    return [line[2:] for line in text.splitlines() if line.startswith("$ parmlp ")]


def test_the_example_of_the_readme_has_ten_lines() -> None:
    (example,) = blocks(README, "python")
    assert len([line for line in example.splitlines() if line]) == 10


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=str)
def test_python_examples_run(page: Path, tmp_path: Path) -> None:
    """All examples of a page run in one process, each with names of its own."""
    script = tmp_path / "examples.py"
    script.write_text(
        "import warnings\nwarnings.simplefilter('ignore')\n"
        + "\n".join(f"exec({block!r}, {{}})" for block in blocks(page, "python")),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "py")], ids=str)
def test_examples_for_a_gpu_are_python(page: Path) -> None:
    """Blocks marked ``py`` need a GPU, so that they are not run here."""
    for block in blocks(page, "py"):
        compile(block, page.name, "exec")


def test_shell_examples_of_the_readme_run(parmlp: Any, houses: Path) -> None:
    assert houses == Path("houses.csv").resolve()
    Path("new_houses.csv").write_text("area,age\n100,10\n", encoding="utf-8")
    lines = shell_lines(README)
    assert len(lines) >= 5
    for line in lines:
        outcome = parmlp(*shlex.split(line)[1:])
        assert outcome.code == 0, (line, outcome.err)


@pytest.mark.parametrize("page", [page for page in PAGES if shell_lines(page)], ids=str)
def test_shell_examples_have_options_that_exist(page: Path, parmlp: Any) -> None:
    """Run against files that are not there: any other complaint is about the example itself."""
    for line in shell_lines(page):
        words = shlex.split(line)[1:]
        known = set(re.findall(r"--[a-z-]+", parmlp(*command_of(words), "--help").out))
        assert {word for word in words if word.startswith("--")} <= known, line


def command_of(words: list[str]) -> list[str]:
    depth = {"data": 2, "study": 3 if words[1:2] == ["peers"] else 2}
    return words[: depth.get(words[0], 1)]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8"))
    for target in targets:
        if not target.startswith("https://"):
            assert (page.parent / target).is_file(), target


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "index.md").read_text("utf-8")
    for decision in folder.glob("0*.md"):
        assert f"({decision.name})" in index


def test_ci_finds_both_commands_of_the_readme() -> None:
    commands = blocks(README, "sh")
    assert commands[0].strip() == 'pip install ".[study]" && parmlp demo'
    assert commands[1].strip() == 'pip install ".[test]" && pytest'
    assert os.access(ROOT / ".ci" / "run", os.R_OK)
