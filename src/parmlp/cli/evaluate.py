"""`parmlp evaluate`: how well a model does on labelled rows."""

from pathlib import Path
from typing import Annotated, Any

import typer

from parmlp.cli.output import print_json


def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file.", exists=True, dir_okay=False)],
    dataset: Annotated[
        str,
        typer.Argument(
            help="digits, mnist5k, mnist or kddcup99: their held-out rows; or the path of a CSV, "
            "Parquet or npz (arrays X, y) file: all its rows."
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            help="The column (or kddcup99's target) to compare with.",
            show_default="the one the model was trained for",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Compare a model's answers with the labels of a data set or file.

    Classification: accuracy, precision and recall of every class, the confusion matrix. A label
    that the model never saw counts as an error. Regression: R2, mean absolute and root mean
    squared error.
    """
    from parmlp.cli.data_choice import load_evaluation_rows
    from parmlp.cli.scores import (
        classification_scores,
        print_classification,
        print_regression,
        regression_scores,
    )
    from parmlp.model_files import load_model

    loaded = load_model(model)
    X, y, rows = load_evaluation_rows(loaded, dataset, target, path=model)
    classes = getattr(loaded.estimator, "classes_", None)
    predictions = loaded.estimator.predict(X)
    report: dict[str, Any] = {
        "model": str(model),
        "dataset": dataset,
        "rows": len(y),
        "which_rows": rows,
    }
    if classes is None:
        report |= regression_scores(y, predictions)
    else:
        report |= classification_scores(y, predictions, classes)
    if as_json:
        print_json(report)
    elif classes is None:
        print_regression(report)
    else:
        print_classification(report)
