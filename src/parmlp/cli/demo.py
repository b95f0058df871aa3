"""`parmlp demo`: one small training with every engine, to see that they agree, and how fast."""

from typing import Annotated, Any

import typer

from parmlp.cli.checks import thread_count
from parmlp.cli.output import EXIT_FAILED, is_terminal, print_json, print_table

# An undisturbed process gets 99 % of a core and more.
_UNDISTURBED = 0.95


def demo(
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of the parallel engines; -1 for all usable cores.",
            show_default="the usable cores, from 2 to 8",
            callback=thread_count,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Train the embedded digits with each engine and compare accuracy, time and weights.

    Exits with 1 if the engines' weights differ in a single bit.
    """
    from parmlp.cli.demo_runs import run_demo

    result = run_demo(threads, shown=not as_json and is_terminal())
    if as_json:
        print_json(result)
    else:
        _print(result)
    if not result["identical"]:
        typer.echo("error: the engines' weights differ; please report this", err=True)
        raise typer.Exit(EXIT_FAILED)


def _print(result: dict[str, Any]) -> None:
    """Print the result of `run_demo` for people."""
    ran = [row for row in result["engines"] if row["available"]]
    typer.echo(
        f"digits, network {'-'.join(map(str, result['layers']))}, {result['epochs']} epochs, "
        f"SIMD target {result['simd']}, median of {result['rounds']} rounds"
    )
    print_table(
        ["engine", "threads", "test accuracy", "time", "samples/s", "speed-up", "same weights"],
        [
            [
                row["name"],
                str(row["threads"]),
                f"{row['test_accuracy']:.2%}",
                f"{row['seconds']:.3f} s",
                f"{row['samples_per_second']:,.0f}",
                f"{row['speedup']:.2f}x",
                "yes" if row["identical"] else "NO",
            ]
            for row in ran
        ],
    )
    for row in result["engines"]:
        if not row["available"]:
            typer.echo(f"{row['name']} did not run: {row['reason']} {row['remedy']}")
    if result["serial_core_share"] < _UNDISTURBED:
        share = f"{result['serial_core_share']:.0%}"
        typer.echo(
            f"other programs kept the cores busy (the serial runs got {share} of one): expect "
            "better times and speed-ups on a quiet machine"
        )
    if result["identical"]:
        typer.echo(f"the weights of all {len(ran)} engines are the same bits")
