"""The paper of simulated runs: every number from the records, every gap with its reason."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper import tables
from benchmarks.paper.build import source_of
from benchmarks.paper.evidence import AUTHORS_NETS, Evidence, PaperError
from benchmarks.paper.pages import SECTIONS, Pages, render
from paper.simulated_run import Change, Keep, write_run
from parmlp.study.cells import PlannedCell
from parmlp.study.experiments import NAMES
from parmlp.study.records import RESULTS, CellRecord, Status
from parmlp.study.report.values import number

TEXT = Path(tables.__file__).parent / "text"


def thin(planned: PlannedCell) -> bool:
    """Some cells of every experiment, for tests that need no more."""
    c = planned.cell
    if planned.experiment == "implementations":
        few = ("naive_serial", "naive_pthreads", "parmlp_threads", "theano", "theano_gpu")
        return c.batch in (128, 4096) and c.implementation in few
    few = ("naive_pthreads", "blas_parallel", "parmlp_threads", "parmlp_serial", "theano")
    two = (128, 4096) if planned.experiment == "examples_or_matrices" else (10, 128)
    return c.batch in two and c.seed == 0 and c.implementation in few and 2048 not in c.layers


def paper(folder: Path, change: Change = lambda r: r, keep: Keep = thin) -> Pages:
    write_run(folder, keep=keep, change=change)
    return render(Evidence(folder), "benchmarks/results/a/run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[CellRecord], Pages]:
    """The whole preset `paper`, on two cores."""
    folder = tmp_path_factory.mktemp("paper")
    records = write_run(folder)
    return records, render(Evidence(folder), "benchmarks/results/a/run")


def test_the_whole_preset_leaves_nothing_unsaid(whole: tuple[list[CellRecord], Pages]) -> None:
    _, pages = whole
    assert list(pages.texts) == [f"{name}.md" for name, _ in SECTIONS]
    text = "".join(pages.texts.values())
    assert "Not measured in this run" not in text
    assert "was not timed in this run" not in text
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", text)
    assert "⟦" not in text
    assert "{{" not in text
    numbers = [int(n) for n in re.findall(r"^\*\*Table (\d+)\.\*\*", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("net", AUTHORS_NETS)
def test_the_authors_table_has_the_medians_of_the_records(
    whole: tuple[list[CellRecord], Pages], net: str
) -> None:
    records, pages = whole
    page = pages.texts["implementations.md"]
    table = page.partition(f'<a id="table-times-{net}"></a>')[2].partition("<small>\\*")[0]
    rows = {line.split(" | ")[0]: line for line in table.splitlines() if line.startswith("| ")}
    mine = [r for r in records if r.experiment == "implementations" and r.cell.net == net
            and r.cell.configuration.name == "faithful"]  # fmt: skip
    batches = sorted({r.cell.batch for r in mine})
    assert batches[0] == 128
    assert batches[-1] == 4096
    for r in mine:
        names = {
            "naive_serial": "naive serial (1)",
            "naive_pthreads": f"naive Pthreads ({r.cell.threads})",
            "theano": f"Theano ({r.cell.threads})",
        }
        name = names.get(r.cell.implementation)
        if name is None:
            continue
        row = next(line for head, line in rows.items() if head.removeprefix("| ").startswith(name))
        cell = row.strip("| ").split(" | ")[1 + batches.index(r.cell.batch)]
        seconds = float(np.median([x.seconds / x.rows * r.cell.rows for x in r.rounds]))
        assert re.match(rf"\**{re.escape(number(seconds))}(\\\*)?<br>", cell), (name, cell)
    assert "Multicore Parallel" in rows["| naive Pthreads (2)<br><small>Multicore Parallel</small>"]
    assert "n/a (" in next(line for head, line in rows.items() if "Theano, GPU" in head)


def test_numbers_that_change_places_change_the_words(tmp_path: Path) -> None:
    """Who is ahead is said by the data: the rounds of two implementations are swapped."""
    before = paper(tmp_path / "a").texts["implementations.md"]
    pair = ("parmlp_threads", "theano")

    def who(r: CellRecord, name: str) -> object:
        return replace(r.cell, implementation=name), r.experiment

    records = write_run(tmp_path / "b", keep=thin)
    rounds = {who(r, r.cell.implementation): r.rounds for r in records}

    def swap(r: CellRecord) -> CellRecord:
        name = r.cell.implementation
        if name not in pair or r.experiment != "implementations":
            return r
        other = pair[1 - pair.index(name)]
        return replace(r, rounds=rounds[who(r, other)])

    after = paper(tmp_path / "c", swap).texts["implementations.md"]
    said = [re.search(r"^- parmlp threads against Theano: (.*)", text, re.MULTILINE)
            for text in (before, after)]  # fmt: skip
    assert said[0] is not None
    assert said[1] is not None
    assert said[0][1].endswith("ahead in 2 of 2 problems.")
    assert said[1][1].endswith("ahead in 0 of 2 problems and behind in 2.")


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_without_cells_is_not_measured(tmp_path: Path, name: str) -> None:
    pages = paper(tmp_path, lambda r: None if r.experiment == name else r)
    text = "".join(pages.texts.values())
    assert f"**Not measured in this run**: no cell of the experiment `{name}`" in text
    assert f"(`{name}`): no cell of it was measured in this run." in pages.texts["analysis.md"]


def test_one_implementation_and_problem_are_enough(tmp_path: Path) -> None:
    def least(p: PlannedCell) -> bool:
        serial = p.experiment == "implementations" and p.cell.implementation == "naive_serial"
        return serial and p.cell.net == AUTHORS_NETS[0] and p.cell.batch == 128

    text = "".join(paper(tmp_path, keep=least).texts.values())
    assert "No timed cell had a prediction" not in text
    assert "none of which was timed" in text


@pytest.mark.parametrize("status", ["unavailable", "rejected", "failed", "timeout"])
def test_what_became_of_a_cell_is_shown_with_its_reason(tmp_path: Path, status: Status) -> None:
    def fail(r: CellRecord) -> CellRecord:
        if r.cell.implementation != "theano":
            return r
        return replace(r, status=status, reason="it | broke\nat line 3", rounds=(), accuracy=None)

    pages = paper(tmp_path, fail)
    page = pages.texts["implementations.md"]
    row = next(line for line in page.splitlines() if line.startswith("| Theano (2)"))
    short = "n/a" if status == "unavailable" else status
    letter = re.search(rf"{short} \(([a-z])\)", row)
    assert letter is not None
    assert f"({letter[1]}) {status}: it | broke" in page
    assert "parmlp threads against Theano" not in page
    assert re.search(rf"^- Theano: \d+ cells {status}\. it \| broke\.$", pages.texts["analysis.md"],
                     re.MULTILINE)  # fmt: skip
    assert "at line 3" not in "".join(pages.texts.values())


def test_cells_that_differ_in_more_than_the_column_get_tables_of_their_own(
    whole: tuple[list[CellRecord], Pages],
) -> None:
    records = [
        r
        for r in whole[0]
        if r.experiment == "implementations"
        and r.cell.configuration.name == "faithful"
        and r.cell.batch in (128, 4096)
    ]
    text = tables.grid(records, "network", tables.seconds)
    headings = [line for line in text.splitlines() if line.endswith(":")]
    assert headings == ["batch 128:", "batch 4,096:"]
    first, second = re.findall(r"^\| naive serial \(1\) \|(.*)\|$", text, re.MULTILINE)
    assert first.count("|") == second.count("|") == 1
    assert first != second


def test_disturbed_cells_are_marked(tmp_path: Path) -> None:
    def disturb(r: CellRecord) -> CellRecord:
        noisy = tuple(replace(x, quiet=False, others=0.5) for x in r.rounds)
        return replace(r, rounds=noisy) if r.cell.implementation == "naive_serial" else r

    pages = paper(tmp_path, disturb)
    page = pages.texts["implementations.md"]
    row = next(line for line in page.splitlines() if line.startswith("| naive serial (1)"))
    assert "†" in row
    assert "† other programs used the CPU in some of its rounds." in page
    assert "**Other programs** used the CPU" in pages.texts["platform.md"]


def test_more_cores_have_curves_and_fits(tmp_path: Path) -> None:
    def scaling(p: PlannedCell) -> bool:
        narrow = p.cell.layers == (784, 100, 10) and p.cell.batch == 128
        return narrow and p.experiment in ("strong_scaling", "weak_scaling")

    write_run(tmp_path, "full", cores=8, keep=scaling)
    pages = render(Evidence(tmp_path), "x")
    assert "is one point and no curve" not in pages.texts["scaling.md"]
    assert "scaling_fits" in pages.drawings


def test_without_a_fact_of_the_machine_there_is_no_paper(tmp_path: Path) -> None:
    write_run(tmp_path, keep=thin)
    file = tmp_path / RESULTS
    text = file.read_text("utf-8").replace('"cpu": "Simulated processor"', '"cpu": null')
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PaperError, match="does not say 'cpu'"):
        render(Evidence(tmp_path), "x")


def test_without_ceilings_there_is_no_paper(tmp_path: Path) -> None:
    write_run(tmp_path, keep=thin)
    file = tmp_path / RESULTS
    lines = file.read_text("utf-8").splitlines(keepends=True)
    file.write_text("".join(x for x in lines if '"type": "ceiling"' not in x), encoding="utf-8")
    with pytest.raises(PaperError, match="ceilings"):
        render(Evidence(tmp_path), "x")


def test_a_run_without_a_timed_cell_is_no_paper(tmp_path: Path) -> None:
    write_run(tmp_path, change=lambda r: None)
    with pytest.raises(PaperError, match="no timed cell"):
        Evidence(tmp_path)


def test_a_gpu_row_makes_the_words_about_the_gpu_an_error(tmp_path: Path) -> None:
    def run_on_gpu(r: CellRecord) -> CellRecord:
        if r.cell.implementation != "naive_serial" or r.experiment != "implementations":
            return r
        return replace(r, cell=replace(r.cell, implementation="parmlp_cuda"))

    with pytest.raises(PaperError, match="write it anew"):
        paper(tmp_path, run_on_gpu)


def test_zeros_that_are_left_out_are_no_doubt_about_the_ceiling(tmp_path: Path) -> None:
    def faster(r: CellRecord) -> CellRecord:
        # 784-100-10 has nearly all of its arithmetic in the first layer
        if r.cell.implementation != "parmlp_threads" or r.cell.layers != (784, 100, 10):
            return r
        rounds = tuple(replace(x, seconds=x.seconds / 3) for x in r.rounds)
        return replace(r, rounds=rounds, nonzero_share=0.2)

    text = paper(tmp_path / "known", faster).texts["analysis.md"]
    assert "rightly so: parmlp threads leave out the zeros" in text
    assert "without such a reason" not in text

    def unknown(r: CellRecord) -> CellRecord:
        return replace(faster(r), nonzero_share=None)

    text = paper(tmp_path / "unknown", unknown).texts["analysis.md"]
    assert "without such a reason (parmlp threads)" in text


def test_raw_results_lie_in_the_repository(tmp_path: Path) -> None:
    with pytest.raises(PaperError, match="is not in this repository"):
        source_of(tmp_path)


#: What the text itself may say: numbers of the authors, of the data sets and of the method.
QUOTED = (
    "93 to 97.8 %", "6.0 %", "95 %", "5 %", "the 10 % set", "about 10 times", "about 25 times",
    "used 32 times",
)  # fmt: skip


@pytest.mark.parametrize("file", sorted(TEXT.glob("*.md")), ids=lambda f: f.stem)
def test_no_measured_number_stands_in_the_text(file: Path) -> None:
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", file.read_text("utf-8"), flags=re.DOTALL)
    for quoted in QUOTED:
        text = text.replace(quoted, "")
    unit = r"(times|GFLOP/s|MFLOP|GB/s|GiB|µs|ms|s|seconds|minutes|%|percent)"
    assert re.findall(rf"\d[\d.,]* ?{unit}(?![A-Za-z])", text) == []
