"""How time and speed-up change with networks, rows and batches, and who wins where."""

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import replace

from matplotlib.figure import Figure as Canvas

from parmlp.study.analysis import Estimate, Measurement, Problem, StudyRun, Win, winners
from parmlp.study.analysis.implementations import order
from parmlp.study.analysis.scaling import strong_series
from parmlp.study.analysis.speedup import own_one_thread
from parmlp.study.report.drawing import Drawing, Gap, add_legend, axes_grid
from parmlp.study.report.figures.lines import Axis, Panel, Series, lines, short
from parmlp.study.report.palette import INK, PAPER, label, style
from parmlp.study.report.values import Table, Value

Quantity = Callable[[Measurement], Estimate | None]


def _not_run(experiment: str) -> str:
    return f"no cell of the experiment “{experiment}” was timed in this run"


def _panels(
    run: StudyRun,
    experiment: str,
    *,
    panel: Callable[[Problem], tuple[Hashable, str]],
    x: Callable[[Problem], float],
    quantity: Quantity,
    curve: Callable[[float], float] | None = None,
) -> list[Panel]:
    """Panels of problems with the same key; a line an implementation and number of threads."""
    points: dict[Hashable, dict[tuple[str, int], dict[float, Estimate]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    titles: dict[Hashable, str] = {}
    for m in run.of_experiment(experiment):
        value = quantity(m)
        if value is not None:
            key, titles[key] = panel(m.problem)
            points[key][m.name, m.threads][x(m.problem)] = value
    return [
        Panel(
            titles[key],
            [
                Series(name, threads, by_x)
                for (name, threads), by_x in sorted(
                    found.items(), key=lambda item: (order(item[0][0]), item[0][1])
                )
            ],
            curve,
        )
        for key, found in points.items()
    ]


def network_sizes(run: StudyRun) -> Drawing | Gap:
    """GFLOP/s by the number of a network's weights."""

    def weights(p: Problem) -> float:
        return float(sum(a * b for a, b in zip(p.layers, p.layers[1:], strict=False)))

    def panel(p: Problem) -> tuple[Hashable, str]:
        return (p.data, p.batch, p.configuration), f"{p.data}, batch {p.batch:,}"

    return lines(
        "network_sizes",
        "Network size: GFLOP/s by number of weights",
        "A point a network, placed by its number of weights; the data names each network.",
        panels=_panels(run, "network_sizes", panel=panel, x=weights, quantity=lambda m: m.gflops),
        x=Axis("weights", log=True),
        y=Axis("GFLOP/s", log=True),
        missing=_not_run("network_sizes"),
    )


def _rows_panel(p: Problem) -> tuple[Hashable, str]:
    return replace(p, rows=0), f"{p.net}, {p.data}, batch {p.batch:,}"


def problem_size(run: StudyRun) -> Drawing | Gap:
    """Time per epoch by rows."""
    return lines(
        "problem_size",
        "Problem size: time per epoch by training rows",
        "Beyond a data set's own number of rows they are repeated.",
        panels=_panels(
            run,
            "problem_size",
            panel=_rows_panel,
            x=lambda p: p.rows,
            quantity=lambda m: m.epoch_seconds,
        ),
        x=Axis("training rows", log=True),
        y=Axis("seconds an epoch", log=True),
        missing=_not_run("problem_size"),
    )


def problem_size_speedup(run: StudyRun) -> Drawing | Gap:
    """Speed-up over own one thread by rows."""
    measured = run.of_experiment("problem_size")

    def speedup(m: Measurement) -> Estimate | None:
        base = own_one_thread(m, measured) if m.threads > 1 else None
        return None if base is None else m.speed_over(base)

    return lines(
        "problem_size_speedup",
        "Problem size: speed-up over own one thread by training rows",
        "Threads stand in brackets. The dashed line is the speed of one thread.",
        panels=_panels(
            run,
            "problem_size",
            panel=_rows_panel,
            x=lambda p: p.rows,
            quantity=speedup,
            curve=lambda _: 1.0,
        ),
        x=Axis("training rows", log=True),
        y=Axis("speed-up"),
        missing="no implementation was timed on one thread and on several in “problem_size”",
        curve_label="one thread",
    )


def _batch_panel(p: Problem) -> tuple[Hashable, str]:
    return replace(p, batch=0), f"{p.net}, {p.data}, {p.rows:,} rows"


def batch_size(run: StudyRun) -> Drawing | Gap:
    """Time per epoch by batch."""
    return lines(
        "batch_size",
        "Batch size: time per epoch",
        "The last point of a line that reaches all rows is full-batch gradient descent.",
        panels=_panels(
            run,
            "batch_size",
            panel=_batch_panel,
            x=lambda p: p.batch,
            quantity=lambda m: m.epoch_seconds,
        ),
        x=Axis("minibatch (rows)", log=True),
        y=Axis("seconds an epoch", log=True),
        missing=_not_run("batch_size"),
    )


def batch_size_gflops(run: StudyRun) -> Drawing | Gap:
    """GFLOP/s by batch."""
    return lines(
        "batch_size_gflops",
        "Batch size: GFLOP/s",
        "A larger minibatch is more work for each hand-over and each pass over the weights.",
        panels=_panels(
            run, "batch_size", panel=_batch_panel, x=lambda p: p.batch, quantity=lambda m: m.gflops
        ),
        x=Axis("minibatch (rows)", log=True),
        y=Axis("GFLOP/s"),
        missing=_not_run("batch_size"),
    )


def examples_or_matrices(run: StudyRun) -> Drawing | Gap:
    """Speed-up over own one thread by batch: examples split, operations split, both."""
    measured = run.of_experiment("examples_or_matrices")
    points: dict[str, dict[str, dict[float, Estimate]]] = defaultdict(lambda: defaultdict(dict))
    for s in strong_series(measured):
        most = max(s.points)
        p = s.problem
        title = f"{p.net}, {p.data}, {most} threads"
        points[title][s.name][p.batch] = s.speedups()[most]
    panels = [
        Panel(
            title,
            [Series(name, None, found[name]) for name in sorted(found, key=order)],
            lambda _: 1.0,
        )
        for title, found in points.items()
    ]
    return lines(
        "examples_or_matrices",
        "Splitting examples, splitting matrix operations, or both: speed-up over own one thread",
        "Naive Pthreads and partial gradients split the examples of a minibatch; BLAS parallel "
        "splits each product; parmlp threads does both in two phases. Each is compared with its "
        "own one-thread form, so that the quality of its kernels does not count.",
        panels=panels,
        x=Axis("minibatch (rows)", log=True),
        y=Axis("speed-up"),
        missing="nothing was timed on one thread and on several in “examples_or_matrices”",
        curve_label="one thread",
    )


def winners_map(run: StudyRun) -> Drawing | Gap:
    """Who is fastest by batch and network, and by how much."""
    id, title = "winners", "Who wins: batch by network"
    largest: dict[tuple[object, ...], Win] = {}
    for win in winners(run.measured):
        p = win.problem
        key = (p.layers, p.data, p.batch, p.configuration)
        if win.second is not None and (key not in largest or p.rows > largest[key].problem.rows):
            largest[key] = win
    found = list(largest.values())
    if not found:
        return Gap(
            id, title, "no problem was timed with implementations of two families in this run"
        )
    by_panel: dict[str, list[Win]] = defaultdict(list)
    for win in found:
        by_panel[win.problem.configuration].append(win)

    def draw(canvas: Canvas, narrow: bool) -> None:
        nets = {c: sorted({_net(w.problem) for w in ws}) for c, ws in by_panel.items()}
        height = 0.42 * max(map(len, nets.values())) + 0.9
        axes = axes_grid(canvas, len(by_panel), narrow, height, most_columns=2)
        for ax, (configuration, wins) in zip(axes, by_panel.items(), strict=True):
            batches = sorted({w.problem.batch for w in wins})
            rows = nets[configuration]
            for w in wins:
                look = style(w.winner.name)
                x, y = batches.index(w.problem.batch), rows.index(_net(w.problem))
                ax.plot(
                    x,
                    y,
                    look.marker,
                    color=look.colour.light,
                    markersize=8,
                    markerfacecolor=PAPER.light if look.hollow else look.colour.light,
                    label=label(w.winner.name),
                    linestyle="none",
                )
                ax.annotate(
                    _lead(w),
                    (x, y),
                    xytext=(0, -11),
                    textcoords="offset points",
                    ha="center",
                    va="center",
                    fontsize=7 if narrow else 8,
                    color=INK.light,
                )
            ax.set_xticks(
                range(len(batches)), [short(b) for b in batches], rotation=90 if narrow else 0
            )
            ax.set_yticks(range(len(rows)), [f"{net}\n{data}" for _, net, data in rows])
            ax.set_xlim(-0.6, len(batches) - 0.4)
            ax.set_ylim(len(rows) - 0.3, -0.7)
            ax.set_title(configuration)
            ax.set_xlabel("minibatch (rows)")
            ax.grid(visible=False)
        add_legend(canvas, axes, narrow)

    values: list[tuple[Value, ...]] = [
        (
            w.problem.net,
            w.problem.data,
            w.problem.configuration,
            w.problem.batch,
            w.problem.rows,
            label(w.winner.name, w.winner.threads),
            label(w.second.name, w.second.threads),
            w.lead,
        )
        for w in found
        if w.second is not None
    ]
    header = (
        "network",
        "data",
        "configuration",
        "minibatch (rows)",
        "training rows",
        "fastest",
        "fastest of others",
        "lead, times",
    )
    caption = (
        "The fastest implementation of each problem, at its best number of threads, and how many "
        "times as fast it is as the fastest that somebody else wrote. ≈ marks a lead whose "
        "interval holds 1."
    )
    return Drawing(id, title, caption, Table(id, header, values), draw)


def _net(p: Problem) -> tuple[tuple[int, ...], str, str]:
    return p.layers, p.net, p.data


def _lead(win: Win) -> str:
    if win.lead is None or not win.clear:
        return "≈"
    return f"{win.lead.median:.2f}×"
