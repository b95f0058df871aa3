"""Templates become pages: figures and tables are numbered, references resolved."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import jinja2

from benchmarks.paper import tables, words
from benchmarks.paper.evidence import AUTHORS_NETS, Evidence, PaperError
from parmlp.study.analysis import StudyRun
from parmlp.study.analysis.implementations import implementation
from parmlp.study.analysis.scaling import strong_series, weak_series
from parmlp.study.experiments import NAMES
from parmlp.study.report import tables as report_tables
from parmlp.study.report.content import PARTS
from parmlp.study.report.drawing import Drawing, Gap
from parmlp.study.report.figures.scaling import fit_table
from parmlp.study.settings import SETTINGS

#: The sections, in order: file name without its end, and title.
SECTIONS = (
    ("index", "Parallel backpropagation for multilayer perceptrons, measured again"),
    ("problem", "1. The problem"),
    ("networks", "2. Neural networks in detail"),
    ("backpropagation", "3. Serial and parallel backpropagation"),
    ("platform", "4. Platform and method"),
    ("gpu", "5. The GPU"),
    ("experiments", "6. Experiments"),
    ("implementations", "7. Results: implementations"),
    ("scaling", "8. Results: threads, networks and rows"),
    ("training", "9. Results: batches, accuracy and a step's time"),
    ("analysis", "10. Analysis"),
    ("future", "11. Future work and references"),
)

_BUILDERS: dict[str, Callable[[StudyRun], Drawing | Gap]] = {
    build.__name__: build for part in PARTS for build in part.figures
}

_REFERENCE = re.compile(r"⟦(figure|table):([a-z0-9_-]+)⟧")


@dataclass
class Numbering:
    """Numbers of figures or tables, and the page on which each stands."""

    kind: str
    found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, id: str, page: str) -> int:
        if id in self.found:
            raise PaperError(f"{self.kind} {id!r} stands twice in the paper")
        self.found[id] = (len(self.found) + 1, page)
        return len(self.found)


@dataclass
class Pages:
    """The rendered paper: texts by file name, and the figures that stand in it."""

    texts: dict[str, str]
    drawings: dict[str, Drawing]


def render(evidence: Evidence, source: str) -> Pages:
    """Render all sections.

    Parameters
    ----------
    source : str
        The run's folder as readers find it, relative to the repository.

    Raises
    ------
    PaperError
        If the text asks for a number that the run does not have.
    """
    numbering = {kind: Numbering(kind) for kind in ("figure", "table")}
    drawings: dict[str, Drawing] = {}
    page = ""

    def figure(name: str) -> str:
        built = _BUILDERS[name](evidence.run)
        if isinstance(built, Gap):
            return f"*{built.title}: not drawn, as {built.reason}.*"
        number = numbering["figure"].add(built.id, page)
        drawings[built.id] = built
        return (
            f'<a id="{built.id}"></a>\n\n'
            f"![{built.title}](figures/{built.id}.svg)\n\n"
            f"**Figure {number}.** {built.title}. {built.caption} "
            f"([data](figures/{built.id}.csv))"
        )

    def table(id: str, title: str, text: str) -> str:
        number = numbering["table"].add(id, page)
        return f'<a id="table-{id}"></a>\n\n**Table {number}.** {title}\n\n{text}'

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_whole,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        number=words.number,
        count=words.count,
        percent=words.percent,
        interval=words.interval,
        listed=words.listed,
        span=words.span,
        span_where=words.span_where,
        course=words.course,
        standing=words.standing,
        label=lambda name: implementation(name).label,
        plural=words.plural,
    )
    run_settings = SETTINGS.get(evidence.run.run.preset)
    environment.globals.update(
        e=evidence,
        run=evidence.run,
        source=source,
        tables=tables,
        report_tables=report_tables,
        fit_table=fit_table,
        strong_series=strong_series,
        weak_series=weak_series,
        figure=figure,
        table=table,
        ref=lambda id: f"⟦figure:{id}⟧",
        table_ref=lambda id: f"⟦table:{id}⟧",
        figures_drawn=lambda: drawings,
        batch_of_record=lambda record: record.cell.batch,
        rows_of_record=lambda record: record.cell.rows,
        threads_of=lambda record: record.cell.threads,
        net_of_record=lambda record: record.cell.net,
        data_of_record=lambda record: record.cell.data,
        implementation_label=lambda record: implementation(record.cell.implementation).label,
        has_figure=lambda name: isinstance(_BUILDERS[name](evidence.run), Drawing),
        section=_section,
        fail=_fail,
        AUTHORS_NETS=AUTHORS_NETS,
        EXPERIMENTS=NAMES,
        SECTIONS=SECTIONS,
        every_mode=run_settings is not None and run_settings.every_mode,
        minibatches=run_settings.minibatches if run_settings is not None else None,
    )
    texts: dict[str, str] = {}
    for name, title in SECTIONS:
        page = name
        try:
            body = environment.get_template(f"{name}.md").render(title=title)
        except (PaperError, jinja2.UndefinedError) as error:
            raise PaperError(f"section {name!r}: {error}") from error
        texts[f"{name}.md"] = f"# {title}\n\n{body.strip()}\n\n{_links(name)}\n"
    resolved = {name: _resolve(text, name, numbering) for name, text in texts.items()}
    return Pages({name: _tidy(text) for name, text in resolved.items()}, drawings)


def _template(name: str) -> str | None:
    file = files(__package__) / "text" / name
    return file.read_text("utf-8") if file.is_file() else None


def _whole(value: Any) -> Any:
    """What an expression may print: no gap, no number that nobody has formatted.

    An empty text is what a conditional of the template may say; numbers are never text here.
    """
    if value is None or isinstance(value, jinja2.Undefined):
        raise PaperError("an expression of the text has no value in these results")
    if isinstance(value, float):
        what = "is not finite" if not math.isfinite(value) else "was printed without a format"
        raise PaperError(f"the number {value!r} {what}")
    return value


def _resolve(text: str, page: str, numbering: dict[str, Numbering]) -> str:
    def link(match: re.Match[str]) -> str:
        kind, id = match.groups()
        if id not in numbering[kind].found:
            raise PaperError(f"page {page} refers to {kind} {id!r}, which is not in the paper")
        number, where = numbering[kind].found[id]
        anchor = id if kind == "figure" else f"table-{id}"
        place = f"#{anchor}" if where == page.removesuffix(".md") else f"{where}.md#{anchor}"
        return f"[{kind} {number}]({place})"

    return _REFERENCE.sub(link, text)


def _fail(why: str) -> str:
    """What a template says where its words would be untrue."""
    raise PaperError(why)


def _section(name: str) -> str:
    """A link to a section by its number."""
    for found, title in SECTIONS:
        if found == name.partition("#")[0]:
            file, mark, anchor = name.partition("#")
            return f"[section {title.partition('.')[0]}]({file}.md{mark}{anchor})"
    raise PaperError(f"there is no section {name!r}")


def _links(name: str) -> str:
    names = [n for n, _ in SECTIONS]
    i = names.index(name)
    found = [f"[← {SECTIONS[i - 1][1]}]({names[i - 1]}.md)"] if i else []
    found += [f"[{SECTIONS[i + 1][1]} →]({names[i + 1]}.md)"] if i + 1 < len(names) else []
    return " · ".join(found)


def _tidy(text: str) -> str:
    """No line ends in blanks, and no two empty lines follow each other."""
    lines = [line.rstrip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"
