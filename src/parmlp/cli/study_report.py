"""`parmlp study report`: a run's page, its figures and their data."""

from pathlib import Path
from typing import Annotated

import typer

from parmlp.cli.output import print_json


def report(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="Directory of the run.",
            show_default="the latest in ./parmlp-study",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Draw and explain what a run measured: DIR/report/index.html, figures and data.

    The page opens from disk in any browser and needs no network. A run that has not ended is
    reported as far as it got.
    """
    from parmlp.study import folders
    from parmlp.study.errors import StudyError

    run = folders.latest_folder() if folder is None else folder
    try:
        from parmlp.study.report import write_report
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "matplotlib"):
            raise
        raise StudyError(
            f"the report needs {error.name}, which is not installed; run "
            "`pip install 'parmlp[study]'`"
        ) from error
    written = write_report(run)
    if as_json:
        print_json(
            {
                "page": str(written.page),
                "figures": written.figures,
                "gaps": written.gaps,
                "timed": written.timed,
                "not_timed": written.not_timed,
                "notices": list(written.notices),
            }
        )
        return
    for notice in written.notices:
        typer.echo(f"note: {notice}", err=True)
    drawn = f"{written.figures} figures of {written.timed} timed cells"
    missing = f", {written.gaps} without data" if written.gaps else ""
    typer.echo(f"{written.page}: {drawn}{missing}")
