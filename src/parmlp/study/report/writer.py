"""A run's folder becomes a report: one page, its figures and their data."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from parmlp.study import predictions
from parmlp.study.analysis import (
    Finding,
    Predictions,
    StudyRun,
    findings,
    roofline,
)
from parmlp.study.analysis.implementations import implementation
from parmlp.study.errors import StudyError
from parmlp.study.experiments import NAMES
from parmlp.study.records import PREDICTIONS, Results, read_results
from parmlp.study.report.content import PARTS, question
from parmlp.study.report.drawing import Drawn, Gap, draw
from parmlp.study.report.palette import COLOURS
from parmlp.study.report.values import Table, Value, csv_text, shown, sort_key

FOLDER, PAGE = "report", "index.html"

#: A cell above this share of its roof shows that the ceiling was measured too low.
ABOVE = 1.05


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes
    ----------
    page : Path
    figures, gaps : int
        Figures drawn, and figures for which there were no data.
    timed, not_timed : int
        Cells of the run.
    notices : tuple of str
        What is to be known of the run: unfinished, half-written, without predictions.
    """

    page: Path
    figures: int
    gaps: int
    timed: int
    not_timed: int
    notices: tuple[str, ...]


def write_report(folder: Path) -> Report:
    """Write ``report/`` in a run's folder: index.html, figures/ and data/.

    Parameters
    ----------
    folder : Path
        As `parmlp study run` leaves it, finished or not.

    Raises
    ------
    StudyError
        If the results cannot be read or the report cannot be written.
    """
    results = read_results(folder)
    notices = _notices_of(results)
    said = None
    if (folder / PREDICTIONS).exists():
        said = Predictions.of(predictions.read(folder))
    else:
        notices.append("No predictions were kept with this run, so nothing is compared with them.")
    run = StudyRun.of(results, said)
    notices += _doubts(run)
    if not run.measured:
        notices.append(
            "No cell of this run was timed, so there are no times to show; the table of what was "
            "not measured says why."
        )
    out = folder / FOLDER
    try:
        return _write(out, run, results, notices)
    except OSError as error:
        raise StudyError(
            f"cannot write {error.filename or out}: {error.strerror or error}; free some space or "
            "copy the run's folder to another place"
        ) from error


def _write(out: Path, run: StudyRun, results: Results, notices: list[str]) -> Report:
    figures, data = out / "figures", out / "data"
    for place in (figures, data):
        place.mkdir(parents=True, exist_ok=True)
        for old in place.iterdir():
            if old.suffix in (".svg", ".png", ".csv"):
                old.unlink()
    parts = []
    drawn: set[str] = set()
    gaps = 0
    for part in PARTS:
        shapes: list[Drawn | Gap] = []
        for build in part.figures:
            found = build(run)
            if isinstance(found, Gap):
                gaps += 1
                shapes.append(found)
                continue
            shapes.append(draw(found, figures))
            drawn.add(found.id)
            _write_csv(data, found.data)
        listed = [(item, item.build(run)) for item in part.tables]
        for _, table in listed:
            _write_csv(data, table)
        parts.append(
            {
                "id": part.id,
                "title": part.title,
                "experiment": question(part.experiment),
                "figures": shapes,
                "tables": listed,
            }
        )
    found_of_run = findings(run)
    timed, not_timed = len(run.measured), len(run.gaps)
    page = out / PAGE
    page.write_text(
        _render(
            date=run.run.started[:10],
            headline=_headline(found_of_run),
            facts=_facts(run, results),
            notices=notices,
            findings=found_of_run,
            drawn=drawn,
            parts=parts,
            command=_command(run),
        ),
        encoding="utf-8",
    )
    return Report(page, len(drawn), gaps, timed, not_timed, tuple(notices))


def _render(**content: Any) -> str:
    folder = files(__package__) / "page"
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((folder / "page.html.jinja").read_text("utf-8"))
    return template.render(
        css=(folder / "page.css").read_text("utf-8"),
        javascript=(folder / "page.js").read_text("utf-8"),
        colours=COLOURS,
        shown=shown,
        sort_text=_sort_text,
        csv_base64=_csv_base64,
        verdict_class=_verdict_class,
        **content,
    ).lstrip()


def _sort_text(value: Value) -> str:
    key = sort_key(value)
    return "" if key is None else str(key)


def _csv_base64(table: Table) -> str:
    return base64.b64encode(csv_text(table).encode()).decode("ascii")


def _write_csv(folder: Path, table: Table) -> None:
    (folder / f"{table.id}.csv").write_text(csv_text(table), encoding="utf-8")


def _verdict_class(verdict: str) -> str:
    if verdict in ("reproduced", "holds"):
        return "for"
    return "open" if verdict == "not measurable here" else "against"


def _notices_of(results: Results) -> list[str]:
    notices = []
    if results.half_line:
        notices.append(
            "The last line of the results was half-written, as a kill leaves it, and was ignored."
        )
    if results.end is None:
        notices.append(
            "This run has not ended: it goes on, or was killed. `parmlp study run --resume` "
            "measures what is missing."
        )
    elif not results.end.complete:
        notices.append(
            "This run was stopped before all was measured. `parmlp study run --resume` measures "
            "what is missing."
        )
    return notices


def _doubts(run: StudyRun) -> list[str]:
    """Reasons to trust the numbers less."""
    doubts = []
    busy = sum(not m.quiet for m in run.measured)
    if busy:
        doubts.append(
            f"Other programs used the CPU while {busy} of {len(run.measured)} cells were timed. "
            "Their intervals are wide and their medians may be wrong; repeat the run on a quiet "
            "machine."
        )
    above = sum(p.share > ABOVE for p in roofline(run.measured, run.ceiling, run.cache))
    if above:
        doubts.append(
            f"{above} cells are faster than the machine's measured ceilings allow, so the ceilings "
            "are too low: something else used the CPU when they were measured. Shares of the peak "
            "and what follows from them (roofline, bounds, predictions) are not to be relied on."
        )
    return doubts


def _headline(found: Iterable[Finding]) -> str:
    counts: dict[str, int] = {}
    for f in found:
        if f.source == "paper":
            counts[f.verdict] = counts.get(f.verdict, 0) + 1
    text = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    return (
        "The experiments of “Parallel Backpropagation for Multilayer Neural Networks”, run on one "
        f"machine. Of {sum(counts.values())} findings of the authors' report: {text}."
    )


def _facts(run: StudyRun, results: Results) -> list[tuple[str, str]]:
    platform = run.run.platform
    names = [implementation(n).label for n in run.measured.names]
    facts = [
        ("Processor", str(platform.get("cpu", "not known"))),
        ("Cores", str(platform.get("cores", "not known"))),
        ("Started", _time(run.run.started)),
        ("Finished", _time(results.end.finished) if results.end else "not yet"),
        ("Preset", run.run.preset),
        ("Cells timed", f"{len(run.measured):,}"),
        ("Cells not measured", f"{len(run.gaps):,}"),
        ("Implementations timed", ", ".join(names) or "none"),
    ]
    if run.ceiling is not None:
        found = sorted((int(t), peak) for t, peak in run.ceiling.peak_flops.items())
        peaks = ", ".join(
            f"{peak / 1e9:.0f} on {t} thread{'s' * (t > 1)}"
            for t, peak in (found[:1] + found[-1:] if len(found) > 1 else found)
        )
        facts.insert(2, ("FMA peak, GFLOP/s", peaks))
    return facts


def _time(iso: str) -> str:
    """A record's time to the minute."""
    return iso[:16].replace("T", " ") + (" UTC" if iso.endswith("+00:00") else iso[19:])


def _command(run: StudyRun) -> str:
    chosen = ""
    if run.run.experiments and set(run.run.experiments) != set(NAMES):
        chosen = "".join(f" --experiments {name}" for name in run.run.experiments)
    return (
        "parmlp study peers install\n"
        f"parmlp study run --preset {run.run.preset}{chosen}\n"
        "parmlp study report"
    )
