"""The `parmlp` command: its subcommands, and what becomes of an error.

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted. The command modules import numpy
and scikit-learn inside their functions, so that `--help` answers at once.
"""

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from parmlp.cli import data, demo, evaluate, info, predict, study, train
from parmlp.cli.output import (
    EXIT_BAD_ARGUMENTS,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    print_error,
    print_warning,
)

# The parent of every complaint about arguments, of which typer exports this child only.
_UsageError: Any = typer.BadParameter.__mro__[1]

# Disk, quota and size limit of a file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Commands(TyperGroup):
    """The subcommands; an interrupt that none of them has told of is told of here."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    name="parmlp",
    cls=_Commands,
    help="Train multilayer perceptrons by parallel minibatch backpropagation.",
    epilog="PARMLP_DEBUG=1 shows tracebacks. PARMLP_SIMD=baseline|avx2|avx512 forces the kernels. "
    "PARMLP_DATA names a directory with the data files.",
    invoke_without_command=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("train", short_help="Train a network and save it.")(train.train)
app.command("predict", short_help="Predict the rows of a file.")(predict.predict)
app.command("evaluate", short_help="Compare a model with labelled rows.")(evaluate.evaluate)
app.add_typer(data.app, name="data", short_help="List, locate or fetch data sets.")
app.command("info", short_help="Show the machine and its engines.")(info.info)
app.add_typer(study.app, name="study", short_help="Run the paper's experiments here.")
app.command("demo", short_help="Compare the engines on a small training.")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"parmlp {version('parmlp')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Train multilayer perceptrons by parallel minibatch backpropagation."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(EXIT_BAD_ARGUMENTS)


def main() -> None:
    """Entry point of the console script: run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Every exception becomes one line on stderr; `PARMLP_DEBUG=1` shows the traceback as well.
    """
    with warnings.catch_warnings():
        warnings.showwarning = print_warning
        try:
            code = get_command(app).main(
                args=list(arguments), prog_name="parmlp", standalone_mode=False
            )
            # Here rather than when Python exits, where a full disk could only be noted, not told.
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader (`| head`) has seen enough; Python must not complain when it flushes.
            _abandon_stdout()
            return EXIT_FAILED
        except (KeyboardInterrupt, typer.Abort):
            return EXIT_INTERRUPTED
        except Exception as error:
            return _report(error)
    return code if isinstance(code, int) else 0


def _abandon_stdout() -> None:
    """Send what stdout still holds nowhere, so that Python does not fail on it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception) -> int:
    """Say on stderr what went wrong and return the exit code that it stands for."""
    if os.environ.get("PARMLP_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, _UsageError):
        print_error(error.format_message())
        return EXIT_BAD_ARGUMENTS

    # Files are written by functions that name them; what has no name and is full is stdout.
    if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
        _abandon_stdout()
        print_error(
            f"cannot write to stdout: {error.strerror}; free some space or send the output to "
            "another place"
        )
        return EXIT_FAILED

    from parmlp.errors import ParmlpError

    # ValueError and RuntimeError are how scikit-learn, pyarrow and the core refuse input.
    if isinstance(error, ParmlpError | OSError | ValueError | RuntimeError | MemoryError):
        print_error(str(error) or type(error).__name__)
    else:
        print_error(
            f"{type(error).__name__}: {error} (this is a defect in parmlp; "
            "PARMLP_DEBUG=1 shows where, please report it)"
        )
    return EXIT_FAILED
