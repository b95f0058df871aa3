"""`parmlp data`: which data sets are here, where their files are, fetching them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from parmlp.cli.output import is_terminal, print_json
from parmlp.cli.progress import DownloadProgress

app = typer.Typer(help="Data sets: list them, say where their files are, fetch them.")

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
_Name = Annotated[str, typer.Argument(metavar="DATASET", help="A data set's name.")]


@app.command("list")
def list_datasets(as_json: _Json = False) -> None:
    """List the data sets, whether this machine has them, and what to do if it does not."""
    from parmlp.datasets import dataset_status

    statuses = dataset_status()
    if as_json:
        print_json({"datasets": [asdict(status) for status in statuses]})
        return
    for status in statuses:
        state = f"here: {status.where}" if status.available else f"not here: {status.remedy}"
        typer.echo(f"{status.name:<10}{status.description}\n{'':<10}{state}")


@app.command("path")
def path(name: _Name, as_json: _Json = False) -> None:
    """Print the paths of a data set's files, one a line; exit 1 if one of them is missing."""
    from parmlp.datasets import data_files

    files = [] if _comes_with_a_package(name) else data_files(name)
    wanted = [file for file in files if file.path is not None or not file.optional]
    missing = [file.name for file in wanted if file.path is None]
    if missing:
        from parmlp.errors import DataError

        raise DataError(
            f"{name}: not on this machine: {', '.join(missing)}; run `parmlp data fetch {name}` "
            "or set PARMLP_DATA to the directory that has it"
        )
    _print_paths(name, [file.path for file in wanted if file.path is not None], as_json)


@app.command("fetch")
def fetch(
    name: _Name,
    full: Annotated[
        bool, typer.Option("--full", help="kddcup99: also the 4.9 million rows (18 MB).")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Download a data set's files into the cache and verify their checksums.

    Files that this machine has already are not downloaded again.
    """
    from parmlp.datasets import fetch as fetch_files

    paths: list[Path] = []
    if not _comes_with_a_package(name):
        progress = DownloadProgress() if not as_json and is_terminal() else None
        try:
            paths = fetch_files(name, optional=full, progress=progress or False)
        finally:
            if progress is not None:
                progress.close()
    _print_paths(name, paths, as_json)


def _comes_with_a_package(name: str) -> bool:
    """Whether a data set is part of a Python package, which must then be installed.

    Raises
    ------
    typer.BadParameter
        For an unknown data set.
    parmlp.errors.DataError
        If the package is not installed; the message says how to.
    """
    from parmlp.datasets import NAMES, data_files, dataset_status
    from parmlp.errors import DataError

    if name not in NAMES:
        raise typer.BadParameter(
            f"no data set '{name}'; data sets: {', '.join(NAMES)}", param_hint="DATASET"
        )
    if any(file.dataset == name for file in data_files()):
        return False
    status = next(status for status in dataset_status() if status.name == name)
    if not status.available:
        raise DataError(f"{name} is not on this machine: {status.remedy}")
    return True


def _print_paths(name: str, paths: Sequence[Path], as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "paths": [str(each) for each in paths]})
        return
    for each in paths:
        typer.echo(each)
    if not paths:
        typer.echo(f"{name} has no files of its own: it comes with a Python package", err=True)
