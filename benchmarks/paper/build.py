"""Write the paper's pages and figures, and tell which run they are from."""

import re
from pathlib import Path

from benchmarks.paper.evidence import Evidence, PaperError
from benchmarks.paper.pages import Pages, render
from parmlp.study.report.drawing import svg_file
from parmlp.study.report.values import csv_text

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "docs/paper"
FIGURES = "figures"

_SOURCE = re.compile(r"^Raw results: `([^`]+)`", re.MULTILINE)


def source_of(folder: Path) -> str:
    """`folder` relative to the repository, as the paper names it.

    Raises
    ------
    PaperError
        If it lies elsewhere.
    """
    try:
        return folder.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        raise PaperError(
            f"{folder} is not in this repository; copy the run's results.jsonl and "
            "predictions.json to benchmarks/results/<date>-<machine>/, so that readers have them"
        ) from None


def run_of(paper: Path) -> Path:
    """The folder of the run that a written paper names.

    Raises
    ------
    PaperError
        If there is no paper, or it names none.
    """
    index = paper / "index.md"
    if not index.is_file():
        raise PaperError(f"{index} is not there; name the folder of a run")
    found = _SOURCE.search(index.read_text("utf-8"))
    if found is None:
        raise PaperError(f"{index} names no run; name the folder of one")
    return ROOT / found[1]


def compose(folder: Path) -> Pages:
    """The paper of a run, not written anywhere."""
    return render(Evidence(folder), source_of(folder))


def build(folder: Path, out: Path = PAPER) -> list[Path]:
    """Write the paper of a run into `out`; old figures go. Returns the files.

    Nothing is touched unless the whole paper can be written.

    Raises
    ------
    PaperError
        If a number that the text asks for is not in the results.
    StudyError
        If the results cannot be read.
    """
    pages = compose(folder)
    files: dict[Path, str] = {out / name: text for name, text in pages.texts.items()}
    for id, drawing in pages.drawings.items():
        files[out / FIGURES / f"{id}.svg"] = svg_file(drawing)
        files[out / FIGURES / f"{id}.csv"] = csv_text(drawing.data)
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.md"), *(out / FIGURES).iterdir()):
        if old not in files and old.suffix in (".md", ".svg", ".csv"):
            old.unlink()
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)
