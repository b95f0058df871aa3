"""`parmlp study`: run the paper's experiments here, and manage the rivals' environments."""

from pathlib import Path
from typing import Annotated

import typer

from parmlp.cli import study_report
from parmlp.cli.choices import Preset
from parmlp.cli.output import EXIT_FAILED, EXIT_INTERRUPTED, is_terminal, print_json, print_table

app = typer.Typer(help="The paper's experiments, run and explained on this machine.")
peers_app = typer.Typer(help="The rivals' environments, one for each: install, list.")
app.add_typer(peers_app, name="peers", short_help="Install or list the rivals' environments.")
app.command("report", short_help="Draw and explain a run.")(study_report.report)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_PeersDir = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="Directory with the rivals' environments.",
        show_default="$PARMLP_PEERS, or peers in the cache",
    ),
]


@app.command("run", short_help="Measure the experiments.")
def run(
    *,
    preset: Annotated[
        Preset,
        typer.Option(help="quick: 3 minutes, embedded data; paper: the authors' networks, hours."),
    ] = Preset.QUICK,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the run.",
            show_default="a new one in ./parmlp-study; with --resume the latest",
        ),
    ] = None,
    experiments: Annotated[
        list[str] | None,
        typer.Option(help="An experiment's name; repeat it for more.", show_default="all"),
    ] = None,
    implementations: Annotated[
        list[str] | None,
        typer.Option(help="An implementation's name; repeat it for more.", show_default="all"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped.")
    ] = False,
    peers_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory with the rivals' environments.",
            show_default="$PARMLP_PEERS, or peers in the cache",
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Measure the paper's experiments on this machine.

    Predictions are written first. Each result is checked against a float64 reference before it is
    timed, and is on the disk as soon as it is measured; a stopped run goes on with --resume.
    """
    from parmlp.cli.study_progress import StudyProgress
    from parmlp.study import folders, peers
    from parmlp.study.study import Request, run_study

    if out is None:
        out = folders.latest_folder() if resume else folders.new_folder()
    request = Request(
        preset.value,
        out,
        experiments or None,
        implementations or None,
        resume,
        peers_dir or peers.default_folder(),
    )
    with StudyProgress(shown=not as_json and is_terminal()) as progress:
        try:
            results = run_study(request, progress.say, progress.plan)
        except KeyboardInterrupt:
            typer.echo("interrupted; what was measured is kept, and --resume goes on", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    counts: dict[str, int] = {}
    for record in results.cells.values():
        counts[record.status] = counts.get(record.status, 0) + 1
    if as_json:
        print_json({"folder": str(out), "preset": preset.value, "cells": counts})
        return
    told = ", ".join(f"{n} {status}" for status, n in counts.items())
    typer.echo(f"{out}: {told}\n`parmlp study report {out}` draws it")


@peers_app.command("install")
def install(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Rivals; all by default.")
    ] = None,
    folder: _PeersDir = None,
) -> None:
    """Make an environment for each rival and install its pinned versions from PyPI."""
    from parmlp.study import peers

    try:
        failures = peers.install(folder or peers.default_folder(), names or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if failures:
        typer.echo(f"error: {failures} of the environments could not be made", err=True)
        raise typer.Exit(EXIT_FAILED)


@peers_app.command("list")
def list_peers(folder: _PeersDir = None, as_json: _Json = False) -> None:
    """List the rivals' environments: which are installed, their pins, the rows that need them."""
    from parmlp.study import peers

    found = peers.peers(folder or peers.default_folder())
    if as_json:
        print_json(
            {"peers": [{**vars(peer), "installed": peer.python is not None} for peer in found]}
        )
        return
    print_table(
        ["environment", "installed", "implementations", "pins"],
        [
            [
                peer.name,
                "yes" if peer.python else "no",
                ", ".join(peer.implementations),
                ", ".join(peer.pins),
            ]
            for peer in found
        ],
    )
