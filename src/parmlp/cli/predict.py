"""`parmlp predict`: a model's answers for the raw rows of a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parmlp.cli.checks import check_output_path
from parmlp.cli.output import print_json, write_csv

if TYPE_CHECKING:
    from numpy.typing import NDArray


def predict(
    model: Annotated[Path, typer.Argument(help="Model file.", exists=True, dir_okay=False)],
    rows: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Raw rows: a CSV, Parquet or npz (array X) file, or an idx file of images.",
            exists=True,
            dir_okay=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Write the predictions to this CSV file.")],
    proba: Annotated[
        bool, typer.Option("--proba", help="Add a column with the probability of each class.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Predict the class or the value of every row.

    The rows are raw: the model file knows how its columns are scaled and encoded. The CSV file
    appears when it is complete, or not at all.
    """
    check_output_path(out, "--out", inputs=[model, rows])

    from parmlp.cli.data_choice import model_rows
    from parmlp.datasets import read_rows
    from parmlp.model_files import load_model

    loaded = load_model(model)
    classes = getattr(loaded.estimator, "classes_", None)
    if proba and classes is None:
        raise typer.BadParameter(
            f"{model} is a regression model; it has no probabilities", param_hint="--proba"
        )
    raw = read_rows(rows, loaded.preprocessing)
    X = model_rows(loaded, raw, model=model, rows=str(rows))
    predictions = loaded.estimator.predict(X)
    columns = _columns("prediction", predictions, classes)
    if proba and classes is not None:
        probabilities: NDArray[Any] = loaded.estimator.predict_proba(X)
        # A model of one class has a second column, for a class that does not exist.
        columns |= _columns("probability", probabilities[:, : len(classes)], classes)
    write_csv(out, list(columns), zip(*columns.values(), strict=True))

    if as_json:
        print_json(
            {
                "model": str(model),
                "input": str(rows),
                "rows": len(predictions),
                "columns": list(columns),
                "out": str(out),
            }
        )
    else:
        typer.echo(f"{len(predictions):,} predictions written to {out}")


def _columns(
    name: str, values: "NDArray[Any]", classes: "NDArray[Any] | None"
) -> dict[str, Iterator[str]]:
    """CSV columns of one array: `name` if it has one column, else `name_<class or number>`.

    Numbers become the shortest text that reads back as the same float.
    """
    if values.ndim == 1:
        return {name: iter(values.astype(str).tolist())}
    labels = range(values.shape[1]) if classes is None else classes.tolist()
    return {
        f"{name}_{label}": iter(column.astype(str).tolist())
        for label, column in zip(labels, values.T, strict=True)
    }
